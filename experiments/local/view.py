"""What the demo shows: a live table, a line for pipes, a summary at the end."""

from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from experiments.local.scrape import Page, quantile

__all__ = ["Snapshot", "line", "summary_table", "table"]

RECEIVER = "latency_receiver"
PATHS = (("direct", "public internet"), ("backbone", "forwarder and backbone"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All daemons' metrics at one moment."""

    forwarder: Page
    receiver: Page
    probe: Page

    def https_ms(self, connection: str, fraction: float) -> float | None:
        """Total time quantile of HTTPS requests on cold or warm connections."""
        return _ms(quantile(self.probe.buckets("latency_probe_total_seconds", connection=connection), fraction))

    def https_count(self, connection: str) -> int:
        """HTTPS requests answered."""
        return int(self.probe.total("latency_probe_total_seconds_count", connection=connection))

    def latency_ms(self, path: str, fraction: float) -> float | None:
        """End-to-end latency quantile of a path."""
        return _ms(quantile(self.receiver.buckets(f"{RECEIVER}_end_to_end_seconds", path=path), fraction))

    def jitter_ms(self, path: str) -> float | None:
        """RFC 3550 jitter of a path's trades."""
        return _ms(self.receiver.value(f"{RECEIVER}_jitter_seconds", path=path, stream="btcusdt@trade"))

    @property
    def lead_ms(self) -> float | None:
        """Median lead of the backbone."""
        return _ms(quantile(self.receiver.buckets(f"{RECEIVER}_path_lead_seconds"), 0.5))

    def count(self, name: str, path: str) -> int:
        """A counter of a path."""
        return int(self.receiver.total(f"{RECEIVER}_{name}_total", path=path))

    def wins(self, path: str) -> int:
        """Races that a path has won."""
        return int(self.receiver.total(f"{RECEIVER}_path_wins_total", path=path))


def table(snapshot: Snapshot, elapsed: float) -> RenderableType:
    """Make the live table."""
    grid = Table(box=box.SIMPLE_HEAD, title=f"race after {elapsed:.0f} s", title_justify="left", pad_edge=False)
    grid.add_column("path", style="bold")
    for name in ("events", "p50 ms", "p99 ms", "jitter ms", "lost", "wins"):
        grid.add_column(name, justify="right")
    best = max(snapshot.wins(path) for path, _what in PATHS)
    for path, what in PATHS:
        wins = snapshot.wins(path)
        grid.add_row(
            f"{path} [dim]({what})[/]",
            str(snapshot.count("events", path)),
            _figure(snapshot.latency_ms(path, 0.5)),
            _figure(snapshot.latency_ms(path, 0.99)),
            _figure(snapshot.jitter_ms(path)),
            str(snapshot.count("sequence_gap_events", path)),
            f"[green]{wins}[/]" if wins and wins == best else str(wins),
        )
    rtt = _ms(quantile(snapshot.receiver.buckets(f"{RECEIVER}_link_rtt_seconds"), 0.5))
    buffered = int(snapshot.forwarder.total("latency_forwarder_buffer_events"))
    foot = f"backbone leads by {_figure(snapshot.lead_ms)} ms (median); link RTT {_figure(rtt)} ms; {buffered} buffered"
    https = Table(box=box.SIMPLE_HEAD, title="HTTPS", title_justify="left", pad_edge=False)
    https.add_column("connection", style="bold")
    for name in ("requests", "p50 ms", "p99 ms"):
        https.add_column(name, justify="right")
    for connection, what in (("cold", "new: connect, TLS, request"), ("warm", "kept: request")):
        https.add_row(
            f"{connection} [dim]({what})[/]",
            str(snapshot.https_count(connection)),
            _figure(snapshot.https_ms(connection, 0.5)),
            _figure(snapshot.https_ms(connection, 0.99)),
        )
    return Group(grid, Text(foot), Text(""), https)


def line(snapshot: Snapshot, elapsed: float) -> str:
    """Make one line for a pipe or a log file."""
    parts = [
        f"{path}: {snapshot.count('events', path)} events, p50 {_figure(snapshot.latency_ms(path, 0.5))} ms, "
        f"jitter {_figure(snapshot.jitter_ms(path))} ms, lost {snapshot.count('sequence_gap_events', path)}, "
        f"wins {snapshot.wins(path)}"
        for path, _what in PATHS
    ]
    return (
        f"{elapsed:5.1f} s  "
        + "  |  ".join(parts)
        + f"  |  lead {_figure(snapshot.lead_ms)} ms  |  {probe_line(snapshot)}"
    )


def probe_line(snapshot: Snapshot) -> str:
    """Say in a few words what HTTPS costs cold and warm."""
    return (
        f"HTTPS cold {_figure(snapshot.https_ms('cold', 0.5))} ms, warm {_figure(snapshot.https_ms('warm', 0.5))} ms "
        f"(medians of {snapshot.https_count('cold')} and {snapshot.https_count('warm')})"
    )


def summary_table(results: dict[str, Any]) -> Table:
    """Make the table at the end, from the result file."""
    grid = Table(box=box.SIMPLE_HEAD, title="results", title_justify="left", pad_edge=False)
    grid.add_column("milliseconds", style="bold")
    for name in results["paths"]:
        grid.add_column(name, justify="right")
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
        grid.add_row(title, *(_figure(path[key]) for path in results["paths"].values()))
    for title, key in (("samples", "sample_count"), ("events", "events"), ("lost", "events_lost")):
        grid.add_row(title, *(str(path[key]) for path in results["paths"].values()))
    return grid


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
