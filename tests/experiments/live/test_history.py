"""Figures of a window, held against the events that the counters were made of."""

import bisect
import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from experiments.live.figures import watched
from experiments.live.history import POINTS, History, PageReading
from experiments.live.scrape import NoPage, parse
from experiments.live.targets import ScrapeTarget
from experiments.live.watch_view import line, sparkline

BOUNDS = [2.0**power for power in range(-12, 3)]


@dataclass
class Life:
    """A receiver's counters, as it would show them."""

    started: float
    delays: list[float]

    def page(self, *, say_start: bool) -> bytes:
        lines = [f"latency_start_timestamp_seconds {self.started}"] if say_start else []
        lines += ["# TYPE latency_receiver_events_total counter"]
        lines += [f'latency_receiver_events_total{{path="a",stream="s"}} {len(self.delays)}']
        lines += ["# TYPE latency_receiver_end_to_end_seconds histogram"]
        ordered = sorted(self.delays)
        for bound in [*BOUNDS, math.inf]:
            le = "+Inf" if math.isinf(bound) else repr(bound)
            count = bisect.bisect_right(ordered, bound)
            lines.append(f'latency_receiver_end_to_end_seconds_bucket{{path="a",stream="s",le="{le}"}} {count}')
        return ("\n".join(lines) + "\n").encode()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "restart", "miss"]),
        st.floats(0.1, 30),
        st.lists(st.floats(0.001, 3.9), max_size=5),
    ),
    min_size=1,
    max_size=40,
)


@given(ACTIONS, st.floats(1, 60), st.booleans())
def test_what_is_shown_is_what_happened_in_the_window(
    actions: list[tuple[str, float, list[float]]], window: float, say_start: bool
) -> None:
    target = ScrapeTarget("receiver", "h:1")
    history = History(window)
    life = Life(1000.0, [])
    now, restarts = 0.0, 0
    reads: list[tuple[float, int]] = []
    for action, pause, delays in actions:
        now += pause
        if action == "restart":
            # One of which nothing was counted cannot be told from one that goes on, unless it says when it began.
            if reads and (say_start or reads[-1][1]):
                restarts += 1
                reads.clear()
            life = Life(1000.0 + now, [])
            history_page = parse("h:1", life.page(say_start=say_start))
            history.add(PageReading(now, 1000.0 + now, history_page))
            reads.append((now, 0))
            continue
        life.delays += delays
        if action == "miss":
            history.missed(NoPage("refused"))
            found = watched("t", now, {target: history})
            assert found.daemons[0].state == "gone"
            assert not found.paths
            continue
        history.add(PageReading(now, 1000.0 + now, parse("h:1", life.page(say_start=say_start))))
        reads.append((now, len(life.delays)))
        while len(reads) > 2 and reads[1][0] <= now - window:
            reads.pop(0)
        found = watched("t", now, {target: history})
        (path,) = found.paths
        began, before = reads[0] if len(reads) > 1 else (life.started - 1000.0, 0)
        assert path.events == path.samples == len(life.delays) - before
        seconds = found.daemons[0].over_seconds
        if len(reads) > 1 or say_start:
            assert seconds is not None
            assert math.isclose(seconds, now - began, abs_tol=1e-6)
        assert (path.median_ms is None) == (path.samples < 6)
        if path.median_ms is not None:
            of_window = sorted(life.delays[before:])
            exact = of_window[max(0, math.ceil(len(of_window) / 2) - 1)] * 1e3
            # Within the bucket, and a bucket is an octave.
            assert exact / 2.001 <= path.median_ms <= exact * 2.001
        assert len(path.trend_ms) <= POINTS
        assert found.daemons[0].restarts == restarts


@given(st.lists(st.none() | st.floats(-1e5, 1e5), max_size=POINTS))
def test_a_sparkline_has_a_sign_a_value_in_their_order(values: list[float | None]) -> None:
    drawn = sparkline(values)
    known = [value for value in values if value is not None]
    assert len(drawn) == (len(values) if known else 0)
    pairs = [(value, sign) for value, sign in zip(values, drawn, strict=False) if value is not None]
    assert all(sign == " " for value, sign in zip(values, drawn, strict=False) if value is None)
    assert [sign for _value, sign in sorted(pairs)] == sorted(sign for _value, sign in pairs)


def test_figures_of_a_whole_run_are_shown_for_that_alone() -> None:
    page = (
        b'latency_receiver_events_total{path="a",stream="s"} 400\n'
        b'latency_receiver_end_to_end_seconds_bucket{path="a",stream="s",le="0.25"} 0\n'
        b'latency_receiver_end_to_end_seconds_bucket{path="a",stream="s",le="0.5"} 400\n'
        b'latency_receiver_end_to_end_seconds_bucket{path="a",stream="s",le="+Inf"} 400\n'
        b'latency_receiver_run_delay_seconds{path="a",quantile="0.5"} 0.3\n'
        b'latency_receiver_run_delay_seconds{path="a",quantile="0.99"} 0.4\n'
    )
    target = ScrapeTarget("receiver", "h:1")
    history = History(60)
    history.add(PageReading(0.0, 1000.0, parse("h:1", page)))
    (path,) = watched("", 0.0, {target: history}).paths
    assert (path.median_ms, path.p99_ms) == (300, 400)
    later = page.replace(b"} 400\n", b"} 800\n")
    history.add(PageReading(1.0, 1001.0, parse("h:1", later)))
    seen = watched("", 1.0, {target: history})
    (path,) = seen.paths
    assert (path.events, path.median_ms) == (400, 375)
    assert not seen.daemons[0].fine


def test_no_percentile_is_shown_of_a_sample_too_small_for_it() -> None:
    """The largest of few is no percentile, whether it comes of buckets or of a run's fine figures."""

    def page(count: int) -> bytes:
        return (
            b'latency_receiver_events_total{path="a",stream="s"} %(count)d\n'
            b'latency_receiver_end_to_end_seconds_bucket{path="a",stream="s",le="0.5"} %(count)d\n'
            b'latency_receiver_end_to_end_seconds_bucket{path="a",stream="s",le="+Inf"} %(count)d\n'
            b'latency_receiver_run_delay_seconds{path="a",quantile="0.5"} 0.3\n'
            b'latency_receiver_run_delay_seconds{path="a",quantile="0.99"} 0.4\n'
            b'latency_receiver_path_lead_seconds_count{path="a",reference="b"} %(count)d\n'
            b'latency_receiver_path_lead_seconds_bucket{path="a",reference="b",le="+Inf"} %(count)d\n'
            b'latency_receiver_run_lead_seconds{path="a",reference="b"} 0.1\n'
            b'latency_probe_total_seconds_count{target="t",connection="cold"} %(count)d\n'
            b'latency_probe_total_seconds_bucket{target="t",connection="cold",le="0.5"} %(count)d\n'
            b'latency_probe_total_seconds_bucket{target="t",connection="cold",le="+Inf"} %(count)d\n'
        ) % {b"count": count}

    target = ScrapeTarget("receiver", "h:1")
    for count, median, p99 in (
        (0, False, False),
        (5, False, False),
        (6, True, False),
        (367, True, False),
        (368, True, True),
    ):
        history = History(60)
        history.add(PageReading(0.0, 1000.0, parse("h:1", page(count))))
        seen = watched("", 0.0, {target: history})
        (path,), (request,) = seen.paths, seen.requests
        assert (path.median_ms is not None, path.p99_ms is not None) == (median, p99)
        assert (request.median_ms is not None, request.p99_ms is not None) == (median, p99)
        (lead,) = seen.leads
        assert (lead.median_ms is not None) == median
        (shown,) = (part for part in line(seen).split("  |  ") if part.startswith("a and b") or " b by " in part)
        assert ("too few" in shown, "no event" in shown) == (0 < count < 6, not count)
