"""The receiver's metric names."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daemons.feed_metrics import feed_families
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import octaves
from daemons.measurement.race import LEAD_BOUNDS
from daemons.service.clock_metrics import clock_families
from daemons.service.metrics import HistogramFamily
from daemons.stream.tcp_info import TcpAccount
from daemons.tcp_metrics import tcp_families

if TYPE_CHECKING:
    from daemons.receiver.program import Receiver

__all__ = ["ReceiverCollector", "ReceiverHistograms"]

PREFIX = "latency_receiver"
RUN_QUANTILES = (("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999))


class ReceiverHistograms:
    """The receiver's histogram families."""

    def __init__(self) -> None:
        self.end_to_end = HistogramFamily(
            f"{PREFIX}_end_to_end_seconds",
            "Exchange's event time to arrival stamp here; trust it within the clock error bounds.",
            ["path", "stream"],
            octaves(-16, 4),
        )
        self.backbone = HistogramFamily(
            f"{PREFIX}_backbone_seconds",
            "Arrival stamp at the forwarder to arrival stamp here; trust it within both clock error bounds.",
            ["path", "stream"],
            octaves(-16, 4),
        )
        self.delayed = HistogramFamily(
            f"{PREFIX}_delayed_seconds",
            "The same for events that waited while the link was down: an outage, not the path's delay.",
            ["path"],
            octaves(-4, 7),
        )
        self.host_delay = HistogramFamily(
            f"{PREFIX}_host_delay_seconds",
            "Kernel's arrival stamp to handling: how far this host lags behind its own network card.",
            ["path"],
            octaves(-20, 2),
        )
        self.lead = HistogramFamily(
            f"{PREFIX}_path_lead_seconds",
            "How much earlier path brought an event than reference; negative: later. One clock, no error bound.",
            ["path", "reference"],
            LEAD_BOUNDS,
        )
        self.rtt = HistogramFamily(
            f"{PREFIX}_link_rtt_seconds", "Round-trip time to the forwarder and back.", ["path"], octaves(-16, 3)
        )

        self.segments = HistogramFamily(
            f"{PREFIX}_segment_seconds",
            "Parts of an event's delay between two stamps, of the events that the forwarder samples.",
            ["path", "segment"],
            octaves(-20, 4),
        )

    def families(self) -> list[HistogramFamily]:
        """All of them."""
        mine = [self.end_to_end, self.backbone, self.delayed, self.host_delay]
        return [*mine, self.lead, self.rtt, self.segments]

    def instruments(self, path: str) -> Instruments:
        """The histograms of one path."""
        return Instruments(
            end_to_end=lambda stream: self.end_to_end.labels(path, stream),
            backbone=lambda stream: self.backbone.labels(path, stream),
            delayed=self.delayed.labels(path),
            host_delay=self.host_delay.labels(path),
            segments=lambda segment: self.segments.labels(path, segment),
        )


class ReceiverCollector(Collector):
    """Reads the receiver's plain counters at scrape time."""

    def __init__(self, receiver: "Receiver") -> None:
        self._receiver = receiver

    def collect(self) -> Iterator[Metric]:
        # In one moment, for they count the same events, and the page gives way to more of them between its families.
        yield from (*self._events(), *self._sequences())
        yield from self._jitter()
        yield from self._race()
        yield from self._run()
        yield from self._feeds()
        yield from self._links()
        yield from tcp_families(self._tcp())
        yield from self._results()
        yield from clock_families(PREFIX, self._receiver.monitor.state)
        yield from self._receiver.reloader.families()

    def _events(self) -> Iterator[Metric]:
        events = CounterMetricFamily(f"{PREFIX}_events", "Events that arrived.", labels=["path", "stream"])
        without = CounterMetricFamily(
            f"{PREFIX}_events_without_event_time",
            "Events of streams that carry no event time: no end-to-end latency.",
            labels=["path", "stream"],
        )
        delayed = CounterMetricFamily(
            f"{PREFIX}_delayed_events", "Events that waited at the forwarder while the link was down.", labels=["path"]
        )
        invalid = CounterMetricFamily(
            f"{PREFIX}_invalid_events", "Messages that were no events, and figures refused.", labels=["path", "reason"]
        )
        stamps = CounterMetricFamily(
            f"{PREFIX}_stamps", "Events by who took their arrival stamp.", labels=["path", "kind"]
        )
        last = GaugeMetricFamily(
            "latency_last_event_timestamp_seconds", "Arrival of the newest event; 0 before the first.", labels=["path"]
        )
        for account in self._receiver.accounts:
            for label, (count, timeless) in _by_label(account).items():
                events.add_metric([account.name, label], count)
                without.add_metric([account.name, label], timeless)
            delayed.add_metric([account.name], account.delayed)
            for reason, count in (account.invalid | self._receiver.invalid_of(account)).items():
                invalid.add_metric([account.name, reason], count)
            for kind, count in account.stamps.items():
                stamps.add_metric([account.name, kind.name.lower()], count)
            last.add_metric([account.name], account.last_event_ns / 1e9)
        yield from (events, without, delayed, invalid, stamps, last, *self._time_steps())

    def _time_steps(self) -> Iterator[Metric]:
        told = GaugeMetricFamily(
            f"{PREFIX}_event_time_step_seconds",
            "Step in which event times are told, as they show it: an end-to-end latency is too long by up to that.",
            labels=["path", "stream"],
        )
        stamped = GaugeMetricFamily(
            f"{PREFIX}_forwarder_time_step_seconds",
            "Step in which the forwarder tells its stamps, as they show it.",
            labels=["path"],
        )
        for account in self._receiver.accounts:
            steps: dict[str, int] = {}
            for name, step_ns in account.event_time_steps_ns().items():
                label = account.streams[name].label
                steps[label] = max(step_ns, steps.get(label, 0))
            for label, step_ns in steps.items():
                told.add_metric([account.name, label], step_ns / 1e9)
            if account.is_link and account.events:
                stamped.add_metric([account.name], account.forwarder_step_ns / 1e9)
        yield from (told, stamped)

    def _sequences(self) -> Iterator[Metric]:
        named = (
            ("gaps", "sequence_gaps", "Holes in the sequence that stayed open for the waiting time."),
            ("gap_events", "sequence_gap_events", "Events in those holes."),
            ("late", "late_events", "Events that arrived after they had been declared lost."),
            ("reordered", "reordered_events", "Events that arrived after a later one (RFC 4737)."),
            ("stale", "stale_events", "Arrivals too old to tell whether lost or duplicate."),
            ("given_up", "given_up_events", "Events missing because the forwarder gave them up: no loss of the way."),
        )
        for attribute, name, text in named:
            family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=["path"])
            for account in self._receiver.accounts:
                family.add_metric([account.name], account.total(attribute))
            yield family
        duplicates = CounterMetricFamily(
            f"{PREFIX}_duplicate_events", "Events that a path brought again (RFC 5560).", labels=["path"]
        )
        sessions = CounterMetricFamily(f"{PREFIX}_sessions", "Forwarder lives seen.", labels=["path"])
        for account in self._receiver.accounts:
            duplicates.add_metric([account.name], account.duplicates)
            sessions.add_metric([account.name], account.sessions_seen)
        resets = CounterMetricFamily(
            "latency_feed_id_resets", "Times that the exchange began a stream's ids anew.", labels=["path", "stream"]
        )
        leaps = CounterMetricFamily(
            f"{PREFIX}_sequence_leaps", "Times that a numbering moved further than could be followed.", labels=["path"]
        )
        for account in self._receiver.accounts:
            for label, count in _resets_by_label(account).items():
                resets.add_metric([account.name, label], count)
            leaps.add_metric([account.name], account.id_leaps)
        yield from (duplicates, sessions, resets, leaps)

    def _jitter(self) -> Iterator[Metric]:
        end_to_end = GaugeMetricFamily(
            f"{PREFIX}_jitter_seconds",
            "Interarrival jitter of the end-to-end latency (RFC 3550); without event time, of the backbone's.",
            labels=["path", "stream"],
        )
        backbone = GaugeMetricFamily(
            f"{PREFIX}_backbone_jitter_seconds",
            "Interarrival jitter of the backbone latency (RFC 3550).",
            labels=["path", "stream"],
        )
        for account in self._receiver.accounts:
            for stream in account.streams.values():
                if stream.label != stream.name:
                    # Streams that share a label have no jitter in common.
                    continue
                ours, theirs = stream.end_to_end_jitter.value_ns, stream.backbone_jitter.value_ns
                value = ours if ours is not None else theirs
                if value is not None:
                    end_to_end.add_metric([account.name, stream.name], value / 1e9)
                if theirs is not None:
                    backbone.add_metric([account.name, stream.name], theirs / 1e9)
        yield from (end_to_end, backbone)

    def _race(self) -> Iterator[Metric]:
        wins = CounterMetricFamily(
            f"{PREFIX}_path_wins", "Events that path brought earlier than reference.", labels=["path", "reference"]
        )
        ahead = CounterMetricFamily(
            f"{PREFIX}_path_ahead_seconds",
            "Leads of path where it was earlier than reference, added up; the lead histogram's own sum can fall.",
            labels=["path", "reference"],
        )
        ties = CounterMetricFamily(
            f"{PREFIX}_path_ties", "Events that both brought in the same nanosecond.", labels=["path", "reference"]
        )
        unpaired = CounterMetricFamily(
            f"{PREFIX}_unpaired_events", "Events that no other path brought in time.", labels=["path"]
        )
        excluded = CounterMetricFamily(
            f"{PREFIX}_race_excluded_events",
            "Events both brought, but one of them not live (delayed in an outage, or around a clock step).",
            labels=["path", "reference"],
        )
        waiting = GaugeMetricFamily(f"{PREFIX}_race_waiting_events", "Events waiting for their other arrivals.", 0)
        race, names = self._receiver.race, [account.name for account in self._receiver.accounts]
        if race is not None:
            for pair in race.pairs:
                path, reference = names[pair.path], names[pair.reference]
                wins.add_metric([path, reference], pair.wins)
                wins.add_metric([reference, path], pair.reference_wins)
                ahead.add_metric([path, reference], pair.ahead_ns / 1e9)
                ahead.add_metric([reference, path], pair.behind_ns / 1e9)
                ties.add_metric([path, reference], pair.ties)
                excluded.add_metric([path, reference], pair.excluded)
            for name, count in zip(names, race.unpaired, strict=True):
                unpaired.add_metric([name], count)
            waiting = GaugeMetricFamily(waiting.name, waiting.documentation, len(race))
        yield from (wins, ahead, ties, unpaired, excluded, waiting)

    def _run(self) -> Iterator[Metric]:
        """Yield the fine figures of a run that keeps them, so that those who look on see what its result will say."""
        delays = GaugeMetricFamily(
            f"{PREFIX}_run_delay_seconds",
            "Quantiles of the end-to-end latency since the start, to 0.05 %; of a run that writes results.",
            labels=["path", "quantile"],
        )
        leads = GaugeMetricFamily(
            f"{PREFIX}_run_lead_seconds",
            "Median lead of path over reference since the start, to 0.05 %; of a run that writes results.",
            labels=["path", "reference"],
        )
        round_trips = GaugeMetricFamily(
            f"{PREFIX}_run_link_rtt_seconds",
            "Median round trip to the forwarder since the start, to 0.05 %; of a run that writes results.",
            labels=["path"],
        )
        accounts = self._receiver.accounts
        for account in accounts:
            if account.figures is None:
                continue
            for text, fraction in RUN_QUANTILES:
                if (delay := account.figures.end_to_end.quantile(fraction)) is not None:
                    delays.add_metric([account.name, text], delay / 1e9)
            if (rtt := account.figures.rtt.quantile(0.5)) is not None:
                round_trips.add_metric([account.name], rtt / 1e9)
        for pair in [] if self._receiver.race is None else self._receiver.race.pairs:
            if pair.leads is not None and (lead := pair.leads.quantile(0.5)) is not None:
                leads.add_metric([accounts[pair.path].name, accounts[pair.reference].name], lead / 1e9)
        yield from (delays, leads, round_trips)

    def _feeds(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily(f"{PREFIX}_feed_connected", "1 while the feed is connected.", labels=["path"])
        reconnects = CounterMetricFamily(
            f"{PREFIX}_reconnects", "Feed connections that ended or could not be made.", labels=["side", "reason"]
        )
        for name, feed in self._receiver.feeds.items():
            connected.add_metric([name], int(feed.counts.connected))
            for reason, count in feed.counts.reconnects.items():
                reconnects.add_metric([name, reason], count)
        yield from (connected, reconnects)
        yield from feed_families({name: feed.counts for name, feed in self._receiver.feeds.items()})

    def _links(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily(
            f"{PREFIX}_link_connected", "Forwarders connected now (0 for JSON over UDP).", labels=["path"]
        )
        connections = CounterMetricFamily(f"{PREFIX}_link_connections", "Forwarders let in.", labels=["path"])
        refused = CounterMetricFamily(
            f"{PREFIX}_link_refusals", "Peers turned away and datagrams thrown away.", labels=["path", "reason"]
        )
        overflow = CounterMetricFamily(
            f"{PREFIX}_socket_dropped_datagrams",
            "Datagrams that this host's kernel dropped because the receive buffer was full: lost here, not on the way.",
            labels=["path"],
        )
        offset = GaugeMetricFamily(
            f"{PREFIX}_link_clock_offset_seconds",
            "Forwarder's clock minus ours, from the fastest recent exchange; true to half its RTT.",
            labels=["path"],
        )
        error = GaugeMetricFamily(
            f"{PREFIX}_link_clock_offset_error_seconds", "Half the RTT of that exchange.", labels=["path"]
        )
        suspect = GaugeMetricFamily(
            f"{PREFIX}_clock_suspect", "1 while one-way delays contradict the clock exchange.", labels=["path"]
        )
        bad = CounterMetricFamily(
            f"{PREFIX}_clock_exchange_failures", "Exchanges of impossible times.", labels=["path"]
        )
        synchronized = GaugeMetricFamily(
            f"{PREFIX}_peer_clock_synchronized", "The forwarder's word on its clock.", labels=["path"]
        )
        bound = GaugeMetricFamily(
            f"{PREFIX}_peer_clock_error_bound_seconds",
            "The forwarder's error bound; NaN: unknown.",
            labels=["path"],
        )
        sampled = CounterMetricFamily(
            f"{PREFIX}_segment_samples",
            "Events of which the forwarder told the departure, by what became of them.",
            labels=["path", "outcome"],
        )
        for state in self._receiver.links.values():
            label = [state.account.name]
            segments = state.account.segments
            assert segments is not None
            for outcome in ("measured", "refused", "unmatched"):
                sampled.add_metric([*label, outcome], getattr(segments, outcome))
            listener = state.listener
            assert listener is not None
            connected.add_metric(label, listener.counts.peers)
            connections.add_metric(label, listener.counts.connections)
            overflow.add_metric(label, listener.dropped_datagrams)
            for reason, count in listener.counts.refusals.items():
                refused.add_metric([*label, reason], count)
            if (best := state.exchange) is not None:
                offset.add_metric(label, best.offset_ns / 1e9)
                error.add_metric(label, best.rtt_ns / 2e9)
            suspect.add_metric(label, int(bool(state.suspect)))
            bad.add_metric(label, state.bad_exchanges)
            synchronized.add_metric(label, int(state.peer_clock.synchronized))
            peer = state.peer_clock.error_bound_ns
            bound.add_metric(label, float("nan") if peer is None else peer / 1e9)
        yield sampled
        yield from (connected, connections, refused, overflow, offset, error, suspect, bad, synchronized, bound)

    def _tcp(self) -> dict[str, TcpAccount]:
        feeds = {name: feed.counts.tcp for name, feed in self._receiver.feeds.items()}
        listeners = {name: state.listener for name, state in self._receiver.links.items()}
        return feeds | {name: one.counts.tcp for name, one in listeners.items() if one is not None}

    def _results(self) -> Iterator[Metric]:
        rows = self._receiver.rows
        written, lost, errors = (0, 0, 0) if rows is None else (rows.written, rows.lost, rows.errors)
        yield CounterMetricFamily(f"{PREFIX}_result_rows", "Rows written to the CSV file.", written)
        yield CounterMetricFamily(f"{PREFIX}_result_rows_lost", "Rows that the disk did not take.", lost)
        yield CounterMetricFamily(f"{PREFIX}_result_write_errors", "Failed writes of results.", errors)


def _by_label(account: PathAccount) -> dict[str, tuple[int, int]]:
    """Sum a path's events, and those without event time, by the label of their stream."""
    sums: dict[str, tuple[int, int]] = {}
    for stream in account.all_streams():
        events, timeless = sums.get(stream.label, (0, 0))
        sums[stream.label] = events + stream.events, timeless + stream.without_event_time
    return sums


def _resets_by_label(account: PathAccount) -> dict[str, int]:
    sums: dict[str, int] = {}
    for stream in account.streams.values():
        if stream.ids:
            sums[stream.label] = sums.get(stream.label, 0) + stream.id_resets
    return sums
