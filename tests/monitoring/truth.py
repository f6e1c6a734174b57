"""What every panel has to show, computed from what truly happened.

A truth is a range: Prometheus reads quantiles from buckets 2^(1/8) apart, and rates from scrapes, extrapolated to the
ends of their window.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from grafana.limits import limit
from tests.monitoring.history import History

__all__ = ["PANELS", "Case", "Check", "Range", "quantile"]

Range = tuple[float, float]
Found = Mapping[tuple[str, ...], Range]

BUCKET = 2 ** (1 / 8) * (1 + 1e-9)
"""How far a quantile may be off: a bucket's width."""
SMALLEST = 2**-16
"""Below it, in seconds, all of a sign is one bucket."""


@dataclass(frozen=True)
class Case:
    """A moment of a history, and what is chosen in the dashboard.

    Attributes:
        racer: the chosen path of the race.
        reference: what it is compared with; empty for all.
        window: seconds of Grafana's rate interval.
        span: seconds of the dashboard's time range.
    """

    history: History
    moment: float
    racer: str = ""
    reference: str = ""
    window: float = 20
    span: float = 300

    @property
    def paths(self) -> list[str]:
        """Every path that brought events."""
        return sorted({path for path, _stream in self.history.labels("event")})

    def pairs(self) -> list[tuple[str, str]]:
        """Every pair, in both directions, that the window of the rules saw."""
        return [pair for pair in map(_two, self.history.labels("lead")) if self.leads(*pair, 300)]

    def references(self) -> list[str]:
        """What the chosen path is compared with."""
        return [other for path, other in self.pairs() if path == self.racer and self.reference in ("", other)]

    def leads(self, path: str, reference: str, seconds: float) -> list[float]:
        """Return the leads of a window."""
        return self.history.seen("lead", (path, reference), self.moment, seconds)

    def wins(self, path: str, reference: str, seconds: float) -> int:
        """Return how many events of a window path brought earlier."""
        return sum(lead > 0 for lead in self.leads(path, reference, seconds))


@dataclass(frozen=True)
class Check:
    """What one query of a panel has to return.

    Attributes:
        labels: that tell its series apart.
        truth: their values.
        of_shown: the same where it depends on what is shown.
    """

    labels: tuple[str, ...]
    truth: Callable[[Case], Found]
    of_shown: Callable[[Case, Mapping[tuple[str, ...], float]], Found] | None = None


def quantile(values: Sequence[float], fraction: float, slack: float = 0.01) -> Range:
    """Return where a quantile read from buckets may lie.

    Args:
        values: what was observed.
        fraction: of the values below.
        slack: by how much the fraction may be off: scrapes of several targets do not see the same.
    """
    ordered = sorted(values)

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, max(0, math.ceil(part * len(ordered)) - 1))]

    low, high = at(fraction - slack), at(fraction + slack)
    return _down(low), -_down(-high)


def _down(value: float) -> float:
    """Return the lower end of any bucket that a value can be in."""
    if value > SMALLEST:
        return value / BUCKET
    if value >= -SMALLEST:
        return 0.0 if value > 0 else -SMALLEST
    return value * BUCKET


def near(value: float, tolerance: float = 1e-6) -> Range:
    """Return a range about a value that is known but for arithmetic, or by a relative tolerance."""
    return value - abs(value) * tolerance - 1e-12, value + abs(value) * tolerance + 1e-12


def ratio(part: float, whole: float) -> Range:
    """Return a quotient of two counters' increases, both extrapolated nearly alike."""
    share = part / whole
    return share - 0.02 * min(share, 1 - share) - 1e-9, share + 0.02 * min(share, 1 - share) + 1e-9


def increase(case: Case, count: float, seconds: float) -> Range:
    """Return a counter's increase: what the scrapes saw, or more by their extrapolation to the window's ends."""
    return count - 1e-9, count * case.history.stretch(case.moment, seconds) * 1.001 + 1e-9


def limited(check: Check, name: str) -> list[Check]:
    """Return the checks of what a panel shows and of its limit's line, which is there where anything else is."""
    return [check, Check((), lambda case: {(): near(limit(name))} if check.truth(case) else {})]


def _two(labels: tuple[str, ...]) -> tuple[str, str]:
    return labels[0], labels[1]


# The race


def _leads(fraction: float) -> Check:
    return Check(
        ("reference",),
        lambda case: {
            (other,): quantile(leads, fraction)
            for other in case.references()
            if (leads := case.leads(case.racer, other, case.window))
        },
    )


def _earlier(case: Case) -> Found:
    return {
        (other,): ratio(case.wins(case.racer, other, case.window), len(leads))
        for other in case.references()
        if (leads := case.leads(case.racer, other, case.window))
    }


def spread(values: Callable[[Case, float], Sequence[float]]) -> Check:
    """Return the check of a heat map: the increase of each boundary that it shows, and that it shows what there is.

    Args:
        values: what was observed in so many seconds before the moment.
    """

    def between(case: Case, shown: Mapping[tuple[str, ...], float]) -> Found:
        whole, now = values(case, case.span), values(case, case.window)
        low, high = quantile(whole, 0.001, 0.0005)[0], quantile(whole, 0.999, 0.0005)[1]
        bounds = sorted(float(le) for (le,) in shown)
        # One boundary beyond either end, so that the outermost buckets have both their ends, and not much more.
        assert _down(low) * (BUCKET if low < 0 else 1 / BUCKET) - SMALLEST <= bounds[0] <= quantile(whole, 0.002, 0)[1]
        assert quantile(whole, 0.998, 0)[0] <= bounds[-1] <= high * (BUCKET**2 if high > 0 else BUCKET**-2) + SMALLEST
        return {(le,): increase(case, sum(value <= float(le) for value in now), case.window) for (le,) in shown}

    return Check(("le",), lambda _case: {}, between)


def _hours(case: Case, of: Callable[[list[float]], float], tolerance: float) -> Found:
    found: dict[tuple[str, ...], Range] = {}
    for other in case.references():
        leads = case.leads(case.racer, other, case.span)
        value = of(leads)
        found["00:00", other] = (value - tolerance, value + tolerance)
    return found


def _mean(leads: list[float]) -> float:
    return math.fsum(leads) / len(leads)


def _median(case: Case, pair: tuple[str, str]) -> float:
    leads = sorted(case.leads(*pair, 300))
    return leads[(len(leads) - 1) // 2]


def _ahead(case: Case) -> list[tuple[str, str]]:
    """Of each pair, the direction in which the median lead is positive."""
    return [pair for pair in case.pairs() if _median(case, pair) > 0]


def _table(fraction: float) -> Check:
    return Check(
        ("path", "reference"),
        lambda case: {pair: quantile(case.leads(*pair, 300), fraction) for pair in _ahead(case)},
    )


RACE = {
    "Lead over $reference, of $racer": [
        spread(lambda case, seconds: case.leads(case.racer, case.references()[0], seconds))
    ],
    "p1, median, p99 of the lead of $racer": [_leads(0.01), _leads(0.5), _leads(0.99)],
    "Brought earlier by $racer": limited(Check(("reference",), _earlier), "win_ratio"),
    "Mean lead by hour, of $racer": [
        Check(("hour", "reference"), lambda case: _hours(case, _mean, 0.002)),
    ],
    "Brought earlier by hour, by $racer": [
        Check(
            ("hour", "reference"), lambda case: _hours(case, lambda leads: sum(x > 0 for x in leads) / len(leads), 0.05)
        )
    ],
    "Who is earlier than whom, the last 5 minutes": [
        _table(0.01),
        _table(0.5),
        _table(0.99),
        Check(
            ("path", "reference"),
            lambda case: {pair: ratio(case.wins(*pair, 300), len(case.leads(*pair, 300))) for pair in _ahead(case)},
        ),
        Check(
            ("path", "reference"),
            lambda case: {pair: increase(case, len(case.leads(*pair, 300)), 300) for pair in _ahead(case)},
        ),
        Check(("path",), lambda case: {} if case.pairs() else {("no race",): (1, 1)}),
    ],
}

# The overview


def _shares(case: Case) -> dict[str, float]:
    """Return by path, in what part of the events of five minutes it beat its closest rival."""
    shares: dict[str, float] = {}
    for path, other in case.pairs():
        won, lost = case.wins(path, other, 300), case.wins(other, path, 300)
        shares[path] = min(shares.get(path, 1.0), won / (won + lost))
    return shares


def _first(case: Case) -> str:
    """Return the path that is first; empty without a race."""
    shares = _shares(case)
    return max(shares, key=lambda path: shares[path]) if shares else ""


def _closest(fraction: float, case: Case) -> Found:
    """Return the lead of each path over its closest rival."""
    found: dict[tuple[str, ...], Range] = {}
    for path, other in case.pairs():
        low, high = quantile(case.leads(path, other, 300), fraction)
        before = found.get((path,), (math.inf, math.inf))
        found[path,] = min(low, before[0]), min(high, before[1])
    return found


def _of_first(fraction: float) -> Check:
    return Check(
        ("path",),
        lambda case: {key: value for key, value in _closest(fraction, case).items() if key == (_first(case),)},
    )


def _since(case: Case) -> Found:
    """Return for how long the first has been it, on the grid of minutes."""
    now = _first(case)
    if not now:
        return {}
    minutes = [60.0 * index for index in range(1, int(case.moment / 60) + 1)]
    firsts = [(minute, _first(replace(case, moment=minute))) for minute in minutes]
    known = [(minute, first) for minute, first in firsts if first]
    begun = max((minute for minute, first in known if first != now), default=known[0][0])
    return {(now,): near(case.moment - begun)}


# Rules that are late: see test_pairs.py.
_NOT_LATE = Check((), lambda _case: {})

OVERVIEW = {
    "First": [
        Check(("path",), lambda case: {(path,): ratio(_shares(case)[path], 1) for path in [_first(case)] if path}),
        _NOT_LATE,
    ],
    "by (median)": [_of_first(0.5), _NOT_LATE],
    "by (99 %)": [_of_first(0.01), _NOT_LATE],
    "for": [Check(("path",), _since), _NOT_LATE],
    "Median lead over the closest rival": [Check(("path",), lambda case: _closest(0.5, case))],
}

PANELS: dict[str, dict[str, list[Check]]] = {"latency-race.json": RACE, "latency-overview.json": OVERVIEW}
