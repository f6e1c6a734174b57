"""A comparison in the terminal."""

from rich.console import Console
from rich.text import Text

from daemons.service.console.screen import Grid, sentence
from experiments.comparison.model import Comparison, Figure, SideFigures
from experiments.comparison.wording import TITLES, figure_title, format_interval, format_value

__all__ = ["print_comparison"]

_STYLES = {
    "difference": "bold green",
    "no-difference": "bold",
    "equivalent": "bold",
    "undecided": "bold yellow",
    "refused": "bold red",
}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the verdict, the table of figures, and the caveats."""
    verdict = comparison.verdict
    sentence(console, verdict.sentence, style=_STYLES[verdict.outcome])
    console.print()
    console.print(_figures(comparison))
    for account in _accounts(comparison):
        sentence(console, f" {account}", indent=3)
    for caveat in comparison.caveats:
        sentence(console, f" ! {caveat}", style="yellow", indent=3)


def _figures(comparison: Comparison) -> Grid:
    first, second = comparison.first.label, comparison.second.label
    confidence = f"{comparison.confidence:.0%} interval".replace("%", " %")
    table = Grid("", ["ms", first, second, "difference", confidence, ""])
    for figure in comparison.figures:
        table.add(
            figure_title(figure.name),
            format_value(figure.first, figure.unit),
            format_value(figure.second, figure.unit),
            _difference(figure),
            format_interval(figure.interval, figure.unit),
            Text("shown", style="green") if figure.claim else "",
        )
    return table


def _difference(figure: Figure) -> str:
    text = format_value(figure.difference, figure.unit, signed=True)
    return text if figure.relative is None else f"{text} ({figure.relative:+.0%})".replace("%", " %")


def _accounts(comparison: Comparison) -> list[str]:
    lines = [f"{TITLES[figure.name]}: {figure.note}" for figure in comparison.figures if figure.note]
    lines += [_account(side) for side in (comparison.first, comparison.second)]
    race = comparison.race
    if race is not None:
        lines.append(
            f"race: {race.pairs:,} events on both, {race.ties:,} ties; only on {comparison.first.label} "
            f"{race.only_first:,}, only on {comparison.second.label} {race.only_second:,}"
        )
    if comparison.clock.bound_ms is not None:
        lines.append(f"clocks: together within {format_value(comparison.clock.bound_ms, 'ms')} ms")
    if comparison.blocks is not None:
        lines.append(
            f"intervals: {comparison.repetitions:,} resamples of blocks of {comparison.block_samples:,} "
            f"sample{'s' * (comparison.block_samples != 1)}, seed {comparison.seed}; "
            "percentiles interpolate linearly (type 7)"
        )
    return lines


def _account(side: SideFigures) -> str:
    text = f"{side.label}: {side.statistics.count:,} samples"
    if side.effective_count is not None and side.effective_count < side.statistics.count:
        text += f", worth {side.effective_count:,.0f} independent ones"
    if side.loss is not None:
        text += f"; {side.loss.lost:,} of {side.loss.expected:,} events lost"
    return text
