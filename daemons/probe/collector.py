"""Counters and gauges of the metrics page, read from the probe's state at scrape time."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from daemons.configuration.probe import ProbeConfig
from daemons.probe.checks.egress import EgressCheck
from daemons.probe.checks.overlay import OverlayPinger
from daemons.probe.checks.route import RouteTracer
from daemons.probe.observations import Observations
from daemons.service.settings.reload import Reloader

__all__ = ["Collector"]


class Probed(Protocol):
    """What is probed now; the parts that a configuration does not have are None."""

    @property
    def observations(self) -> tuple[Observations, ...]:
        """Of every target."""

    @property
    def egress(self) -> EgressCheck | None:
        """The egress check."""

    @property
    def route(self) -> RouteTracer | None:
        """The route tracer."""

    @property
    def overlay(self) -> OverlayPinger | None:
        """The tunnel's pinger."""


class Collector:
    """Makes metric families of the state, in prometheus_client's way.

    Args:
        roster: what is probed, whose figures to show.
        reloader: whose success to show.
    """

    def __init__(self, roster: Probed, reloader: Reloader[ProbeConfig]) -> None:
        self._roster = roster
        self._reloader = reloader

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        yield from self._reloader.families()
        # In one moment, for they count the same attempts, and the page gives way to more of them between its families.
        yield from (*_slots(self._roster.observations), *_outcomes(self._roster.observations))
        yield from _facts(self._roster.observations)
        if self._roster.egress is not None:
            yield from _egress(self._roster.egress)
        if self._roster.route is not None:
            yield from _route(self._roster.route)
        if self._roster.overlay is not None:
            yield from _overlay(self._roster.overlay)


def _slots(observations: tuple[Observations, ...]) -> Iterator[Metric]:
    labels = ["target", "connection"]
    expected = CounterMetricFamily(
        "latency_probe_slots",
        "Slots of the fixed schedule that have come; equals attempts plus missed slots",
        labels=labels,
    )
    sent = CounterMetricFamily(
        "latency_probe_attempts",
        "Attempts begun, by the kind of schedule that asked; equals successes plus failures, but for those under way",
        labels=labels,
    )
    missed = CounterMetricFamily(
        "latency_probe_missed_slots",
        "Slots without an attempt: the one before still ran, or the probe was held up",
        labels=labels,
    )
    for seen in observations:
        for kind, slots in seen.slots.items():
            expected.add_metric([seen.name, kind], slots.expected)
            sent.add_metric([seen.name, kind], slots.sent)
            missed.add_metric([seen.name, kind], slots.missed)
    yield from (expected, sent, missed)


def _outcomes(observations: tuple[Observations, ...]) -> Iterator[Metric]:
    success = GaugeMetricFamily(
        "latency_probe_success",
        "Whether the latest attempt succeeded, on every kind of connection probed; 0 before the first",
        labels=["target"],
    )
    successes = CounterMetricFamily("latency_probe_successes", "Attempts that succeeded", labels=["target"])
    failures = CounterMetricFamily(
        "latency_probe_failures", "Attempts that failed, by reason", labels=["target", "reason"]
    )
    reconnects = CounterMetricFamily(
        "latency_probe_reconnects",
        "Times that a connection served no other request and a new one was made, by reason; its request is a cold one",
        labels=["target", "reason"],
    )
    interim = CounterMetricFamily(
        "latency_probe_interim_responses", "Interim responses (1xx) that came before final ones", labels=["target"]
    )
    for seen in observations:
        success.add_metric([seen.name], seen.successful)
        successes.add_metric([seen.name], seen.successes)
        interim.add_metric([seen.name], seen.interim_responses)
        for why, count in seen.reconnects.items():
            reconnects.add_metric([seen.name, why], count)
        for reason, count in seen.failures.items():
            failures.add_metric([seen.name, reason], count)
    yield from (success, successes, failures, reconnects, interim)


def _facts(observations: tuple[Observations, ...]) -> Iterator[Metric]:
    expiry = GaugeMetricFamily(
        "latency_probe_certificate_expiry_timestamp_seconds",
        "When the server's own certificate expires, also of one that is refused",
        labels=["target"],
    )
    info = GaugeMetricFamily(
        "latency_probe_target_info",
        "Constant 1, labelled with the address connected to, the proxy if there is one, and what was negotiated",
        labels=["target", "address", "proxy", "http_version", "tls_version", "cipher"],
    )
    for seen in observations:
        if seen.certificate_expiry_seconds is not None:
            expiry.add_metric([seen.name], seen.certificate_expiry_seconds)
        if seen.latest is not None:
            latest = seen.latest
            negotiated = [latest.http_version, latest.tls_version, latest.cipher]
            info.add_metric([seen.name, latest.address, seen.proxy, *negotiated], 1)
    yield from (expiry, info)


def _egress(check: EgressCheck) -> Iterator[Metric]:
    match = GaugeMetricFamily(
        "latency_probe_egress_match",
        "Whether we were last seen from the expected address, city and country; absent before the first answer",
        labels=["target"],
    )
    info = GaugeMetricFamily(
        "latency_probe_egress_info",
        "Constant 1, labelled with where we were last seen from",
        labels=["target", "ip", "city", "country"],
    )
    changes = CounterMetricFamily(
        "latency_probe_egress_changes", "Times that the address we leave from changed", labels=["target"]
    )
    changes.add_metric([check.target], check.changes)
    if check.matches is not None:
        match.add_metric([check.target], check.matches)
    if check.identity is not None:
        info.add_metric([check.target, check.identity.address, check.identity.city, check.identity.country], 1)
    yield from (match, info, changes)


def _route(tracer: RouteTracer) -> Iterator[Metric]:
    target = tracer.target
    slots = CounterMetricFamily(
        "latency_probe_route_slots",
        "Slots of the route's schedule that have come; equals traces, failures and missed slots, but for one under way",
        labels=["target"],
    )
    traces = CounterMetricFamily("latency_probe_route_traces", "Traces that succeeded", labels=["target"])
    failures = CounterMetricFamily(
        "latency_probe_route_failures", "Traces that failed, by reason", labels=["target", "reason"]
    )
    missed = CounterMetricFamily(
        "latency_probe_route_missed_slots", "Slots that came while a trace still ran", labels=["target"]
    )
    changes = CounterMetricFamily(
        "latency_probe_route_changes", "Times that a trace differed from the one before", labels=["target"]
    )
    count = GaugeMetricFamily("latency_probe_route_hops", "Hops to the target in the last trace", labels=["target"])
    loss = GaugeMetricFamily(
        "latency_probe_route_hop_loss_ratio",
        "Part of the probes that a hop did not answer; routers may limit answers without losing traffic",
        labels=["target", "hop"],
    )
    average = GaugeMetricFamily(
        "latency_probe_route_hop_rtt_seconds", "Mean round trip to a hop in the last trace", labels=["target", "hop"]
    )
    worst = GaugeMetricFamily(
        "latency_probe_route_hop_rtt_worst_seconds",
        "Longest round trip to a hop in the last trace",
        labels=["target", "hop"],
    )
    info = GaugeMetricFamily(
        "latency_probe_route_hop_info",
        "Constant 1, labelled with the address of a hop in the last trace",
        labels=["target", "hop", "address"],
    )
    slots.add_metric([target], tracer.slots)
    traces.add_metric([target], tracer.traces)
    missed.add_metric([target], tracer.missed)
    changes.add_metric([target], tracer.changes)
    for reason, failed in tracer.failures.items():
        failures.add_metric([target, reason], failed)
    if tracer.traces:
        count.add_metric([target], len(tracer.hops))
    for hop in tracer.hops:
        number = str(hop.number)
        loss.add_metric([target, number], hop.loss_ratio)
        if hop.average_ns is not None and hop.worst_ns is not None:
            average.add_metric([target, number], hop.average_ns / 1e9)
            worst.add_metric([target, number], hop.worst_ns / 1e9)
        if hop.address is not None:
            info.add_metric([target, number, hop.address], 1)
    yield from (slots, traces, failures, missed, changes, count, loss, average, worst, info)


def _overlay(pinger: OverlayPinger) -> Iterator[Metric]:
    account = pinger.account
    for name, documentation, value in (
        ("slots", "Slots that have come; equals requests sent plus missed slots", pinger.slots),
        ("sent", "Echo requests sent to the tunnel peer", account.sent),
        ("received", "Echo requests answered in time", account.received),
        ("lost", "Echo requests not answered in time", account.lost),
        ("late", "Answers that came after their request had been given up as lost", account.late),
        ("duplicates", "Further answers to one request", account.duplicates),
        ("missed_slots", "Slots without a request", pinger.missed),
        ("send_errors", "Requests that the kernel refused to send; they count as lost", pinger.send_errors),
    ):
        counter = CounterMetricFamily(f"latency_probe_overlay_{name}", documentation, labels=["peer"])
        counter.add_metric([pinger.peer], value)
        yield counter
    able = GaugeMetricFamily(
        "latency_probe_overlay_socket_open", "Whether this process may ping; see ping_group_range", labels=["peer"]
    )
    able.add_metric([pinger.peer], pinger.open)
    jitter = GaugeMetricFamily(
        "latency_probe_overlay_jitter_seconds",
        "Interarrival jitter of the round trips after RFC 3550; absent before the second answer",
        labels=["peer"],
    )
    if account.jitter.value_ns is not None:
        jitter.add_metric([pinger.peer], account.jitter.value_ns / 1e9)
    yield from (able, jitter)
