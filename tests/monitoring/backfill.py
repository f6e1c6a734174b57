"""Histories put into a real Prometheus, its recording rules computed over them by the shipped expressions."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.monitoring.expressions import alerts, holding_seconds, metrics_in, rules
from tests.monitoring.history import START, History
from tests.monitoring.servers import ask, prometheus

__all__ = ["Asked", "past"]

Labels = frozenset[tuple[str, str]]
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_RECORDED = re.compile(r"\blatency:[a-z0-9_:]+\b(?:\{[^}]*\})?(?![\w:{\[])")
_ALERTS = re.compile(r"\bALERTS\{[^}]*\}(?!\[)")
_FLAGS = ("--storage.tsdb.retention.time=100y", "--query.lookback-delta=5m")


class Asked:
    """A Prometheus that holds the past."""

    def __init__(self, address: str) -> None:
        self._address = address

    def values(self, expression: str, moment: float) -> dict[Labels, float]:
        """Evaluate at a moment of the histories; return the values by labels, without a name."""
        # Prometheus marks where an alert ends, which what is filled in cannot: it ends with its last evaluation.
        query = _ALERTS.sub(r"last_over_time(\g<0>[1s])", expression)
        answer = ask(self._address, "/api/v1/query", query=query, time=str(START + moment))
        return {
            frozenset((key, value) for key, value in series["metric"].items() if key != "__name__"): float(
                series["value"][1]
            )
            for series in answer["data"]["result"]
        }


@contextmanager
def past(
    folder: Path,
    histories: Sequence[History],
    evaluate_seconds: float = 5.0,
    *,
    alerting: bool = False,
    recorded_until: float | None = None,
) -> Iterator[Asked]:
    """Run Prometheus with these histories, with what the recording rules make of them, and with the alerts if wanted.

    Rules are evaluated on the grid of whole intervals since the start, for Prometheus itself chooses a phase; to the
    end, or to a moment of the histories after which they are late.
    """
    data = folder / "tsdb"
    data.mkdir()
    end = max(page[0] for history in histories for page in history.pages)
    (folder / "prometheus.yml").write_text("{}")
    flags = (*_FLAGS, f"--storage.tsdb.path={data}")
    _fill(folder, _pages(histories))
    recorded = end if recorded_until is None else START + recorded_until
    for group in _levels():
        with prometheus(folder, *flags) as address:
            _fill(folder, _recorded(address, group, recorded, evaluate_seconds))
    if alerting:
        with prometheus(folder, *flags) as address:
            _fill(folder, _alerted(address, end, evaluate_seconds))
    with prometheus(folder, *flags) as address:
        yield Asked(address)


def _recorded(address: str, group: list[dict[str, Any]], end: float, step: float) -> Iterator[str]:
    """Yield the samples that rules record."""
    for rule in group:
        asked = {"query": rule["expr"], "start": str(START), "end": str(end), "step": str(step)}
        for series in ask(address, "/api/v1/query_range", **asked)["data"]["result"]:
            labels = {**series["metric"], **rule.get("labels", {})}
            labels.pop("__name__", None)
            own = ",".join(f'{key}="{value}"' for key, value in labels.items())
            for moment, value in series["values"]:
                yield f"{rule['record']}{{{own}}} {value} {moment}\n"


def _alerted(address: str, end: float, step: float) -> Iterator[str]:
    """Yield ``ALERTS`` as Prometheus has it of rules that it evaluates: pending until it has held for long enough."""
    for name, rule in alerts().items():
        # What is recorded ends with its last evaluation, as alerts do.
        query = _RECORDED.sub(r"last_over_time(\g<0>[1s])", rule["expr"])
        asked = {"query": query, "start": str(START), "end": str(end), "step": str(step)}
        for series in ask(address, "/api/v1/query_range", **asked)["data"]["result"]:
            labels = {**series["metric"], **rule["labels"], "alertname": name}
            labels.pop("__name__", None)
            own = ",".join(f'{key}="{value}"' for key, value in labels.items())
            begun = before = -step
            for moment, _value in series["values"]:
                if moment - before > step:
                    begun = moment
                before = moment
                state = "firing" if moment - begun >= holding_seconds(rule) else "pending"
                yield f'ALERTS{{alertstate="{state}",{own}}} 1 {moment}\n'


def _fill(folder: Path, samples: Iterable[str]) -> None:
    """Put samples into the database while nobody serves it."""
    file = folder / "samples.om"
    with file.open("w") as output:
        output.writelines(samples)
        output.write("# EOF\n")
    command = ("promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(folder / "tsdb"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _pages(histories: Sequence[History]) -> Iterator[str]:
    """Yield the samples of all scrapes, with the labels of their targets."""
    for history in histories:
        known: dict[tuple[str, str], str] = {}
        for moment, page, labels in history.pages:
            target = {"job": "latency", "deployment": history.deployment, "host": "desk", **labels}
            own = ",".join(f'{key}="{value}"' for key, value in target.items())
            for line in page.splitlines():
                if line.startswith("#"):
                    continue
                # What stands before the value is the same on every page.
                head, _space, value = line.rpartition(" ")
                series = known.get((own, head))
                if series is None:
                    found = _SAMPLE.match(line)
                    assert found is not None, line
                    series = known[own, head] = f"{found[1]}{{{found[2] + ',' if found[2] else ''}{own}}}"
                yield f"{series} {value} {moment:.4f}\n"


def _levels() -> Iterator[list[dict[str, Any]]]:
    """Yield the recording rules in groups, each needing only what those before it record."""
    waiting = [rule for rule in rules() if "record" in rule]
    while waiting:
        missing = {rule["record"] for rule in waiting}
        ready = [rule for rule in waiting if not missing & (metrics_in(rule["expr"]) - {rule["record"]})]
        assert ready, missing
        yield ready
        waiting = [rule for rule in waiting if rule not in ready]
