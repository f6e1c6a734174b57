"""What is shown while a block runs: each path's figures so far, as a table on a terminal or as lines elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from daemons.service.console.screen import Grid, figure
from experiments.live.scrape import ScrapedPage

__all__ = ["PathProgress", "Progress", "line", "progress_of", "table"]

_RECEIVER = "latency_receiver"


@dataclass(frozen=True, slots=True)
class PathProgress:
    """One path so far; milliseconds, None where there is no sample. ``delayed`` events waited for the link."""

    name: str
    events: int
    delayed: int
    samples: int
    lost: int
    wins: int
    jitter_ms: float | None
    median_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """All paths so far, and by how much each pair's path leads its reference in the median."""

    paths: tuple[PathProgress, ...]
    leads_ms: tuple[tuple[str, str, float], ...] = ()


def progress_of(page: ScrapedPage, names: Sequence[str]) -> Progress:
    """Read the receiver's metrics page."""
    leads = []
    for labels in page.samples.get(f"{_RECEIVER}_path_lead_seconds_count", {}):
        pair = dict(labels)
        path, reference = pair["path"], pair["reference"]
        lead = page.run_lead(path=path, reference=reference)
        if lead is not None:
            leads.append((path, reference, lead * 1e3))
    return Progress(tuple(_path(page, name) for name in names), tuple(sorted(leads)))


def _path(page: ScrapedPage, name: str) -> PathProgress:
    median, p95, p99, p999 = (_ms(page.run_delay(name, fraction)) for fraction in (0.5, 0.95, 0.99, 0.999))
    return PathProgress(
        name=name,
        events=int(page.total(f"{_RECEIVER}_events_total", path=name)),
        delayed=int(page.total(f"{_RECEIVER}_delayed_events_total", path=name)),
        samples=int(page.total(f"{_RECEIVER}_end_to_end_seconds_count", path=name)),
        lost=int(page.total(f"{_RECEIVER}_sequence_gap_events_total", path=name)),
        wins=int(page.total(f"{_RECEIVER}_path_wins_total", path=name)),
        jitter_ms=_ms(page.value(f"{_RECEIVER}_jitter_seconds", path=name)),
        median_ms=median,
        p95_ms=p95,
        p99_ms=p99,
        p999_ms=p999,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def table(title: str, progress: Progress) -> RenderableType:
    """Make the live table."""
    columns = ("path", "events", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "jitter ms", "lost", "wins")
    grid = Grid(title, columns)
    for path in progress.paths:
        figures = (path.median_ms, path.p95_ms, path.p99_ms, path.p999_ms, path.jitter_ms)
        grid.add(path.name, str(path.events), *map(figure, figures), str(path.lost), str(path.wins))
    return Group(grid, Text(_leads(progress)))


def line(title: str, progress: Progress) -> str:
    """Make one line for a pipe or a log file."""
    parts = [
        f"{path.name}: {path.events} events, p50 {figure(path.median_ms)} p95 {figure(path.p95_ms)} "
        f"p99 {figure(path.p99_ms)} ms, jitter {figure(path.jitter_ms)} ms, lost {path.lost}"
        for path in progress.paths
    ]
    leads = _leads(progress)
    return "  |  ".join([title, *parts, *([leads] if leads else [])])


def _leads(progress: Progress) -> str:
    return ", ".join(
        f"{path} {'leads' if lead >= 0 else 'trails'} {reference} by {abs(lead):.2f} ms"
        for path, reference, lead in progress.leads_ms
    )
