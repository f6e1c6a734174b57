"""What a reader must know before relying on a comparison: said in the report, not left to be found out."""

from daemons.formats.summary import PathSummary
from experiments.comparison.model import Metric, RaceFigures
from experiments.comparison.sides import Side
from experiments.results.series import PathSeries
from experiments.statistics.describe import Description

__all__ = ["caveats_of"]

# The receiver's own figures may differ from ours by the resolution of its histograms, and by rows still unwritten.
_TOLERATED_SHARE = 0.01


def caveats_of(
    sides: tuple[Side, Side], described: list[Description], *, race: RaceFigures | None, metric: Metric
) -> list[str]:
    """List the caveats of a comparison, the ones that matter most first."""
    found: list[str] = []
    if race is None:
        found += _clocks(sides, metric)
        found += _times(sides)
    else:
        found += _race_account(sides, race)
    for side, one in zip(sides, described, strict=True):
        found += _rows(side, one, paired=race is not None, metric=metric)
        found += _run(side)
    return list(dict.fromkeys(found))


def _clocks(sides: tuple[Side, Side], metric: Metric) -> list[str]:
    unknown = [side.label for side in sides if side.clock_bound_ms(metric) is None]
    found = []
    if unknown:
        found.append(
            f"how far the clocks behind {' and '.join(unknown)} were off is not recorded: one-way delays, and "
            "differences between them, are only as good as those clocks were"
        )
    if metric == "end_to_end_ms":
        found.append(
            "end-to-end delays also rest on the exchange's clock, whose error is unknown, but the same on both sides"
        )
    return found


def _times(sides: tuple[Side, Side]) -> list[str]:
    starts = [side.run.summary.start if side.run.summary is not None else None for side in sides]
    if None in starts or starts[0] == starts[1]:
        return []
    text = (
        f"the two were measured at different times ({starts[0]} and {starts[1]}): what changed in between is part of "
        "the difference; a race, or alternating runs, would separate the two"
    )
    return [text]


def _race_account(sides: tuple[Side, Side], race: RaceFigures) -> list[str]:
    summary = sides[0].run.summary
    names = {side.path for side in sides}
    for account in summary.race if summary is not None else []:
        if {account.path, account.reference} == names:
            if abs(account.pairs - race.pairs) <= _TOLERATED_SHARE * max(account.pairs, race.pairs):
                return []
            text = (
                f"the receiver paired {account.pairs:,} events, the rows give {race.pairs:,}: its table of waiting "
                "events was too small or too short-lived for the lag between the paths, or the CSV file is incomplete"
            )
            return [text]
    return []


def _rows(side: Side, one: Description, *, paired: bool, metric: Metric) -> list[str]:
    series, summary = side.series, side.summary
    if series is None:
        return [f"{side.label}: only the JSON file was found, so there are no confidence intervals"]
    found = []
    if series.delayed:
        found.append(
            f"{side.label}: {series.delayed:,} events waited in the forwarder while its link was down; they "
            "count as delivered but not as samples of delay"
        )
    if series.invalid:
        listed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(series.invalid.items()))
        found.append(f"{side.label}: left out as invalid: {listed}")
    if summary is not None and not paired and metric == "end_to_end_ms" and summary.sample_count:
        found += _counts_agree(side.label, summary.sample_count, one.count)
    if (lost := _lost_unseen(side, series)) is not None:
        found.append(lost)
    return found


def _counts_agree(label: str, said: int, counted: int) -> list[str]:
    if abs(said - counted) <= _TOLERATED_SHARE * max(said, counted):
        return []
    return [
        f"{label}: the JSON file speaks of {said:,} samples, the CSV file {counted:,}; they may be of different runs"
    ]


def _lost_unseen(side: Side, series: PathSeries) -> str | None:
    """Say that rows cannot show what was lost after the last of them."""
    summary = side.summary
    if not isinstance(summary, PathSummary) or not summary.sessions or summary.sessions == 1:
        return None
    return (
        f"{side.label}: the forwarder was restarted {summary.sessions - 1} times; loss counted from {len(series):,} "
        "rows does not include what was lost at the end of each session"
    )


def _run(side: Side) -> list[str]:
    summary = side.run.summary
    if side.run.unfinished:
        return [f"{side.run.source.name}: the run has not ended or was killed; of its clocks nothing is known"]
    if summary is None:
        return []
    found = []
    if not summary.complete:
        found.append(f"{side.run.source.name}: the run was ended before its time")
    stepped = [clock.steps for clock in side.clocks if clock is not None and clock.steps]
    return found + [f"{side.run.source.name}: a clock was stepped {steps} times during the run" for steps in stepped]
