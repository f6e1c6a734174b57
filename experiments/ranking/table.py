"""A ranking in the terminal."""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from daemons.service.console.screen import MISSING, Grid, figure, sentence
from experiments.comparison.wording import format_interval, format_value
from experiments.ranking.model import RankedPath, Ranking, Relation

__all__ = ["place", "print_ranking", "seen_from"]

_STYLES = {"first": "bold green", "leaders": "bold", "no-difference": "bold", "undecided": "bold yellow"}
_SHOWN: dict[Relation, str] = {"earlier": "green", "later": "red", "equal": "", "unknown": "dim"}


def print_ranking(console: Console, ranking: Ranking) -> None:
    """Print the verdict, the ranking, leads and wins of all pairs, and the caveats."""
    sentence(console, ranking.sentence, style=_STYLES[ranking.outcome])
    console.print()
    console.print(_places(ranking))
    console.print(_matrix(ranking, "lead of the row over the column, ms (dim: not to be told apart)", _lead))
    console.print(_matrix(ranking, "share of events that the row had before the column, %", _wins))
    if ranking.hours:
        console.print(_hours(ranking))
    for line in _accounts(ranking):
        sentence(console, f" {line}", indent=3)
    for caveat in ranking.caveats:
        sentence(console, f" ! {caveat}", style="yellow", indent=3)


def place(path: RankedPath) -> str:
    """Write the places that a path may have.

    The first of two numbers is the best that is not ruled out.
    """
    return str(path.best_rank) if path.best_rank == path.worst_rank else f"{path.best_rank}–{path.worst_rank}"


def seen_from(ranking: Ranking, row: str, column: str) -> tuple[float, float, Relation]:
    """Give the lead of one path over another, the share of events that it had earlier, and what is shown."""
    pair = ranking.pair(row, column)
    if pair.first == row:
        return pair.lead.value_ms, pair.win_share, pair.relation
    turned: dict[Relation, Relation] = {"earlier": "later", "later": "earlier", "equal": "equal", "unknown": "unknown"}
    return -pair.lead.value_ms, 1 - pair.win_share - pair.tie_share, turned[pair.relation]


def _places(ranking: Ranking) -> Grid:
    together = f"{ranking.confidence:.0%} together".replace("%", " %")
    priced = any(path.price_per_day is not None for path in ranking.paths)
    columns = ["path", "place", "behind, ms", together, "first in, %", "lost, %", "std dev, ms", "p95, ms", "p99, ms"]
    table = Grid("", columns + ["$ a day"] * priced)
    for path in ranking.paths:
        table.add(
            path.path,
            place(path),
            format_value(path.behind_ms, "ms"),
            MISSING if path.behind is None else format_interval(path.behind, "ms"),
            f"{path.first_share * 100:.1f}",
            format_value(path.loss.rate if path.loss.expected else None, "share"),
            format_value(path.lag_stddev_ms, "ms"),
            format_value(path.lag_p95_ms, "ms"),
            format_value(path.lag_p99_ms, "ms"),
            *[figure(path.price_per_day)] * priced,
        )
    return table


def _matrix(ranking: Ranking, title: str, cell: Callable[[float, float, Relation], Text]) -> Grid:
    names = [path.path for path in ranking.paths]
    table = Grid(title, ["", *[str(number) for number in range(1, len(names) + 1)]])
    for number, row in enumerate(names, start=1):
        cells = [Text() if row == column else cell(*seen_from(ranking, row, column)) for column in names]
        table.add(f"{number} {row}", *cells)
    return table


def _lead(lead_ms: float, _wins: float, relation: Relation) -> Text:
    return Text(format_value(lead_ms, "ms", signed=True), style=_SHOWN[relation])


def _wins(_lead: float, wins: float, _relation: Relation) -> Text:
    return Text(f"{wins * 100:.1f}")


def _hours(ranking: Ranking) -> Grid:
    names = [path.path for path in ranking.paths]
    table = Grid("median behind the first of each hour of day, UTC, ms", ["hour", "events", *names])
    for hour in ranking.hours:
        table.add(f"{hour.hour:02}", f"{hour.events:,}", *[format_value(hour.behind_ms[name], "ms") for name in names])
    return table


def _accounts(ranking: Ranking) -> list[str]:
    resamples = (
        f"intervals: {ranking.repetitions:,} resamples of blocks of {ranking.block_samples:,} "
        f"event{'s' * (ranking.block_samples > 1)}, the same for all paths; worth "
        f"{ranking.effective_count:,.0f} independent events; seed {ranking.seed}"
    )
    return [
        f"{ranking.events:,} of {ranking.seen:,} events came on every path; they rank, by the median lead of each pair",
        "p95, p99 and standard deviation are of how much later than the middle of the field an event came",
        resamples,
    ]
