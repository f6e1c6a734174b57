"""The figures of a measurement with an end, kept apart for cold and warm requests."""

import time
from collections.abc import Callable

from daemons.measurement.histogram import QuantileHistogram
from daemons.measurement.percentile import PERCENTILES, minimum_samples
from daemons.probe.attempt import Attempt, ConnectionKind, Phase, Reason, Reconnect
from daemons.probe.once.document import Connection, Summary, TargetFigures
from daemons.probe.slots import Slots
from daemons.probe.target import Target

__all__ = ["ConnectionStatistics", "TargetStatistics", "summary"]


def summary(values: QuantileHistogram) -> Summary:
    """Return the statistics of durations in milliseconds; None for what the sample cannot tell.

    A percentile is left out when the sample is too small for one by
    :func:`~daemons.measurement.percentile.minimum_samples`; but a median, the value in the middle, is given of the
    fewest, for a measurement of three requests has nothing else to say of its phases.
    """
    found = dict(zip(PERCENTILES, values.quantiles(*PERCENTILES.values()), strict=True))
    p95, p99, p999 = (
        found[name] if values.count >= minimum_samples(PERCENTILES[name]) else None for name in ("p95", "p99", "p999")
    )
    return {
        "sample_count": values.count,
        "avg_ms": _ms(values.mean),
        "median_ms": _ms(found["median"]),
        "p95_ms": _ms(p95),
        "p99_ms": _ms(p99),
        "p999_ms": _ms(p999),
        "min_ms": _ms(values.minimum),
        "max_ms": _ms(values.maximum),
        "stddev_ms": _ms(values.stddev),
    }


class ConnectionStatistics:
    """The figures of one kind of connection.

    Attributes:
        attempts: how many ended.
        failures: how many of them failed, by reason.
        phases: durations of the phases of successes; phases that never were have none.
        interim_responses: how many came.
        interim: durations from requests to the first of them.
        total: durations of successes from their actual start.
        scheduled: likewise from their intended start.
        last_ns: the duration of the latest success.
    """

    def __init__(self) -> None:
        self.attempts = 0
        self.failures: dict[Reason, int] = {}
        self.phases: dict[Phase, QuantileHistogram] = {}
        self.interim_responses = 0
        self.interim = QuantileHistogram()
        self.total = QuantileHistogram()
        self.scheduled = QuantileHistogram()
        self.last_ns: int | None = None

    def observe(self, attempt: Attempt) -> None:
        """Take in an attempt that has ended."""
        self.attempts += 1
        self.interim_responses += attempt.interim_responses
        instants = attempt.instants
        if attempt.reason is not None:
            self.failures[attempt.reason] = self.failures.get(attempt.reason, 0) + 1
            return
        for phase, duration_ns in instants.phases():
            self.phases.setdefault(phase, QuantileHistogram()).record(duration_ns)
        if instants.interim_ns is not None:
            self.interim.record(instants.interim_ns)
        assert instants.total_ns is not None  # a success has a last byte
        assert instants.scheduled_total_ns is not None
        self.last_ns = instants.total_ns
        self.total.record(instants.total_ns)
        self.scheduled.record(instants.scheduled_total_ns)

    def document(self) -> Connection:
        """Return the figures as plain data."""
        figures: Connection = {
            "attempts": self.attempts,
            "failures": {str(reason): count for reason, count in self.failures.items()},
            "total": summary(self.total),
            "scheduled_total": summary(self.scheduled),
            "phases": {str(phase): summary(values) for phase, values in self.phases.items()},
        }
        if self.interim_responses:
            figures["interim_responses"] = self.interim_responses
            figures["interim"] = summary(self.interim)
        return figures


class TargetStatistics:
    """The figures of one target; an observer of its lanes.

    Args:
        target: the target.
        opens_as_asked: whether the request that first makes the kept connection is one of the cold ones asked for.

    Attributes:
        connections: the figures by the kind of connection that attempts were made on. A request that was to go on a
            kept connection, found none and could not make one has failed as a warm one: that is what was asked for.
        remade: requests that made a connection again for those that follow, which nobody asked for; in no figure.
        on_attempt: is given every attempt that has ended.
        on_end: is called after that.
    """

    def __init__(self, target: Target, *, opens_as_asked: bool = True) -> None:
        self.name = target.name
        self._url = target.url
        self._proxy = target.proxy.authority if target.proxy else None
        self.connections: dict[ConnectionKind, ConnectionStatistics] = {}
        self._slots: dict[ConnectionKind, Slots] = {}
        self._opens_as_asked = opens_as_asked
        self.remade = 0
        self._reconnects: dict[Reconnect, int] = {}
        self._latest: Attempt | None = None
        self._expiry_seconds: int | None = None
        self._details: dict[Reason, str] = {}
        self.on_attempt: Callable[[Attempt], object] = lambda _attempt: None
        self.on_end: Callable[[], object] = lambda: None

    def expected(self, kind: ConnectionKind, slots: int) -> None:
        """Count slots that have come."""
        self._slots.setdefault(kind, Slots()).expected += slots

    def missed(self, kind: ConnectionKind, slots: int) -> None:
        """Count slots without an attempt."""
        self._slots[kind].missed += slots

    def sent(self, kind: ConnectionKind) -> None:
        """Count a slot whose attempt begins."""
        self._slots[kind].sent += 1

    def reconnecting(self, why: Reconnect) -> None:
        """Count the loss of a connection."""
        self._reconnects[why] = self._reconnects.get(why, 0) + 1

    def certificate(self, expiry_seconds: int) -> None:
        """Note the expiry of a certificate that was refused."""
        self._expiry_seconds = expiry_seconds

    def finished(self, kind: ConnectionKind, attempt: Attempt) -> None:
        """Take in an attempt under the connection that it was really made on."""
        self._slots[kind].ended += 1
        self._observe(kind, attempt)
        if attempt.http_version:
            self._latest = attempt
        if attempt.certificate_expiry_seconds is not None:
            self._expiry_seconds = attempt.certificate_expiry_seconds
        if attempt.reason is not None:
            self._details.setdefault(attempt.reason, attempt.detail)
        self.on_attempt(attempt)
        self.on_end()

    def _observe(self, kind: ConnectionKind, attempt: Attempt) -> None:
        row = attempt.connection
        if kind is ConnectionKind.WARM and row is ConnectionKind.COLD:
            if self._opens_as_asked:
                self._opens_as_asked = False
            elif attempt.reason is None:
                self.remade += 1
                return
            else:
                row = kind
        self.connections.setdefault(row, ConnectionStatistics()).observe(attempt)

    def made(self, kind: ConnectionKind) -> int:
        """How many requests of a kind have ended."""
        return self.connections[kind].attempts if kind in self.connections else 0

    @property
    def attempts(self) -> int:
        """How many attempts have ended."""
        return sum(one.attempts for one in self.connections.values())

    @property
    def answered(self) -> bool:
        """Whether there was a success."""
        return any(one.total.count for one in self.connections.values())

    @property
    def failures(self) -> dict[Reason, str]:
        """The reasons of failures, each with its first sentence."""
        return self._details

    def document(self) -> TargetFigures:
        """Return the figures as plain data."""
        latest = self._latest
        expiry = self._expiry_seconds
        return {
            "url": self._url,
            "proxy": self._proxy,
            "address": latest.address if latest else None,
            "source": latest.source if latest else None,
            "http_version": latest.http_version if latest else None,
            "tls_version": (latest.tls_version or None) if latest else None,
            "cipher": (latest.cipher or None) if latest else None,
            "certificate_expiry": None if expiry is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expiry)),
            "remade": self.remade,
            "reconnects": sum(self._reconnects.values()),
            "reconnect_reasons": {str(why): count for why, count in self._reconnects.items()},
            "slots": {
                str(kind): {
                    "expected": slots.expected,
                    "sent": slots.sent,
                    "missed": slots.missed,
                    # By the end of the measurement; all others succeeded or failed.
                    "broken_off": slots.sent - slots.ended,
                }
                for kind, slots in self._slots.items()
            },
            "failure_details": {str(reason): detail for reason, detail in self._details.items()},
            "connections": {str(kind): one.document() for kind, one in self.connections.items()},
        }


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else round(value_ns / 1e6, 6)
