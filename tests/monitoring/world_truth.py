"""What every panel, rule and alert has to return for the desk of :mod:`tests.monitoring.world`, by its events alone."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from daemons.measurement.histogram import octaves
from grafana.limits import limit
from tests.monitoring.expressions import alerts, holding_seconds
from tests.monitoring.history import START
from tests.monitoring.truth import Range, near, quantile
from tests.monitoring.world import TARGETS, World

__all__ = ["ALERTS", "PANELS", "RULES", "At", "Check", "Key", "firing", "in_five_minutes"]

Key = tuple[str, ...]
Found = dict[Key, Range]
WINDOW = 20.0
_BOUNDARIES = octaves(-20, 4).le


class TooCloseError(Exception):
    """What is known does not tell on which side of a limit a figure is."""


@dataclass(frozen=True)
class At:
    """A moment of the desk.

    Attributes:
        world: the desk.
        moment: in seconds since its start.
        window: how far back a point of a line reaches, which is Grafana's ``$__rate_interval``.
    """

    world: World
    moment: float
    window: float = WINDOW

    def series(self, metric: str, role: str = "") -> Iterable[tuple[str, dict[str, str], Key]]:
        """Yield the series of a metric: daemon, all labels, own labels' values."""
        for (name, own), family in self.world.families.items():
            if name == metric and role in ("", own):
                for values in self.world.histories[own].labels(metric):
                    yield own, {**TARGETS[own], **dict(zip(family.labels, values, strict=True))}, values

    def seen(self, metric: str, by: Key, seconds: float, **only: str) -> dict[Key, tuple[list[float], float]]:
        """Return by labels what the scrapes of a window can tell, and by how much a rate may be stretched."""
        found: dict[Key, tuple[list[float], float]] = {}
        for role, labels, values in self.series(metric):
            history = self.world.histories[role]
            if history.scrapes.window(self.moment, seconds) is None:
                continue
            if any(labels.get(name) != value for name, value in only.items()):
                continue
            key = tuple(labels.get(name, "") for name in by)
            rows, _stretch = found.setdefault(key, ([], history.stretch(self.moment, seconds)))
            rows += history.seen(metric, values, self.moment, seconds)
        return found

    def gauges(self, metric: str, by: Key, moment: float | None = None) -> dict[Key, list[float]]:
        """Return by labels what the last scrape saw."""
        found: dict[Key, list[float]] = defaultdict(list)
        for role, labels, values in self.series(metric):
            value = self.world.histories[role].latest(metric, values, self.moment if moment is None else moment)
            if value is not None:
                found[tuple(labels.get(name, "") for name in by)].append(value)
        return found


@dataclass(frozen=True)
class Check:
    """What a query returns: the labels that tell its series apart, and their values at a moment."""

    labels: Key
    truth: Callable[[At], Found]
    partly: bool = False
    """Of a heat map the boundaries between which its values lie are shown."""


def _plus(one: Range, other: Range) -> Range:
    return one[0] + other[0], one[1] + other[1]


def _over(part: Range, whole: Range) -> Range:
    """Divide increases that are extrapolated alike, or nearly."""
    middle = ((part[0] + part[1]) / 2) / ((whole[0] + whole[1]) / 2)
    return middle * 0.93 - 1e-9, middle * 1.07 + 1e-9


def _counts(at: At, metric: str, by: Key, seconds: float, **only: str) -> Found:
    return {
        key: (sum(rows) - 1e-9, sum(rows) * stretch * 1.001 + 1e-9)
        for key, (rows, stretch) in at.seen(metric, by, seconds, **only).items()
    }


def increases(metric: str, *by: str, seconds: float = 300, **only: str) -> Check:
    """Check a counter's increase."""
    return Check(by, lambda at: _counts(at, metric, by, seconds, **only))


def rates(metric: str, *by: str, seconds: float = WINDOW) -> Check:
    """Check a counter's rate a second."""
    return Check(
        by,
        lambda at: {
            key: (low / seconds, high / seconds) for key, (low, high) in _counts(at, metric, by, seconds).items()
        },
    )


def reasons(metric: str, by: str, scale: float, seconds: float) -> Check:
    """Check a counter by reason, or as one zero where nothing was counted."""

    def truth(at: At) -> Found:
        some = {key: value for key, value in _counts(at, metric, (by, "reason"), seconds).items() if value[1] > 1e-6}
        told = {key[0] for key in some}
        none = {(key[0], ""): value for key, value in _counts(at, metric, (by,), seconds).items() if key[0] not in told}
        return {key: (low / scale, high / scale) for key, (low, high) in (some | none).items()}

    return Check((by, "reason"), truth)


def positive(check: Check) -> Check:
    """Check what is above zero alone."""
    return Check(check.labels, lambda at: {key: value for key, value in check.truth(at).items() if value[1] > 1e-6})


def quantiles(metric: str, fraction: float, *by: str, seconds: float = WINDOW, **only: str) -> Check:
    """Check a quantile that is read from buckets."""
    return Check(
        by,
        lambda at: {
            key: quantile(rows, fraction, 0.015)
            for key, (rows, _stretch) in at.seen(metric, by, seconds, **only).items()
            if rows
        },
    )


def gauges(metric: str, *by: str, take: Callable[[list[float]], float] = max, factor: float = 1) -> Check:
    """Check the newest value."""
    return Check(by, lambda at: {key: near(factor * take(rows)) for key, rows in at.gauges(metric, by).items()})


def both(*checks: Check) -> Check:
    """Check one thing or the other, of different labels."""
    return Check(
        checks[0].labels, lambda at: {key: value for check in checks for key, value in check.truth(at).items()}
    )


def empty(*labels: str) -> Check:
    """Check that there is nothing."""
    return Check(labels, lambda _at: {})


def limited(check: Check, name: str) -> list[Check]:
    """Check what a panel shows and its limit's line, which is there where anything else is."""
    return [check, Check((), lambda at: {(): near(limit(name))} if check.truth(at) else {})]


def above(check: Check, bound: float, *, below: bool = False) -> Check:
    """Check what is beyond a limit alone; no range may have the limit in it."""

    def truth(at: At) -> Found:
        found = check.truth(at)
        for key, (low, high) in found.items():
            if low < bound < high:
                raise TooCloseError(f"{key}: {low} to {high} has {bound} in it")
        return {key: value for key, value in found.items() if (value[0] < bound if below else value[0] >= bound)}

    return Check(check.labels, truth)


def most(check: Check) -> Check:
    """Check the largest of all."""

    def truth(at: At) -> Found:
        found = check.truth(at).values()
        return {(): (max(low for low, _high in found), max(high for _low, high in found))} if found else {}

    return Check((), truth)


# What the recording rules make


def _evaluations(moment: float, seconds: float, step: float = 5.0) -> list[float]:
    """Return the moments of evaluation in a window, both its ends included."""
    first = max(step, moment - seconds)
    return [first + index * step for index in range(int((moment - first) / step) + 1)]


def _means(at: At) -> dict[Key, float]:
    """Return the mean jitter of 15 seconds, of streams with events."""
    found: dict[Key, float] = {}
    events = at.seen("latency_receiver_events_total", ("path", "stream"), 60)
    history = at.world.histories["receiver"]
    moments = [time for time in history.scrapes.times if at.moment - 15 < time <= at.moment]
    for _role, _labels, values in at.series("latency_receiver_jitter_seconds"):
        seen = [history.latest("latency_receiver_jitter_seconds", values, moment) for moment in moments]
        known = [value for value in seen if value is not None]
        if known and sum(events.get(values, ([], 0.0))[0]):
            found[values] = math.fsum(known) / len(known)
    return found


MEAN_JITTER = Check(("path", "stream"), lambda at: {key: near(value) for key, value in _means(at).items()})


def _over_time(at: At, of: Callable[[At], dict[Key, float]], seconds: float) -> Found:
    """Return the mean over the evaluations of a rule in a window; Prometheus 3 leaves out that at its beginning."""
    open_ended = int(at.moment - seconds >= 5)
    rows: dict[Key, list[float]] = defaultdict(list)
    for moment in _evaluations(at.moment, seconds):
        for key, value in of(At(at.world, moment)).items():
            rows[key].append(value)
    found: Found = {}
    for key, values in rows.items():
        either = [near(math.fsum(some) / len(some)) for some in (values, values[open_ended:])]
        found[key] = min(low for low, _high in either), max(high for _low, high in either)
    return found


def _worst(check: Check, name: str) -> Check:
    place = check.labels.index(name)

    def truth(at: At) -> Found:
        found: Found = {}
        for key, (low, high) in check.truth(at).items():
            before = found.get((key[place],), (-math.inf, -math.inf))
            found[key[place],] = max(low, before[0]), max(high, before[1])
        return found

    return Check((name,), truth)


def _up(at: At) -> dict[Key, float]:
    found: dict[Key, float] = {}
    last = at.gauges("latency_last_event_timestamp_seconds", ("role", "path"))
    for metric in ("latency_receiver_feed_connected", "latency_receiver_link_connected"):
        for key, (connected,) in at.gauges(metric, ("path",)).items():
            (newest,) = last["receiver", key[0]]
            found[key] = float(bool(connected) or START + at.moment - newest < 10)
    return found


UP = Check(("path",), lambda at: {key: near(value) for key, value in _up(at).items()})


def _availability(seconds: float) -> Check:
    return Check(("path",), lambda at: _over_time(at, _up, seconds))


def _burn(seconds: float) -> Check:
    left = 1 - limit("availability_ratio")

    def truth(at: At) -> Found:
        found = _availability(seconds).truth(at)
        return {key: ((1 - high) / left - 1e-6, (1 - low) / left + 1e-6) for key, (low, high) in found.items()}

    return Check(("path",), truth)


def _lost(at: At) -> Found:
    gone = _counts(at, "latency_receiver_sequence_gap_events_total", ("path",), 300)
    late = _counts(at, "latency_receiver_late_events_total", ("path",), 300)
    return {key: (max(0.0, gone[key][0] - late[key][1]), max(0.0, gone[key][1] - late[key][0])) for key in gone}


LOST = Check(("path",), _lost)


def _ratio(part: Callable[[At], Found], whole: Callable[[At], Found]) -> Callable[[At], Found]:
    def truth(at: At) -> Found:
        bottom = whole(at)
        return {key: _over(value, bottom[key]) for key, value in part(at).items() if bottom[key][1] > 1e-6}

    return truth


def _events(at: At) -> Found:
    return _counts(at, "latency_receiver_events_total", ("path",), 300)


LOSS = Check(
    ("path",), _ratio(_lost, lambda at: {key: _plus(value, _lost(at)[key]) for key, value in _events(at).items()})
)


def _per_event(metric: str) -> Check:
    return Check(("path",), _ratio(lambda at: _counts(at, metric, ("path",), 300), _events))


def _bounds(at: At) -> Found:
    ((own,),) = at.gauges("latency_receiver_clock_error_bound_seconds", ()).values()
    peers = {
        key: rows[0] for key, rows in at.gauges("latency_receiver_peer_clock_error_bound_seconds", ("path",)).items()
    }
    return {key: near(own + peers.get(key, 0.0)) for key in _up(at)}


BOUNDS = Check(("path",), _bounds)


def extreme(check: Check, take: Callable[[Iterable[float]], float] = max) -> Check:
    """Check the highest, or the lowest, that something was since the point before."""

    def truth(at: At) -> Found:
        found: dict[Key, list[Range]] = defaultdict(list)
        # Prometheus 3 leaves out what is at the window's beginning.
        moments = _evaluations(at.moment, at.window)
        for moment in moments:
            for key, value in check.truth(At(at.world, moment)).items():
                found[key].append(value)
        both = {key: (ranges, ranges[1:] if len(ranges) == len(moments) else ranges) for key, ranges in found.items()}
        return {
            key: (
                min(take(low for low, _high in some) for some in either),
                max(take(high for _low, high in some) for some in either),
            )
            for key, either in both.items()
        }

    return Check(check.labels, truth)


def in_five_minutes(check: Check, at: At) -> Found:
    """Return the largest of what is counted in five minutes by the clock that end within a long window."""
    ends = range(300 * math.ceil((at.moment - at.window) / 300), int(at.moment) + 1, 300)
    found: dict[Key, list[Range]] = defaultdict(list)
    for end in ends:
        for key, value in check.truth(At(at.world, end)).items():
            found[key].append(value)
    return {key: (max(low for low, _ in ranges), max(high for _, high in ranges)) for key, ranges in found.items()}


def highest(metric: str, *by: str, factor: float = 1) -> Check:
    """Check the highest value since the point before."""
    return extreme(gauges(metric, *by, factor=factor))


def lowest(metric: str, *by: str, factor: float = 1) -> Check:
    """Check the lowest value since the point before."""
    return extreme(gauges(metric, *by, take=min, factor=factor), min)


HOST_DELAY = quantiles("latency_receiver_host_delay_seconds", 0.99, "path", seconds=300)
LOOP_LAG = quantiles("latency_event_loop_lag_seconds", 0.99, "daemon", seconds=300)


def _failures(at: At) -> Found:
    failed = _counts(at, "latency_probe_failures_total", ("target",), 300)
    passed = _counts(at, "latency_probe_successes_total", ("target",), 300)
    return {key: _over(failed[key], _plus(failed[key], passed[key])) for key in failed}


FAILURES = Check(("target",), _failures)
MISSED = Check(
    ("connection",),
    _ratio(
        lambda at: _counts(at, "latency_probe_missed_slots_total", ("connection",), 300),
        lambda at: _counts(at, "latency_probe_slots_total", ("connection",), 300),
    ),
)
MISSED_ECHOES = Check(
    ("peer",),
    _ratio(
        lambda at: _counts(at, "latency_probe_overlay_missed_slots_total", ("peer",), 300),
        lambda at: _counts(at, "latency_probe_overlay_slots_total", ("peer",), 300),
    ),
)


def _echoes_lost(seconds: float) -> Callable[[At], Found]:
    return _ratio(
        lambda at: _counts(at, "latency_probe_overlay_lost_total", ("peer",), seconds),
        lambda at: _counts(at, "latency_probe_overlay_sent_total", ("peer",), seconds),
    )


OVERLAY_LOSS = Check(("peer",), _echoes_lost(300))
END_TO_END, BACKBONE = "latency_receiver_end_to_end_seconds", "latency_receiver_backbone_seconds"
FRACTIONS = {"0.5": 0.5, "0.95": 0.95, "0.99": 0.99, "0.999": 0.999}

RULES: dict[tuple[str, frozenset[tuple[str, str]]], Check] = {
    **{
        ("latency:delay_seconds:quantile5m", frozenset({("measure", measure), ("quantile", text)})): quantiles(
            metric, fraction, "path", "stream", seconds=300
        )
        for measure, metric in (("end_to_end", END_TO_END), ("backbone", BACKBONE))
        for text, fraction in FRACTIONS.items()
    },
    **{
        ("latency:delay_seconds:p99_1h", frozenset({("measure", measure)})): quantiles(
            metric, 0.99, "path", "stream", seconds=3600
        )
        for measure, metric in (("end_to_end", END_TO_END), ("backbone", BACKBONE))
    },
    **{
        ("latency:probe_total_seconds:quantile5m", frozenset({("quantile", text)})): quantiles(
            "latency_probe_total_seconds", FRACTIONS[text], "target", "connection", seconds=300
        )
        for text in ("0.5", "0.95", "0.99")
    },
    ("latency:probe_missed:ratio5m", frozenset({("check", "target")})): MISSED,
    ("latency:probe_missed:ratio5m", frozenset({("check", "overlay")})): MISSED_ECHOES,
    **{
        (name, frozenset()): check
        for name, check in {
            "latency:jitter_seconds:mean15s": MEAN_JITTER,
            "latency:jitter_seconds:mean1h": Check(("path", "stream"), lambda at: _over_time(at, _means, 3600)),
            "latency:unpaired:ratio5m": _per_event("latency_receiver_unpaired_events_total"),
            "latency:lost_events:increase5m": LOST,
            "latency:loss:ratio5m": LOSS,
            "latency:reordered:ratio5m": _per_event("latency_receiver_reordered_events_total"),
            "latency:path:up": UP,
            "latency:availability:ratio5m": _availability(300),
            "latency:availability:ratio1h": _availability(3600),
            "latency:budget_burn:ratio5m": _burn(300),
            "latency:budget_burn:ratio1h": _burn(3600),
            "latency:clock_bound_seconds:path": BOUNDS,
            "latency:host_delay_seconds:p99_5m": HOST_DELAY,
            "latency:event_loop_lag_seconds:p99_5m": LOOP_LAG,
            "latency:probe_failures:ratio5m": FAILURES,
            "latency:probe_overlay_loss:ratio5m": OVERLAY_LOSS,
        }.items()
    },
}
"""By record and its labels; limits, the race (test_pairs.py) and what needs days (test_days.py) are apart."""


# The panels


def _month(at: At) -> Found:
    rows: dict[Key, list[float]] = defaultdict(list)
    for moment in _evaluations(at.moment, 3600):
        for key, (low, _high) in _availability(3600).truth(At(at.world, moment)).items():
            rows[key].append(low)
    return {key: near(math.fsum(values) / len(values), 1e-4) for key, values in rows.items()}


MONTH = Check(("path",), _month)


def _phases(connection: str) -> Check:
    def truth(at: At) -> Found:
        seen = at.seen("latency_probe_phase_seconds", ("phase",), WINDOW, connection=connection)
        means = {key: math.fsum(rows) / len(rows) for key, (rows, _stretch) in seen.items() if rows}
        # The sum's rate is stretched as the count's, but for the limit at zero.
        return {key: (value * 0.85, value * 1.15) for key, value in means.items()}

    return Check(("phase",), truth)


def spread(metric: str) -> Check:
    """Check a heat map: the increase of every boundary that it shows, from nearly none of the values to nearly all."""

    def truth(at: At) -> Found:
        rows, stretch = at.seen(metric, (), WINDOW).get((), ([], 1.0))
        counts = {le: sum(value <= float(le) for value in rows) for le in _BOUNDARIES}
        return {(le,): (count - 1e-9, count * stretch * 1.001 + 1e-9) for le, count in counts.items() if rows}

    return Check(("le",), truth, partly=True)


def _stamps(at: At) -> Found:
    parts = _counts(at, "latency_receiver_stamps_total", ("path", "kind"), WINDOW)
    wholes = _counts(at, "latency_receiver_stamps_total", ("path",), WINDOW)
    return {key: _over(value, wholes[key[0],]) for key, value in parts.items() if value[1] > 1e-6}


def _age(at: At) -> Found:
    starts = at.gauges("latency_start_timestamp_seconds", ("daemon",))
    return {key: near(START + at.moment - value) for key, (value,) in starts.items()}


def _of_build(check: Check) -> Check:
    """Check a figure of each daemon."""
    return Check(("daemon",), lambda at: {(key[0].split(":")[0],): value for key, value in check.truth(at).items()})


def _fill(at: At) -> Found:
    sizes = at.gauges("latency_forwarder_buffer_capacity_events", ("link",))
    waiting = at.gauges("latency_forwarder_buffer_events", ("link",))
    return {key: near(waiting[key][0] / sizes[key][0]) for key in waiting}


def _plausible(at: At) -> Found:
    return {key: near(1 - value) for key, (value,) in at.gauges("latency_receiver_clock_suspect", ("path",)).items()}


def _expiry(at: At) -> Found:
    ((end,),) = at.gauges("latency_probe_certificate_expiry_timestamp_seconds", ()).values()
    return {(): near(end - START - at.moment)}


def _hops(metric: str) -> Check:
    return gauges(f"latency_probe_route_hop_{metric}", "hop")


def _by_path(of: Callable[[float], list[Check]]) -> list[Check]:
    return [check for fraction in (0.5, 0.99, 0.999) for check in of(fraction)]


def _counted(*counters: str) -> list[Check]:
    """Check counters of which each has its labels after it, between blanks, and of which zeros are not shown."""
    return [positive(increases(*counter.split())) for counter in counters]


def _none_else(*metrics: str) -> Check:
    """Check the line of zeros where any of these counters is there."""
    return Check((), lambda at: {(): near(0)} if any(at.seen(metric, (), WINDOW) for metric in metrics) else {})


_LIMIT = "jitter_seconds"


def firing(at: At, name: str) -> tuple[set[Key], set[Key]]:
    """Return what an alert has to fire for, and what it may: some of its time the condition was too close to call."""
    sure = set(ALERTS[name].truth(at))
    may = set(sure)
    step, end = 5, int(at.moment)
    for moment in range(end - holding_seconds(alerts()[name]), end, step) if may else ():
        try:
            held = set(ALERTS[name].truth(At(at.world, moment)))
        except TooCloseError:
            sure = set()
            continue
        sure &= held
        may &= held
    return sure, may


def _fire(severity: str) -> Check:
    def truth(at: At) -> Found:
        found = [firing(at, name) for name, rule in alerts().items() if rule["labels"]["severity"] == severity]
        return {(): (sum(len(sure) for sure, _may in found), sum(len(may) for _sure, may in found))}

    return Check((), truth)


PANELS: dict[str, dict[str, list[Check]]] = {
    "latency-delay.json": {
        "End to end of $path": [spread(END_TO_END)],
        "End to end: percentiles by path": _by_path(lambda f: [quantiles(END_TO_END, f, "path")]),
        "End to end: p99 by stream": [quantiles(END_TO_END, 0.99, "path", "stream")],
        "Jitter by stream": limited(highest("latency_receiver_jitter_seconds", "path", "stream"), _LIMIT),
        "Why the slowest were slow, in 5 minutes": [
            *_counted("latency_receiver_tail_events_total path cause"),
            _none_else("latency_receiver_tail_events_total"),
        ],
        "Backbone of all chosen links": [spread(BACKBONE)],
        "Backbone: percentiles by path": _by_path(lambda f: [quantiles(BACKBONE, f, "path")]),
        "Round trip to the forwarder": [
            quantiles("latency_receiver_link_rtt_seconds", 0.5, "path"),
            quantiles("latency_receiver_link_rtt_seconds", 0.99, "path"),
            lowest("latency_receiver_link_clock_offset_error_seconds", "path", factor=2),
        ],
        "Waited in an outage, in 5 minutes": [
            *_counted(
                *(f"latency_receiver_{name}_events_total path" for name in ("delayed", "duplicate", "reordered"))
            ),
            _none_else("latency_receiver_delayed_events_total"),
        ],
        "By path and stream": [
            *[quantiles(END_TO_END, fraction, "path", "stream", seconds=300) for fraction in FRACTIONS.values()],
            empty("path"),
            MEAN_JITTER,
            rates("latency_receiver_events_total", "path", "stream", seconds=300),
            empty("path"),
        ],
    },
    "latency-health.json": {
        "Daemons": [
            Check(
                ("role", "host"),
                lambda at: {key: near(min(rows)) for key, rows in at.world.up(at.moment, at.window).items()},
            )
        ],
        "What is running": [
            gauges("latency_build_info", "daemon"),
            Check(("daemon",), _age),
            _of_build(rates("process_cpu_seconds_total", "instance", seconds=60)),
            _of_build(gauges("process_resident_memory_bytes", "instance")),
            _of_build(gauges("process_open_fds", "instance")),
            empty("daemon"),
        ],
        "Configuration": [
            lowest(f"latency_{role}_config_last_reload_successful", "host")
            for role in ("receiver", "forwarder", "probe")
        ],
        "Faults, in 5 minutes": [
            *_counted(
                "latency_unexpected_errors_total daemon host",
                "latency_log_lines_dropped_total daemon host",
                "latency_page_refusals_total daemon host",
                "latency_receiver_clock_steps_total host",
                "latency_forwarder_clock_steps_total host",
            ),
            _none_else("latency_unexpected_errors_total"),
        ],
        "Host delay: p99": limited(
            quantiles("latency_receiver_host_delay_seconds", 0.99, "path"), "host_delay_seconds"
        ),
        "Forwarder's hold: p99": [quantiles("latency_forwarder_hold_seconds", 0.99, "link")],
        "Event loop lag: p99": limited(
            quantiles("latency_event_loop_lag_seconds", 0.99, "daemon", "host"), "loop_lag_seconds"
        ),
        "Synchronised": [
            lowest("latency_receiver_clock_synchronized", "host"),
            lowest("latency_forwarder_clock_synchronized", "host"),
            extreme(Check(("path",), _plausible), min),
        ],
        "Error bounds": [
            highest("latency_receiver_clock_error_bound_seconds", "host"),
            highest("latency_forwarder_clock_error_bound_seconds", "host"),
            extreme(BOUNDS),
        ],
        "Offsets": [
            gauges("latency_receiver_clock_offset_seconds", "host"),
            gauges("latency_forwarder_clock_offset_seconds", "host"),
            gauges("latency_receiver_link_clock_offset_seconds", "path"),
        ],
        "Buffers": limited(extreme(Check(("link",), _fill)), "buffer_ratio"),
        "Received, forwarded, dropped": [
            rates("latency_forwarder_events_received_total", "host"),
            rates("latency_forwarder_events_forwarded_total", "link"),
            rates("latency_forwarder_events_dropped_total", "link"),
        ],
        "Reconnects, in 5 minutes": [
            *_counted(
                "latency_forwarder_reconnects_total side",
                "latency_receiver_reconnects_total side",
                "latency_forwarder_datagrams_refused_total link",
            ),
            _none_else("latency_forwarder_reconnects_total", "latency_receiver_reconnects_total"),
        ],
        "Peers turned away, in 5 minutes": [
            *_counted("latency_receiver_link_refusals_total path reason", "latency_forwarder_link_shared_total link"),
            _none_else("latency_receiver_link_refusals_total", "latency_forwarder_link_shared_total"),
        ],
        "Missing, in 5 minutes, and why": [
            *_counted(
                "latency_receiver_sequence_gap_events_total path",
                "latency_receiver_late_events_total path",
                "latency_receiver_given_up_events_total path",
                "latency_receiver_socket_dropped_datagrams_total path",
                "latency_receiver_stale_events_total path",
                "latency_receiver_sequence_leaps_total path",
            ),
            _none_else("latency_receiver_sequence_gap_events_total"),
        ],
        "Feeds: connections taken over, in 5 minutes": [
            *_counted(
                "latency_feed_replacements_total path reason",
                "latency_feed_notices_total path",
                "latency_feed_id_resets_total path",
            ),
            _none_else("latency_feed_replacements_total"),
        ],
        "Round trip": [
            highest("latency_tcp_rtt_seconds", "side"),
            lowest("latency_tcp_least_rtt_seconds", "side"),
        ],
        "Sent again, or out of order, in 5 minutes": [
            *_counted(
                "latency_tcp_retransmitted_segments_total side",
                "latency_tcp_out_of_order_segments_total side",
                "latency_tcp_reorderings_total side",
            ),
            _none_else("latency_tcp_retransmitted_segments_total"),
        ],
        "Send queue": [highest("latency_tcp_send_queue_bytes", "side")],
        "Figures and messages refused": [
            reasons("latency_receiver_invalid_events_total", "path", WINDOW, WINDOW),
            rates("latency_forwarder_events_invalid_total", "host"),
            rates("latency_forwarder_invalid_delays_total", "host"),
        ],
        "Who stamps arrivals": [Check(("path", "kind"), _stamps)],
    },
    "latency-overview.json": {
        "To be believed within": [
            most(BOUNDS),
            most(HOST_DELAY),
            most(_per_event("latency_receiver_unpaired_events_total")),
        ],
        "Jitter now": [_worst(MEAN_JITTER, "path")],
        "Lost in 5 minutes": [LOST],
        "Events a second": [rates("latency_receiver_events_total", "path")],
        "Alerts": [_fire("page"), _fire("ticket")],
        "Paths": [extreme(UP, min)],
        "Jitter": limited(_worst(extreme(MEAN_JITTER), "path"), _LIMIT),
        "End to end": [quantiles(END_TO_END, 0.5, "path"), quantiles(END_TO_END, 0.99, "path")],
        "Availability": [_availability(3600), MONTH, _burn(3600), empty("path")],
    },
    "latency-probe.json": {
        "Success": [
            lowest("latency_probe_success", "target"),
            lowest("latency_probe_overlay_socket_open", "peer"),
            empty(),
        ],
        "Egress identity": [gauges("latency_probe_egress_info", "ip", "city", "country")],
        "As expected": [gauges("latency_probe_egress_match")],
        "Certificate": [Check((), _expiry)],
        "Cold and warm: p50 and p99": [
            quantiles("latency_probe_total_seconds", fraction, "target", "connection") for fraction in (0.5, 0.99)
        ],
        "Failures, in 5 minutes": [
            *_counted(
                "latency_probe_failures_total target reason", "latency_probe_missed_slots_total target connection"
            ),
            _none_else("latency_probe_slots_total"),
        ],
        "Phases of a cold request (mean)": [_phases("cold")],
        "Phases of a warm request (mean)": [_phases("warm")],
        "Overlay: round trip to the tunnel peer": [
            quantiles("latency_probe_overlay_rtt_seconds", 0.5, "peer"),
            quantiles("latency_probe_overlay_rtt_seconds", 0.99, "peer"),
            highest("latency_probe_overlay_jitter_seconds", "peer"),
        ],
        "Overlay: lost echoes": [Check(("peer",), _echoes_lost(WINDOW))],
        "Route": [
            _hops("info"),
            _hops("rtt_seconds"),
            _hops("rtt_worst_seconds"),
            _hops("loss_ratio"),
            empty("target"),
        ],
        "Probe's own lateness: p99": [
            quantiles("latency_probe_schedule_lag_seconds", 0.99, "host"),
            quantiles("latency_probe_host_delay_seconds", 0.99, "host"),
        ],
        "Besides, in 5 minutes": [
            *_counted(
                "latency_probe_reconnects_total target reason",
                "latency_probe_interim_responses_total target",
                "latency_probe_route_failures_total reason",
                "latency_probe_route_changes_total target",
                "latency_probe_overlay_late_total peer",
                "latency_probe_overlay_duplicates_total peer",
                "latency_probe_overlay_send_errors_total peer",
            ),
            _none_else("latency_probe_slots_total"),
        ],
        "Targets": [gauges("latency_probe_target_info", "target", "address"), FAILURES, empty("target")],
    },
    "latency-race.json": {
        "What was not compared": [
            rates("latency_receiver_unpaired_events_total", "path"),
            rates("latency_receiver_race_excluded_events_total", "path"),
        ],
    },
}

# The alerts: their conditions, before they have held for long enough


def _silent(at: At) -> Found:
    found = {}
    for key, (value,) in at.gauges("latency_last_event_timestamp_seconds", ("role", "path")).items():
        found[key] = near(START + at.moment - value)
    return found


def _down(*metrics: str, by: str) -> Check:
    """Check those that are 0."""
    return both(*[above(gauges(metric, by), 0.5, below=True) for metric in metrics])


def _restarts(at: At) -> Found:
    found: Found = {}
    for role, _labels, values in at.series("latency_start_timestamp_seconds"):
        history = at.world.histories[role]
        times = [time for time in history.scrapes.times if at.moment - 900 < time <= at.moment]
        seen = [history.latest("latency_start_timestamp_seconds", values, time) for time in times]
        found[values] = near(sum(one != two for one, two in pairwise(seen)))
    return found


def _feeds_down(at: At) -> Found:
    found = _down("latency_receiver_feed_connected", by="path").truth(at)
    forwarder = at.gauges("latency_forwarder_feed_connected", ())[()]
    return found | ({("feed",): near(0)} if not forwarder[0] else {})


def _link_down(at: At) -> Found:
    down = _down("latency_receiver_link_connected", by="path").truth(at)
    return {key: value for key, value in down.items() if not _up(at)[key]}


def _unsynchronised(at: At) -> Found:
    own: Found = {
        (role, ""): near(0)
        for role in ("receiver", "forwarder")
        for ((value,),) in [tuple(at.gauges(f"latency_{role}_clock_synchronized", ()).values())]
        if not value
    }
    peers = _down("latency_receiver_peer_clock_synchronized", by="path").truth(at)
    linked = at.gauges("latency_receiver_link_connected", ("path",))
    return own | {("receiver", key[0]): near(0) for key in peers if linked[key][0]}


def _too_wide(at: At) -> Found:
    jitter = _worst(MEAN_JITTER, "path").truth(at)
    return {
        key: value
        for key, value in _bounds(at).items()
        if value[0] > limit("clock_bound_floor_seconds")
        and key in jitter
        and value[0] / jitter[key][0] > limit("clock_bound_jitter_ratio")
    }


def _slower(at: At) -> Found:
    won = {key: sum(rows) for key, (rows, _s) in at.seen("latency_receiver_path_wins_total", ("path",), 300).items()}
    if not sum(won.values()):
        return {}
    share = won["backbone",] / sum(won.values())
    return {("backbone",): (share * 0.95, share * 1.05)} if share < limit("win_ratio") else {}


def _unanswering(at: At) -> Found:
    return {key: near(0) for key, rows in at.world.up(at.moment).items() if not rows[-1]}


def _absent(at: At) -> Found:
    now = at.world.up(at.moment)
    return {key: near(max(rows)) for key, rows in at.world.up(at.moment, 3600).items() if key not in now}


def _expiring(at: At) -> Found:
    left = _expiry(at)[()]
    return {("api",): left} if left[0] < limit("certificate_seconds") else {}


def _burning(at: At) -> Found:
    hour, now = _burn(3600).truth(at), _burn(300).truth(at)
    bound = limit("budget_burn_ratio")
    return {key: value for key, value in hour.items() if value[0] > bound and now[key][0] > bound}


def _egress(at: At) -> Found:
    if at.gauges("latency_probe_egress_match", ())[()][0] == 0:
        return {("egress",): near(0)}
    return positive(increases("latency_probe_egress_changes_total", "target", seconds=600)).truth(at)


ALERTS: dict[str, Check] = {
    "DaemonDown": Check(("role", "host"), _unanswering),
    "TargetAbsent": Check(("role", "host"), _absent),
    "NoTargets": Check((), lambda at: {} if at.world.up(at.moment) else {(): near(1)}),
    # Rules are evaluated for as long as anybody is asked.
    "ThresholdsMissing": Check((), lambda at: {} if at.world.up(at.moment) else {(): near(1)}),
    "DaemonRestarting": above(Check(("daemon",), _restarts), limit("restarts") + 0.5),
    "EventLoopSlow": above(LOOP_LAG, limit("loop_lag_seconds")),
    "HostDelayHigh": above(HOST_DELAY, limit("host_delay_seconds")),
    "ResultsNotWritten": positive(increases("latency_receiver_result_write_errors_total", "host")),
    "ArchiveNotWritten": positive(increases("latency_receiver_archive_errors_total", "operation")),
    "UnexpectedErrors": positive(increases("latency_unexpected_errors_total", "daemon", seconds=900)),
    "ReloadRefused": both(
        *[
            above(gauges(f"latency_{role}_config_last_reload_successful", "role"), 0.5, below=True)
            for role in ("receiver", "forwarder", "probe")
        ]
    ),
    "LinkDown": Check(("path",), _link_down),
    "ForwarderLinkDown": _down("latency_forwarder_link_connected", by="link"),
    "LinkAuthenticationFailing": positive(increases("latency_receiver_link_refusals_total", "path", reason="key")),
    "FeedDown": Check(("path",), _feeds_down),
    "StreamSilent": above(gauges("latency_feed_silent_streams", "path"), 0.5),
    "PathSilent": above(Check(("role", "path"), _silent), limit("silence_seconds")),
    "BufferFilling": above(Check(("link",), _fill), limit("buffer_ratio")),
    "EventsDropped": positive(increases("latency_forwarder_events_dropped_total", "link")),
    "JitterHigh": above(MEAN_JITTER, limit("jitter_seconds")),
    # Nothing to compare with on the first day: test_days.py has others.
    "JitterChanged": empty("path"),
    "LatencyRegression": empty("path"),
    "BackboneSlower": Check(("path",), _slower),
    "EventsLost": positive(LOST),
    "EventsReordered": above(positive(_per_event("latency_receiver_reordered_events_total")), limit("reordered_ratio")),
    "ErrorBudgetBurning": Check(("path",), _burning),
    "ClockUnsynchronised": Check(("role", "path"), _unsynchronised),
    "ClockBoundTooWide": Check(("path",), _too_wide),
    "ClockSuspect": above(gauges("latency_receiver_clock_suspect", "path"), 0.5),
    "NegativeDelays": positive(increases("latency_receiver_invalid_events_total", "path", reason="negative_backbone")),
    "ProbeFailing": above(FAILURES, limit("probe_failure_ratio")),
    "ProbeBlind": above(MISSED, limit("probe_missed_ratio")),
    "OverlayLossy": above(OVERLAY_LOSS, limit("overlay_loss_ratio")),
    "EgressChanged": Check(("target",), _egress),
    "CertificateExpiring": Check(("target",), _expiring),
}
