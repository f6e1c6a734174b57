"""The JSON file of a run: whoever measures fills these structs in, whoever compares reads them.

Milliseconds throughout; None where there is no sample, never 0. The first eleven keys are the original Rust programs',
which know nothing else of the main path. A file of another program lacks the rest, so every field that is not theirs
has a default: for the reader. Whoever writes gives them all.
"""

import msgspec

__all__ = [
    "FORMAT",
    "UNFINISHED",
    "BackboneLatencies",
    "ClockSummary",
    "Distribution",
    "Latencies",
    "LeadSummary",
    "LinkSummary",
    "PathSummary",
    "RaceSummary",
    "RowsSummary",
    "RunClock",
    "RunSummary",
    "TailCause",
]

FORMAT = "backbone-latency-results/1"
UNFINISHED = {"complete": False}
"""All that the file says until the run ends."""


class ClockSummary(msgspec.Struct, frozen=True):
    """A host's clock; ``error_bound_ms`` is the largest of the run, None when it is not known."""

    synchronized: bool | None = None
    offset_ms: float | None = None
    error_bound_ms: float | None = None
    source: str | None = None
    steps: int = 0


class RunClock(ClockSummary, frozen=True):
    """The clock of the host that measured: at the end, and at the start."""

    at_start: ClockSummary | None = None
    allowed_unsynchronized: bool = False


class Distribution(msgspec.Struct, frozen=True):
    """Figures of any duration in milliseconds; None where there was no sample. Percentiles are by nearest rank."""

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
    """What the clock exchange on a link said about the far end; ``clock_suspect`` says why the clocks do not fit."""

    rtt_ms: Distribution = Distribution()
    clock_offset_ms: float | None = None
    clock_offset_error_ms: float | None = None
    peer_clock: ClockSummary | None = None
    peer_drops: dict[str, int] = {}
    clock_suspect: str | None = None


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


class TailCause(msgspec.Struct, frozen=True):
    """Events in a path's tail for one cause, and how far above the usual delay they were, on average and at most."""

    events: int
    mean_excess_ms: float
    worst_excess_ms: float


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
    tail: dict[str, TailCause] = {}
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


class LeadSummary(msgspec.Struct, frozen=True):
    """By how much a path was before its reference, in milliseconds; None where they shared no event."""

    min: float | None = None
    p01: float | None = None
    p05: float | None = None
    median: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    mean: float | None = None
    stddev: float | None = None


class RaceSummary(msgspec.Struct, frozen=True):
    """The receiver's own account of two paths that carried the same events."""

    path: str
    reference: str
    pairs: int
    wins: int = 0
    reference_wins: int = 0
    ties: int = 0
    lead_ms: LeadSummary = LeadSummary()
    excluded: int = 0
    only_path: int = 0
    only_reference: int = 0


class RowsSummary(msgspec.Struct, frozen=True):
    """How many rows the CSV file beside this has, and how many the disk did not take."""

    rows: int | None = None
    rows_lost: int | None = None


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
    host: str | None = None
    versions: dict[str, str] = {}
    clock: RunClock | None = None
    csv: RowsSummary | None = None
    paths: dict[str, PathSummary] = {}
    race: list[RaceSummary] = []
