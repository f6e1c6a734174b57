"""What has been seen of one target so far: counters, histograms and the latest facts, for the metrics page."""

import structlog

from daemons.measurement.histogram import BucketHistogram
from daemons.probe.attempt import Attempt, ConnectionKind, Phase, Reason, Reconnect
from daemons.probe.families import Families
from daemons.probe.slots import Slots
from daemons.probe.target import Target

__all__ = ["Observations"]

_WARM_PHASES = (Phase.PROCESSING, Phase.TRANSFER)


class _Latencies:
    """The histograms of one target on one kind of connection."""

    __slots__ = ("_phases", "_scheduled", "_total")

    def __init__(self, families: Families, target: str, kind: ConnectionKind, phases: tuple[Phase, ...]) -> None:
        self._phases: dict[Phase, BucketHistogram] = {
            phase: families.phase.labels(target, kind, phase) for phase in phases
        }
        self._total = families.total.labels(target, kind)
        self._scheduled = families.scheduled.labels(target, kind)

    def observe(self, attempt: Attempt) -> None:
        instants = attempt.instants
        for phase, duration_ns in instants.phases():
            self._phases[phase].observe(duration_ns)
        assert instants.total_ns is not None  # a success has a last byte
        assert instants.scheduled_total_ns is not None
        self._total.observe(instants.total_ns)
        self._scheduled.observe(instants.scheduled_total_ns)


class Observations:
    """What has been seen of one target; an observer of its lanes.

    Args:
        target: the target.
        lanes: the kinds of lanes it has.
        families: where its histograms belong.

    Attributes:
        name: the target's.
        proxy: host and port of the proxy that it is reached through; empty for none.
        slots: the accounts of each lane.
        failures: attempts that failed, by reason.
        reconnects: how often a connection could serve no other request and a new one was made, by reason.
        interim_responses: how many preceded final ones.
        successes: how many attempts succeeded.
        outcomes: whether the latest attempt of each lane succeeded; False before the first has ended.
        latest: the latest attempt that got as far as a connection.
        certificate_expiry_seconds: when the server's certificate expires, Unix time; None when not known.
    """

    def __init__(self, target: Target, lanes: tuple[ConnectionKind, ...], families: Families) -> None:
        self.name = target.name
        self.proxy = target.proxy.authority if target.proxy else ""
        self._families = families
        # A warm lane makes its connection by a cold attempt.
        cold = [Phase.CONNECT, *_WARM_PHASES]
        if target.context is not None:
            cold.insert(1, Phase.TLS)
        if target.tunnel:
            cold.insert(1, Phase.TUNNEL)
        if target.pinned is None:
            cold.insert(0, Phase.DNS)
        self._latencies = {ConnectionKind.COLD: _Latencies(families, target.name, ConnectionKind.COLD, tuple(cold))}
        if ConnectionKind.WARM in lanes:
            self._latencies[ConnectionKind.WARM] = _Latencies(families, target.name, ConnectionKind.WARM, _WARM_PHASES)
        self.slots = {kind: Slots() for kind in lanes}
        self.outcomes = dict.fromkeys(lanes, False)
        self.failures = dict.fromkeys(Reason, 0)
        self.reconnects = dict.fromkeys(Reconnect, 0)
        self.interim_responses = 0
        self.successes = 0
        self._log = structlog.get_logger("probe").bind(target=target.name)
        self._lacking = False
        self.latest: Attempt | None = None
        self.certificate_expiry_seconds: int | None = None

    def expected(self, kind: ConnectionKind, slots: int) -> None:
        """Count slots that have come."""
        self.slots[kind].expected += slots

    def missed(self, kind: ConnectionKind, slots: int) -> None:
        """Count slots without an attempt."""
        self.slots[kind].missed += slots

    def sent(self, kind: ConnectionKind) -> None:
        """Count a slot whose attempt begins."""
        self.slots[kind].sent += 1

    def reconnecting(self, why: Reconnect) -> None:
        """Count the loss of a connection."""
        self.reconnects[why] += 1

    def certificate(self, expiry_seconds: int) -> None:
        """Note the expiry of a certificate that was refused."""
        self.certificate_expiry_seconds = expiry_seconds

    def finished(self, kind: ConnectionKind, attempt: Attempt) -> None:
        """Count an attempt that has ended; only successes have a latency."""
        self.slots[kind].ended += 1
        self.outcomes[kind] = attempt.succeeded
        if attempt.reason is None:
            self.successes += 1
        else:
            self.failures[attempt.reason] += 1
        self._tell_of_lack(attempt)
        self.interim_responses += attempt.interim_responses
        self._families.lag.observe(attempt.instants.lag_ns)
        if attempt.host_delay_ns is not None:
            self._families.host_delay.observe(attempt.host_delay_ns)
        if attempt.http_version:
            self.latest = attempt
        if attempt.certificate_expiry_seconds is not None:
            self.certificate_expiry_seconds = attempt.certificate_expiry_seconds
        if attempt.succeeded:
            self._latencies[attempt.connection].observe(attempt)
            if attempt.instants.interim_ns is not None:
                # Few servers send any: a histogram of its own only where there is something to put into it.
                self._families.interim.labels(self.name, attempt.connection).observe(attempt.instants.interim_ns)

    def _tell_of_lack(self, attempt: Attempt) -> None:
        """Say why this host cannot make requests, when that begins: nobody else can find it out."""
        lacking = attempt.reason is Reason.LOCAL
        if lacking and not self._lacking:
            self._log.error("this host cannot make requests", why=attempt.detail)
        self._lacking = lacking

    @property
    def successful(self) -> bool:
        """Whether the latest attempt of every lane succeeded."""
        return all(self.outcomes.values())
