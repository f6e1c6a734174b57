"""Reading the JSON file of a run: ours (``backbone-latency-results/1``) and that of the two programs it replaces.

The latter has eleven flat keys and no ``format``; ours has the same eleven for the primary path and more. Fields
that this version does not know are ignored, fields that are missing are None: a result file is evidence, and
evidence is not thrown away because somebody added to it. A changed *meaning* comes with another ``format``.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from daemons.decoding import UNDECODABLE
from daemons.formats.summary import FORMAT, UNFINISHED, Latencies, PathSummary, RunSummary
from experiments.errors import InputError

__all__ = ["is_unfinished", "load_summary"]


def load_summary(path: Path) -> RunSummary:
    """Read a results JSON file.

    Raises:
        InputError: the file cannot be read, is not JSON, is cut off, has another format version, or a field of
            the wrong type; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, None, f"cannot be read: {error}", "check the name and the permissions") from error
    try:
        raw = msgspec.json.decode(text)
    except RecursionError as error:
        remedy = "give the JSON that latency-receiver --output wrote"
        raise InputError(path, None, "nested too deeply", remedy) from error
    except msgspec.DecodeError as error:
        raise _not_json(path, text, error) from error
    if raw == UNFINISHED:
        raise InputError(path, 1, "the run has not ended, or was killed", "wait for it, or use its CSV file")
    if not isinstance(raw, dict) or "setup_type" not in raw:
        raise InputError(
            path,
            1,
            "no `setup_type`: not a results file",
            "give the JSON that latency-receiver --output wrote",
        )
    found = raw.get("format", FORMAT)
    if found != FORMAT:
        raise InputError(
            path,
            _line_of_key(text, ["format"]),
            f"format {found!r} is not {FORMAT!r}",
            "use the version of `experiment` that belongs to the receiver which wrote it",
        )
    try:
        summary = msgspec.convert(raw, RunSummary)
    except msgspec.ValidationError as error:
        raise _wrong_field(path, text, raw, error) from error
    return _without_invented_zeros(summary)


def is_unfinished(path: Path) -> bool:
    """Tell whether a results JSON file is that of a run which has not ended, or never will."""
    try:
        return bool(msgspec.json.decode(path.read_bytes()) == UNFINISHED)
    except (OSError, *UNDECODABLE):
        return False


def _without_invented_zeros(summary: RunSummary) -> RunSummary:
    """Turn the zeros that other writers put where there was no sample into None."""
    if summary.sample_count:
        return summary
    empty: dict[str, Any] = {name: None for name in Latencies.__struct_fields__ if name.endswith("_ms")}
    return msgspec.structs.replace(summary, **empty)


def _not_json(path: Path, text: str, error: msgspec.DecodeError) -> InputError:
    if not text.strip():
        return InputError(path, 1, "the file is empty", "the run did not end properly; use its CSV file")
    if (position := re.search(r"\(byte (\d+)\)", str(error))) is not None:
        line = text.encode()[: int(position[1])].count(b"\n") + 1
        return InputError(path, line, f"not JSON: {error}", "fetch the file again or use the run's CSV file")
    return InputError(path, text.count("\n") + 1, f"cut off: {error}", "fetch the file again or use the run's CSV file")


def _wrong_field(path: Path, text: str, raw: dict[str, Any], error: msgspec.ValidationError) -> InputError:
    """Name the line of a field that has the wrong type.

    msgspec names the key of a struct but writes ``[...]`` for the key of a dict, so the paths are tried one by
    one to learn which of them it is.
    """
    message = str(error)
    where = re.search(r"`\$(\S*)`", message)
    keys = re.findall(r"\.(\w+)", where[1]) if where is not None else []
    if keys[:1] == ["paths"] and isinstance(raw["paths"], dict):
        for name, value in raw["paths"].items():
            try:
                msgspec.convert(value, PathSummary)
            except msgspec.ValidationError:
                keys.insert(1, name)
                break
    missing = re.search(r"missing required field `(\w+)`", message)
    remedy = f"write it as format {FORMAT!r} says, or use the run's CSV file"
    if missing is not None:
        return InputError(path, _line_of_key(text, keys), f"no `{missing[1]}`: {message}", remedy)
    return InputError(path, _line_of_key(text, keys), message[:1].lower() + message[1:], remedy)


def _line_of_key(text: str, keys: list[str]) -> int:
    """Find the line of a nested key by looking for each key after the one that holds it."""
    position = 0
    for key in keys:
        found = text.find(f'"{key}"', position)
        if found < 0:
            break
        position = found
    return text.count("\n", 0, position) + 1
