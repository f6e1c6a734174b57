"""From figures to the sentence that answers the question.

Three claims can be made: one about delay (the median difference, or the median lead of a race), one about
jitter (the standard deviation) and one about loss. They are judged at 95 % together (Bonferroni), so that two equal
paths are said to differ in any of the three in at most 5 of 100 comparisons.
"""

from experiments.comparison.model import ClockTrust, Figure, RaceFigures, Verdict
from experiments.statistics.bootstrap import Interval

__all__ = ["CLAIMS", "judge", "milliseconds"]

CLAIMS = ("median", "stddev", "loss")


def judge(
    labels: tuple[str, str],
    figures: list[Figure],
    race: RaceFigures | None,
    clock: ClockTrust,
    margin_ms: float,
) -> Verdict:
    """Say what was shown.

    Args:
        labels: of the first and the second side.
        figures: with ``claim`` set where the intervals, judged together, allow it.
        race: when the same events were seen on both.
        clock: whether clocks allow to name a difference in delay.
        margin_ms: a smaller difference in delay is not worth naming.
    """
    by_name = {figure.name: figure for figure in figures}
    median = by_name["median"]
    others = [_jitter(by_name["stddev"]), _loss(by_name.get("loss"))]
    steadier = [text for text in others if text]
    limits = _missing_percentiles(figures)
    if clock.refused:
        return Verdict(outcome="refused", sentence=_sentence([f"refused: {clock.refused}", *steadier, limits]))
    if median.difference is None:
        why = f"no comparison of delays: {median.note}"
        return Verdict(
            outcome="difference" if steadier else "no-difference",
            sentence=_sentence([why, *steadier, limits]),
        )
    if median.interval is None and not steadier:
        text = f"undecided between {labels[1]} and {labels[0]}: median {_signed(median)}, {median.note}"
        return Verdict(outcome="undecided", sentence=_sentence([text, limits]))
    if median.claim and abs(median.difference) >= margin_ms:
        return Verdict(outcome="difference", sentence=_sentence([_delay(labels, median, race), *steadier, limits]))
    if median.interval is not None and max(abs(median.interval.low), abs(median.interval.high)) < margin_ms:
        text = (
            f"{labels[1]} and {labels[0]} are equally fast within {milliseconds(margin_ms)}: median difference "
            f"{_signed(median)}"
        )
        return Verdict(
            outcome="difference" if steadier else "equivalent", sentence=_sentence([text, *steadier, limits])
        )
    if steadier:
        text = f"no difference shown in delay: median of {labels[1]} {_signed(median)} against {labels[0]}"
        return Verdict(outcome="difference", sentence=_sentence([text, *steadier, limits]))
    text = f"no difference shown between {labels[1]} and {labels[0]}: median {_signed(median)}"
    return Verdict(outcome="no-difference", sentence=_sentence([text, _unclaimed_jitter(by_name["stddev"]), limits]))


def milliseconds(value: float) -> str:
    """Write milliseconds with the digits that matter.

    >>> [milliseconds(value) for value in (115.04, 21.4, 1.234, 0.0567)]
    ['115.0 ms', '21.4 ms', '1.23 ms', '0.057 ms']
    """
    return f"{value:.{_decimals(value)}f} ms"


def _decimals(value: float) -> int:
    size = abs(value)
    return 1 if size >= 10 else 2 if size >= 1 else 3


def _range(interval: Interval | None, scale: float = 1, unit: str = "ms") -> str:
    if interval is None:
        return "no confidence interval"
    low, high = sorted((interval.low * scale, interval.high * scale))
    decimals = max(_decimals(low), _decimals(high)) if unit == "ms" else 0 if high - low > 2 else 1
    decimals = min(decimals, _decimals(max(abs(low), abs(high)))) if unit == "ms" else decimals
    return f"{interval.confidence:.0%} CI {low:.{decimals}f} to {high:.{decimals}f} {unit}".replace("%", " %", 1)


def _delay(labels: tuple[str, str], median: Figure, race: RaceFigures | None) -> str:
    assert median.difference is not None
    size = milliseconds(abs(median.difference))
    reach = _range(median.interval, 1 if median.difference > 0 else -1)
    if race is None:
        word = "slower" if median.difference > 0 else "faster"
        return f"{labels[1]} is {word} than {labels[0]} by {size} in the median ({reach})"
    word = "later" if median.difference > 0 else "earlier"
    return (
        f"{labels[1]} has events {size} {word} than {labels[0]} in the median ({reach}), and first in "
        f"{_share(race.win_share)} of {race.pairs:,} events"
    )


def _share(share: float) -> str:
    """Write a share so that 100 % means all."""
    return (
        f"{share:.0%}".replace("%", " %")
        if share in {0, 1}
        else f"{min(max(share, 0.001), 0.999):.1%}".replace("%", " %")
    )


def _signed(figure: Figure) -> str:
    assert figure.difference is not None
    sign = "+" if figure.difference >= 0 else "-"
    return f"{sign}{milliseconds(abs(figure.difference))} ({_range(figure.interval)})"


def _jitter(figure: Figure) -> str:
    if not figure.claim or figure.relative is None:
        return ""
    word = "higher" if figure.relative > 0 else "lower"
    reach = _range(figure.relative_interval, 100 if figure.relative > 0 else -100, "%")
    return f"jitter (standard deviation) {abs(figure.relative):.0%} {word} ({reach})".replace("%", " %", 1)


def _unclaimed_jitter(figure: Figure) -> str:
    if figure.relative is None:
        return ""
    return f"jitter (standard deviation) {figure.relative:+.0%} ({_range(figure.relative_interval, 100, '%')})".replace(
        "%", " %", 1
    )


def _loss(figure: Figure | None) -> str:
    if figure is None or not figure.claim or figure.difference is None:
        return ""
    word = "more" if figure.difference > 0 else "less"
    reach = _range(figure.interval, 100 if figure.difference > 0 else -100, "%")
    return f"{abs(figure.difference) * 100:.2f} % of events {word} lost ({reach})"


def _missing_percentiles(figures: list[Figure]) -> str:
    short = [figure.name for figure in figures if figure.note.startswith("not enough samples")]
    names = {"p95": "p95", "p99": "p99", "p999": "p99.9"}
    listed = [names[name] for name in short if name in names]
    if not listed:
        return ""
    *others, last = listed
    return f"not enough samples for {', '.join(others)}{' and ' if others else ''}{last}"


def _sentence(parts: list[str]) -> str:
    return "; ".join(part for part in parts if part)
