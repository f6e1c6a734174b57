"""What a timed run says when it ends: which path was first, and each path's figures. For people, on standard output."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures
from daemons.measurement.percentile import PERCENTILES
from daemons.measurement.race import Pair
from daemons.service.console.screen import Grid, figure, sentence

__all__ = ["print_conclusion", "verdicts"]


def print_conclusion(
    console: Console, accounts: Sequence[PathAccount], pairs: Sequence[Pair], seconds: float, asked_seconds: float
) -> None:
    """Print it.

    Args:
        console: where to.
        accounts: of the paths, which kept :class:`Figures`.
        pairs: of the race; none where there was none.
        seconds: that were measured.
        asked_seconds: that were asked for.
    """
    whole = seconds >= asked_seconds
    title = f"{asked_seconds:g} s" if whole else f"ended early, after {seconds:.1f} of {asked_seconds:g} s"
    columns = ("path", "events", "samples", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "lost")
    grid = Grid(title, columns)
    for account in accounts:
        assert isinstance(account.figures, Figures)
        latency = account.figures.end_to_end
        lost = account.total("missing") - account.total("given_up")
        values = map(_ms, latency.shown(*PERCENTILES.values()))
        grid.add(account.name, str(account.events), str(latency.count), *map(figure, values), str(lost))
    console.print(grid)
    for line in verdicts([account.name for account in accounts], pairs):
        sentence(console, line, style="bold")


def verdicts(names: Sequence[str], pairs: Sequence[Pair]) -> Iterator[str]:
    """Say of each pair which path was first, how often, and by how much."""
    for pair in pairs:
        path, reference = names[pair.path], names[pair.reference]
        count = pair.wins + pair.reference_wins + pair.ties
        only = f"{pair.only_path:,} only by {path}, {pair.only_reference:,} only by {reference}"
        if pair.leads is None or not count:
            yield f"{path} and {reference}: no event came by both, so neither was first; {only}"
            continue
        ahead = pair.wins >= pair.reference_wins
        first, second = (path, reference) if ahead else (reference, path)
        wins = max(pair.wins, pair.reference_wins)
        lead_ms = _ms(pair.leads.quantile(0.5)) or 0.0
        by = f"by {figure(abs(lead_ms))} ms in the median" if (lead_ms >= 0) == ahead else "yet not in the median"
        if pair.wins == pair.reference_wins:
            first, by = f"neither {path} nor {reference}", f"with a median lead of {figure(lead_ms, signed=True)} ms"
            yield f"{first} was first more often in {count:,} events, {by}; {only}"
            continue
        yield f"{first} was first in {_share(wins, count)} of {count:,} events that {second} brought too, {by}; {only}"


def _share(part: int, whole: int) -> str:
    """Write a share so that 100 % means all."""
    if part == whole:
        return "100 %"
    return f"{min(part / whole, 0.999):.1%}".replace("%", " %")


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6
