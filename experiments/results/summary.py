"""The JSON file of a run: ours (``backbone-latency-results/1``) and that of the two programs it replaces.

The latter has eleven flat keys and no ``format``; ours has the same eleven for the primary path and more. Fields
that this version does not know are ignored, fields that are missing are None: a result file is evidence, and
evidence is not thrown away because somebody added to it. A changed *meaning* comes with another ``format``.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from daemons.decoding import UNDECODABLE
from experiments.errors import InputError

__all__ = ["FORMAT", "ClockSummary", "LinkSummary", "PathSummary", "RunSummary", "is_unfinished", "load_summary"]

FORMAT = "backbone-latency-results/1"
UNFINISHED = {"complete": False}
"""All that the JSON file says until the run ends."""


class ClockSummary(msgspec.Struct, frozen=True):
    """A host's clock during the run; ``error_bound_ms`` is the largest of the run, None when it is not known."""

    synchronized: bool | None = None
    offset_ms: float | None = None
    error_bound_ms: float | None = None
    source: str | None = None
    steps: int = 0
    at_start: dict[str, Any] = {}
    allowed_unsynchronized: bool = False


class Distribution(msgspec.Struct, frozen=True):
    """Figures of any duration in milliseconds; None where there was no sample."""

    sample_count: int = 0
    avg_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    stddev_ms: float | None = None


class LinkSummary(msgspec.Struct, frozen=True):
    """What the clock exchange on a link said about the far end."""

    rtt_ms: Distribution = Distribution()
    clock_offset_ms: float | None = None
    clock_offset_error_ms: float | None = None
    peer_clock: ClockSummary | None = None
    peer_drops: dict[str, int] = {}
    clock_suspect: Any = None


class Latencies(msgspec.Struct, frozen=True):
    """End-to-end figures of a path in milliseconds; None where there was no sample."""

    sample_count: int
    events_lost: int | None = None
    avg_latency_ms: float | None = None
    median_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    p99_latency_ms: float | None = None
    p999_latency_ms: float | None = None
    min_latency_ms: float | None = None
    max_latency_ms: float | None = None
    jitter_stddev_ms: float | None = None
    jitter_rfc3550_ms: float | None = None


class BackboneLatencies(Distribution, frozen=True, kw_only=True):
    """Forwarder-to-receiver figures of a link path: the forwarder's hold and the one-way delay, apart and together."""

    jitter_rfc3550_ms: float | None = None
    forwarder_hold: Distribution = Distribution()
    one_way_delay: Distribution = Distribution()


class PathSummary(Latencies, frozen=True, kw_only=True):
    """One path of a run."""

    kind: str = "feed"
    events: int = 0
    backbone: BackboneLatencies | None = None
    gaps: int | None = None
    reordered: int | None = None
    duplicates: int | None = None
    delayed: int | None = None
    without_event_time: int | None = None
    event_time_steps_ms: dict[str, float] | None = None
    forwarder_time_step_ms: float | None = None
    error_bound_ms: dict[str, float | None] = {}
    segments: dict[str, Distribution] | None = None
    sessions: int | None = None
    unique: int | None = None
    stale: int | None = None
    given_up_by_forwarder: int | None = None
    id_resets: dict[str, int] = {}
    id_leaps: int | None = None
    stamps: dict[str, int] = {}
    streams: dict[str, int] = {}
    connections: int | None = None
    reconnects: dict[str, int] = {}
    dropped_datagrams: int | None = None
    refusals: dict[str, int] = {}
    invalid: dict[str, int] = {}
    host_delay_ms: Distribution = Distribution()
    link: LinkSummary | None = None

    def steps_ns(self, metric: str) -> dict[str, tuple[int, int]] | None:
        """Give the steps of the times behind a latency by stream, as a file's rows show them; None when unrecorded."""
        if metric == "end_to_end_ms":
            steps = self.event_time_steps_ms
        else:
            steps = None if self.forwarder_time_step_ms is None else {"": self.forwarder_time_step_ms}
        # The receiver's own stamps are the kernel's, in nanoseconds.
        return None if steps is None else {name: (round(step * 1e6), 1) for name, step in steps.items()}


class RaceSummary(msgspec.Struct, frozen=True):
    """The receiver's own account of two paths that carried the same events."""

    path: str
    reference: str
    pairs: int
    wins: int = 0
    reference_wins: int = 0
    ties: int = 0
    lead_ms: dict[str, float | None] = {}
    excluded: int = 0
    only_path: int = 0
    only_reference: int = 0


class RunSummary(Latencies, frozen=True, kw_only=True):
    """A whole run; the latency fields are those of ``primary_path``."""

    setup_type: str
    backbone_avg_latency_ms: float | None = None
    backbone_median_latency_ms: float | None = None
    format: str | None = None
    primary_path: str | None = None
    start: str | None = None
    end: str | None = None
    duration_seconds: float | None = None
    complete: bool = True
    host: Any = None
    versions: dict[str, Any] = {}
    clock: ClockSummary | None = None
    csv: dict[str, int | None] | None = None
    paths: dict[str, PathSummary] = {}
    race: list[RaceSummary] = []


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
