"""What is compared with the same hour of the last days, by value."""

from collections.abc import Iterator

import pytest

from daemons.measurement.histogram import octaves
from daemons.service.metrics.page import HistogramFamily
from tests.monitoring.backfill import Asked, past
from tests.monitoring.expressions import alerts, filled
from tests.monitoring.history import START, History
from tests.monitoring.truth import BUCKET

pytestmark = pytest.mark.process

HOUR, DAY = 3600, 86_400
NOW = 3 * DAY + HOUR
JITTER = {"changed": (0.001, 0.002, 0.003, 0.006), "steady": (0.001, 0.002, 0.003, 0.002)}
"""Seconds, by path and day; what the median over the first three days has to be is the second."""
DELAY: dict[str, tuple[float | None, ...]] = {
    "changed": (0.100, 0.120, 0.140, 0.300),
    "steady": (0.100, 0.120, 0.140, 0.121),
    "out": (0.070, None, 0.170, 0.300),
}
"""Likewise; a day without events, as in an outage, has nothing to tell of the hour."""
USUAL = {"changed": (0.120, 0.120), "steady": (0.120, 0.120), "out": (0.085, 0.155)}
"""Around the mean of both days that had some, for each is known to a bucket."""
STREAM = "btcusdt@trade"


def _history() -> History:
    history = History("days", 30)
    events = 0
    family = HistogramFamily("latency_receiver_end_to_end_seconds", "", ("path", "stream"), octaves(-5, 0))
    for day in range(4):
        # The hour around one o'clock, and of today what has been of it.
        for index in range(50, 190 if day < 3 else 121):
            events += 1
            lines = []
            for path in JITTER:
                labels = f'{{path="{path}",stream="{STREAM}"}}'
                lines += [
                    f"latency_receiver_jitter_seconds{labels} {JITTER[path][day]}",
                    f"latency_receiver_events_total{labels} {events}",
                ]
            for path, days in DELAY.items():
                delays, delay = family.labels(path, STREAM), days[day]
                if delay is not None:
                    delays.observe(round(delay * 1e9))
            text = "\n".join([*lines, b"".join(family.render()).decode()])
            moment = START + day * DAY + index * 30 - 0.0625
            history.pages.append((moment, text, {"role": "receiver", "instance": "receiver:1"}))
    return history


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with past(tmp_path_factory.mktemp("days"), [_history()], evaluate_seconds=60) as prometheus:
        yield prometheus


def _by_path(asked: Asked, expression: str) -> dict[str, float]:
    return {
        dict(labels)["path"]: value
        for labels, value in asked.values(filled(expression, deployment="days"), NOW).items()
        if dict(labels).get("measure", "end_to_end") == "end_to_end"
    }


def test_the_median_of_the_same_hour_is_that_of_the_days_before(asked: Asked) -> None:
    usual = _by_path(asked, "latency:jitter_seconds:same_hour")
    assert usual == {path: pytest.approx(days[1]) for path, days in JITTER.items()}
    delay = _by_path(asked, "latency:delay_seconds:p99_same_hour")
    assert delay.keys() == USUAL.keys()
    for path, value in delay.items():
        low, high = USUAL[path]
        assert low / BUCKET <= value <= high * BUCKET


def test_what_has_changed_is_told_and_what_has_not_is_not(asked: Asked) -> None:
    assert _by_path(asked, alerts()["JitterChanged"]["expr"]) == {"changed": pytest.approx(0.006)}
    told = _by_path(asked, alerts()["LatencyRegression"]["expr"])
    assert told.keys() == {"changed", "out"}
    assert all(0.3 / BUCKET <= value <= 0.3 * BUCKET for value in told.values())
