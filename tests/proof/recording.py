"""Write down what was asked of AWS and what it answered, redacted, a line of JSON for each call.

A line has ``service``, ``operation``, ``region``, ``began_seconds`` (by the machine's monotonic clock, which the
processes of a proof share), ``took_seconds``, ``params``, and ``answer`` or ``error`` (code and message).
"""

import copy
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.hooks import BaseEventHooks

from tests.proof.redaction import Redaction

__all__ = ["Line", "Recorder", "read"]


@dataclass(frozen=True, slots=True)
class Line:
    """One call; ``error`` is its code, or empty."""

    service: str
    operation: str
    region: str
    began_seconds: float
    took_seconds: float
    params: Mapping[str, Any]
    answer: Mapping[str, Any]
    error: str


class Recorder:
    """Hooks for a botocore session; every call that comes to an end is appended to the file.

    Args:
        file: where to.
        redaction: what takes out what must not stand there.
        monotonic: the clock, in seconds; the emulator's account has one of its own.
    """

    def __init__(self, file: Path, redaction: Redaction, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self._redaction = redaction
        self._lock = threading.Lock()

    def attach(self, events: BaseEventHooks) -> None:
        """Listen to a session's events."""
        events.register("provide-client-params.*", self._asked)
        events.register_last("after-call.*", self._answered)
        events.register_last("after-call-error.*", self._failed)

    def _asked(self, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        # botocore rewrites parameters in place later.
        context["proof_params"] = copy.deepcopy(dict(params))
        context["proof_model"] = model
        context["proof_began"] = self._monotonic()

    def _answered(self, http_response: Any, parsed: Mapping[str, Any], model: Any, context: Any, **_: Any) -> None:
        answer = {name: value for name, value in parsed.items() if name not in ("ResponseMetadata", "Body", "Error")}
        if http_response.status_code >= 300:
            error = {name: parsed.get("Error", {}).get(name, "") for name in ("Code", "Message")}
            self._write(model, context, {"error": error})
        else:
            self._write(model, context, {"answer": answer})

    def _failed(self, exception: Exception, context: dict[str, Any], **_: Any) -> None:
        self._write(
            context["proof_model"], context, {"error": {"Code": type(exception).__name__, "Message": str(exception)}}
        )

    def _write(self, model: Any, context: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        began = context["proof_began"]
        line = {
            "service": model.service_model.service_name,
            "operation": model.name,
            "region": context["client_region"],
            "began_seconds": round(began, 3),
            "took_seconds": round(self._monotonic() - began, 3),
            "params": context["proof_params"],
            **outcome,
        }
        text = json.dumps(self._redaction.data(line))
        with self._lock, self._file.open("a", encoding="utf-8") as out:
            out.write(f"{text}\n")


def read(lines: Iterable[str]) -> list[Line]:
    """Read a recording, in the order of its calls' beginnings."""
    found = []
    for text in lines:
        item = json.loads(text)
        found.append(
            Line(
                item["service"],
                item["operation"],
                item["region"],
                item["began_seconds"],
                item["took_seconds"],
                item["params"],
                item.get("answer", {}),
                item.get("error", {}).get("Code", ""),
            )
        )
    return sorted(found, key=lambda line: line.began_seconds)
