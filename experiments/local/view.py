"""What the demo shows: a live table, a line for pipes, a summary at the end."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from daemons.formats.summary import RunSummary
from daemons.service.console.screen import Grid, Prose, figure
from experiments.live.scrape import ScrapedPage

__all__ = ["Snapshot", "line", "summary_table", "table"]

RECEIVER = "latency_receiver"
PATHS = (("direct", "public internet"), ("backbone", "forwarder and backbone"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All daemons' metrics at one moment."""

    forwarder: ScrapedPage
    receiver: ScrapedPage
    probe: ScrapedPage

    def https_ms(self, connection: str, fraction: float) -> float | None:
        """Total time quantile of HTTPS requests on cold or warm connections."""
        return _ms(self.probe.percentile("latency_probe_total_seconds", fraction, connection=connection))

    def https_count(self, connection: str) -> int:
        """HTTPS requests answered."""
        return int(self.probe.total("latency_probe_total_seconds_count", connection=connection))

    def latency_ms(self, path: str, fraction: float) -> float | None:
        """End-to-end latency quantile of a path."""
        return _ms(self.receiver.run_delay(path, fraction))

    def jitter_ms(self, path: str) -> float | None:
        """RFC 3550 jitter of a path's trades."""
        return _ms(self.receiver.value(f"{RECEIVER}_jitter_seconds", path=path, stream="btcusdt@trade"))

    @property
    def lead_ms(self) -> float | None:
        """Median lead of the backbone."""
        return _ms(self.receiver.run_lead())

    @property
    def rtt_ms(self) -> float | None:
        """Median round trip to the forwarder."""
        return _ms(self.receiver.value(f"{RECEIVER}_run_link_rtt_seconds"))

    def count(self, name: str, path: str) -> int:
        """A counter of a path."""
        return int(self.receiver.total(f"{RECEIVER}_{name}_total", path=path))

    def wins(self, path: str) -> int:
        """Races that a path has won."""
        return int(self.receiver.total(f"{RECEIVER}_path_wins_total", path=path))


def table(snapshot: Snapshot, elapsed: float) -> RenderableType:
    """Make the live table."""
    columns = ("path", "events", "p50 ms", "p99 ms", "jitter ms", "lost", "wins")
    grid = Grid(f"race after {elapsed:.0f} s", columns)
    best = max(snapshot.wins(path) for path, _what in PATHS)
    for path, what in PATHS:
        wins = snapshot.wins(path)
        grid.add(
            _with_remark(path, what),
            str(snapshot.count("events", path)),
            figure(snapshot.latency_ms(path, 0.5)),
            figure(snapshot.latency_ms(path, 0.99)),
            figure(snapshot.jitter_ms(path)),
            str(snapshot.count("sequence_gap_events", path)),
            Text(str(wins), style="green" if wins and wins == best else ""),
        )
    buffered = int(snapshot.forwarder.total("latency_forwarder_buffer_events"))
    lead, rtt = figure(snapshot.lead_ms), figure(snapshot.rtt_ms)
    foot = f"backbone leads by {lead} ms (median); link RTT {rtt} ms; {buffered} events buffered"
    https = Grid("HTTPS", ("connection", "requests", "p50 ms", "p99 ms"))
    for connection, what in (("cold", "new: connect, TLS, request"), ("warm", "kept: request")):
        https.add(
            _with_remark(connection, what),
            str(snapshot.https_count(connection)),
            figure(snapshot.https_ms(connection, 0.5)),
            figure(snapshot.https_ms(connection, 0.99)),
        )
    return Group(grid, Prose(foot), Text(""), https)


def line(snapshot: Snapshot, elapsed: float) -> str:
    """Make one line for a pipe or a log file."""
    parts = [
        f"{path}: {snapshot.count('events', path)} events, p50 {figure(snapshot.latency_ms(path, 0.5))} ms, "
        f"jitter {figure(snapshot.jitter_ms(path))} ms, lost {snapshot.count('sequence_gap_events', path)}, "
        f"wins {snapshot.wins(path)}"
        for path, _what in PATHS
    ]
    return (
        f"{elapsed:5.1f} s  "
        + "  |  ".join(parts)
        + f"  |  lead {figure(snapshot.lead_ms)} ms  |  {probe_line(snapshot)}"
    )


def probe_line(snapshot: Snapshot) -> str:
    """Say in a few words what HTTPS costs cold and warm."""
    return (
        f"HTTPS cold {figure(snapshot.https_ms('cold', 0.5))} ms, warm {figure(snapshot.https_ms('warm', 0.5))} ms "
        f"(medians of {snapshot.https_count('cold')} and {snapshot.https_count('warm')})"
    )


def summary_table(results: RunSummary) -> Grid:
    """Make the table at the end, from the result file."""
    grid = Grid("results", ("milliseconds", *results.paths))
    rows = (
        ("median", "median_latency_ms"),
        ("mean", "avg_latency_ms"),
        ("p95", "p95_latency_ms"),
        ("p99", "p99_latency_ms"),
        ("p99.9", "p999_latency_ms"),
        ("standard deviation", "jitter_stddev_ms"),
        ("jitter (RFC 3550)", "jitter_rfc3550_ms"),
    )
    for title, key in rows:
        grid.add(title, *(figure(getattr(path, key)) for path in results.paths.values()))
    for title, key in (("samples", "sample_count"), ("events", "events"), ("lost", "events_lost")):
        grid.add(title, *(str(getattr(path, key)) for path in results.paths.values()))
    return grid


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _with_remark(name: str, remark: str) -> Text:
    return Text.assemble(name, (f" ({remark})", "dim"))
