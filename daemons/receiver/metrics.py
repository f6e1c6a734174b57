"""The receiver's counters and gauges, read from its paths at scrape time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from daemons.configuration.receiver import ReceiverConfig
from daemons.feed_metrics import feed_families
from daemons.hardware_stamps import hardware_families
from daemons.measurement.account import PathAccount
from daemons.measurement.percentile import PERCENTILES
from daemons.measurement.race import RaceTable
from daemons.measurement.tail.recent import NEVER_NS
from daemons.receiver.archive import Archive
from daemons.receiver.archive_metrics import archive_families
from daemons.receiver.paths import FeedPath, LinkPath, ReceiverPath
from daemons.receiver.rows import RowWriter
from daemons.records import ClockReport
from daemons.service.metrics.clock_metrics import clock_families
from daemons.service.metrics.families import Rows, counter, each_of, gauge, quantiles
from daemons.service.settings.reload import Reloader
from daemons.stream.hardware import HardwareStamps
from daemons.tcp_metrics import tcp_families

__all__ = ["ReceiverCollector"]

PREFIX = "latency_receiver"
_NAN = float("nan")


@dataclass(eq=False)
class ReceiverCollector(Collector):
    """Reads plain counters at scrape time.

    Args:
        paths: what is measured; may be filled in later.
        race: the table, if paths race.
        rows: writes the CSV file, if there is one.
        archive: takes rows for months, if there is one.
        clock: tells what is known of this host's clock.
        reloader: whose success to show.
    """

    paths: Sequence[ReceiverPath]
    race: RaceTable | None
    rows: RowWriter | None
    archive: Archive | None
    clock: Callable[[], ClockReport]
    reloader: Reloader[ReceiverConfig]
    hardware: Callable[[], HardwareStamps | None] = lambda: None

    def collect(self) -> Iterator[Metric]:
        accounts = [path.account for path in self.paths]
        # In one moment, for they count the same events, and the page gives way to more of them between its families.
        yield from (*_events(self.paths), *_sequences(accounts))
        yield from _jitter(accounts)
        yield from _tails(accounts)
        yield from _race(self.race, [account.name for account in accounts])
        yield from _run(accounts, self.race)
        yield from _feeds([path for path in self.paths if isinstance(path, FeedPath)])
        yield from _links([path for path in self.paths if isinstance(path, LinkPath)])
        yield from tcp_families({path.name: path.tcp for path in self.paths})
        yield from _results(self.rows)
        yield from archive_families(self.archive)
        yield from clock_families(PREFIX, self.clock())
        yield from hardware_families(PREFIX, self.hardware())
        yield from self.reloader.families()


def _events(paths: Sequence[ReceiverPath]) -> Iterator[Metric]:
    accounts = [path.account for path in paths]
    by_label = {account.name: _by_label(account) for account in accounts}
    yield counter(
        f"{PREFIX}_events",
        "Events that arrived.",
        ["path", "stream"],
        each_of({name: {label: events for label, (events, _) in sums.items()} for name, sums in by_label.items()}),
    )
    yield counter(
        f"{PREFIX}_events_without_event_time",
        "Events of streams that carry no event time: no end-to-end latency.",
        ["path", "stream"],
        each_of({name: {label: timeless for label, (_, timeless) in sums.items()} for name, sums in by_label.items()}),
    )
    yield counter(
        f"{PREFIX}_delayed_events",
        "Events that waited at the forwarder while the link was down.",
        ["path"],
        _each(accounts, lambda account: account.delayed),
    )
    yield counter(
        f"{PREFIX}_invalid_events",
        "Messages that were no events, and figures refused.",
        ["path", "reason"],
        each_of({path.name: {**path.account.invalid, **path.invalid} for path in paths}),
    )
    yield counter(
        f"{PREFIX}_stamps",
        "Events by who took their arrival stamp.",
        ["path", "kind"],
        each_of({one.name: {kind.name.lower(): count for kind, count in one.stamps.items()} for one in accounts}),
    )
    yield gauge(
        "latency_last_event_timestamp_seconds",
        "Arrival of the newest event; 0 before the first.",
        ["path"],
        _each(accounts, lambda account: account.last_event_ns / 1e9),
    )
    yield from _time_steps(accounts)


def _time_steps(accounts: Sequence[PathAccount]) -> Iterator[Metric]:
    yield gauge(
        f"{PREFIX}_event_time_step_seconds",
        "Step in which event times are told, as they show it: an end-to-end latency is too long by up to that.",
        ["path", "stream"],
        each_of({account.name: _steps_by_label(account) for account in accounts}),
    )
    yield gauge(
        f"{PREFIX}_forwarder_time_step_seconds",
        "Step in which the forwarder tells its stamps, as they show it.",
        ["path"],
        _each(
            [account for account in accounts if account.is_link and account.events],
            lambda account: account.forwarder_step_ns / 1e9,
        ),
    )


def _sequences(accounts: Sequence[PathAccount]) -> Iterator[Metric]:
    for attribute, name, text in (
        ("gaps", "sequence_gaps", "Holes in the sequence that stayed open for the waiting time."),
        ("gap_events", "sequence_gap_events", "Events in those holes."),
        ("late", "late_events", "Events that arrived after they had been declared lost."),
        ("reordered", "reordered_events", "Events that arrived after a later one (RFC 4737)."),
        ("stale", "stale_events", "Arrivals too old to tell whether lost or duplicate."),
        ("given_up", "given_up_events", "Events missing because the forwarder gave them up: no loss of the way."),
    ):
        rows: Rows = [([account.name], account.total(attribute)) for account in accounts]
        yield counter(f"{PREFIX}_{name}", text, ["path"], rows)
    yield counter(
        f"{PREFIX}_duplicate_events",
        "Events that a path brought again (RFC 5560).",
        ["path"],
        _each(accounts, lambda account: account.duplicates),
    )
    yield counter(
        f"{PREFIX}_sessions", "Forwarder lives seen.", ["path"], _each(accounts, lambda account: account.sessions.seen)
    )
    yield counter(
        "latency_feed_id_resets",
        "Times that the exchange began a stream's ids anew.",
        ["path", "stream"],
        each_of({account.name: _resets_by_label(account) for account in accounts}),
    )
    yield counter(
        f"{PREFIX}_sequence_leaps",
        "Times that a numbering moved further than could be followed.",
        ["path"],
        _each(accounts, lambda account: account.id_leaps),
    )


def _jitter(accounts: Sequence[PathAccount]) -> Iterator[Metric]:
    # Streams that share a label have no jitter in common.
    known = [
        ([account.name, stream.name], stream.end_to_end_jitter.value_ns, stream.backbone_jitter.value_ns)
        for account in accounts
        for stream in account.streams.values()
        if stream.label == stream.name
    ]
    first = [(labels, theirs if ours is None else ours) for labels, ours, theirs in known]
    yield gauge(
        f"{PREFIX}_jitter_seconds",
        "Interarrival jitter of the end-to-end latency (RFC 3550); without event time, of the backbone's.",
        ["path", "stream"],
        ((labels, value / 1e9) for labels, value in first if value is not None),
    )
    yield gauge(
        f"{PREFIX}_backbone_jitter_seconds",
        "Interarrival jitter of the backbone latency (RFC 3550).",
        ["path", "stream"],
        ((labels, value / 1e9) for labels, _ours, value in known if value is not None),
    )


def _tails(accounts: Sequence[PathAccount]) -> Iterator[Metric]:
    yield counter(
        f"{PREFIX}_tail_events",
        "Events above the 99th percentile of their path's last minutes, by what put them there.",
        ["path", "cause"],
        each_of({one.name: {cause.value: count for cause, count in one.tail.events.items()} for one in accounts}),
    )
    yield counter(
        f"{PREFIX}_tail_excess_seconds",
        "By how much events in the tail were above the median of the same minutes, added up.",
        ["path", "cause"],
        each_of(
            {
                account.name: {cause.value: excess_ns / 1e9 for cause, excess_ns in account.tail.excess_ns.items()}
                for account in accounts
            }
        ),
    )
    yield gauge(
        f"{PREFIX}_tail_threshold_seconds",
        "That percentile: of the end-to-end latency, or of the backbone's for events without event time; NaN: unknown.",
        ["path", "of"],
        (
            ([account.name, name], _NAN if recent.above_ns == NEVER_NS else recent.above_ns / 1e9)
            for account in accounts
            for name, recent in (("end_to_end", account.tail.timed), ("backbone", account.tail.untimed))
            if name == "end_to_end" or account.is_link
        ),
    )


def _race(race: RaceTable | None, names: Sequence[str]) -> Iterator[Metric]:
    pairs = [] if race is None else [(names[pair.path], names[pair.reference], pair) for pair in race.pairs]
    both = ["path", "reference"]
    yield counter(
        f"{PREFIX}_path_wins",
        "Events that path brought earlier than reference.",
        both,
        (row for a, b, pair in pairs for row in (([a, b], pair.wins), ([b, a], pair.reference_wins))),
    )
    yield counter(
        f"{PREFIX}_path_ahead_seconds",
        "Leads of path where it was earlier than reference, added up; the lead histogram's own sum can fall.",
        both,
        (row for a, b, pair in pairs for row in (([a, b], pair.ahead_ns / 1e9), ([b, a], pair.behind_ns / 1e9))),
    )
    yield counter(
        f"{PREFIX}_path_ties",
        "Events that both brought in the same nanosecond.",
        both,
        (([a, b], pair.ties) for a, b, pair in pairs),
    )
    yield counter(
        f"{PREFIX}_unpaired_events",
        "Events that no other path brought in time.",
        ["path"],
        [] if race is None else (([name], count) for name, count in zip(names, race.unpaired, strict=True)),
    )
    yield counter(
        f"{PREFIX}_race_excluded_events",
        "Events both brought, but one of them not live (delayed in an outage, or around a clock step).",
        both,
        (([a, b], pair.excluded) for a, b, pair in pairs),
    )
    yield gauge(
        f"{PREFIX}_race_waiting_events",
        "Events waiting for their other arrivals.",
        [],
        [([], 0 if race is None else len(race))],
    )


def _run(accounts: Sequence[PathAccount], race: RaceTable | None) -> Iterator[Metric]:
    """Yield the fine figures of a run that keeps them, so that those who look on see what its result will say."""
    kept = [(account.name, account.figures) for account in accounts if account.figures is not None]
    levels = PERCENTILES.values()
    yield quantiles(
        f"{PREFIX}_run_delay_seconds",
        "Quantiles of the end-to-end latency since the start, to 0.05 %; of a run that writes results.",
        ["path"],
        (
            ([name, str(level)], delay / 1e9)
            for name, figures in kept
            for level, delay in zip(levels, figures.end_to_end.quantiles(*levels), strict=True)
            if delay is not None
        ),
    )
    yield gauge(
        f"{PREFIX}_run_lead_seconds",
        "Median lead of path over reference since the start, to 0.05 %; of a run that writes results.",
        ["path", "reference"],
        (
            ([accounts[pair.path].name, accounts[pair.reference].name], lead / 1e9)
            for pair in ([] if race is None else race.pairs)
            if pair.leads is not None and (lead := pair.leads.quantile(0.5)) is not None
        ),
    )
    yield gauge(
        f"{PREFIX}_run_link_rtt_seconds",
        "Median round trip to the forwarder since the start, to 0.05 %; of a run that writes results.",
        ["path"],
        (([name], rtt / 1e9) for name, figures in kept if (rtt := figures.rtt.quantile(0.5)) is not None),
    )


def _feeds(paths: Sequence[FeedPath]) -> Iterator[Metric]:
    yield gauge(
        f"{PREFIX}_feed_connected",
        "1 while the feed is connected.",
        ["path"],
        (([path.name], path.connected) for path in paths),
    )
    yield counter(
        f"{PREFIX}_reconnects",
        "Feed connections that ended or could not be made.",
        ["side", "reason"],
        each_of({path.name: path.counts.reconnects for path in paths}),
    )
    yield from feed_families({path.name: path.counts for path in paths})


def _links(paths: Sequence[LinkPath]) -> Iterator[Metric]:
    segments = {path.name: path.account.segments for path in paths}
    yield counter(
        f"{PREFIX}_segment_samples",
        "Events of which the forwarder told the departure, by what became of them.",
        ["path", "outcome"],
        each_of(
            {
                name: {"measured": one.measured, "refused": one.refused, "unmatched": one.unmatched}
                for name, one in segments.items()
                if one is not None
            }
        ),
    )
    # What names no path is the port's, where several paths share one; its label is then the address.
    shared = {path.port.address: path.port for path in paths if path.port.shared}.values()
    yield gauge(
        f"{PREFIX}_link_connected",
        "Forwarders connected now (0 for JSON over UDP).",
        ["path"],
        (([path.name], path.listener.counts.peers) for path in paths),
    )
    yield counter(
        f"{PREFIX}_link_connections",
        "Forwarders let in.",
        ["path"],
        (([path.name], path.listener.counts.connections) for path in paths),
    )
    yield counter(
        f"{PREFIX}_link_refusals",
        "Peers turned away and datagrams thrown away; path is the address of a port that several paths share where "
        "none of them was named.",
        ["path", "reason"],
        each_of(
            {
                **{path.name: path.listener.counts.refusals for path in paths},
                **{port.address: port.refusals for port in shared},
            }
        ),
    )
    yield counter(
        f"{PREFIX}_socket_dropped_datagrams",
        "Datagrams that this host's kernel dropped because the receive buffer was full: lost here, not on the way; "
        "path is the address of a port that several paths share.",
        ["path"],
        [
            *(([path.name], path.port.dropped_datagrams) for path in paths if not path.port.shared),
            *(([port.address], port.dropped_datagrams) for port in shared),
        ],
    )
    yield from _headers(paths)
    yield from _peer_clocks(paths)


def _headers(paths: Sequence[LinkPath]) -> Iterator[Metric]:
    known = [(path.name, path.listener.counts.headers) for path in paths]
    yield gauge(
        f"{PREFIX}_link_ttl_hops",
        "Hops left (TTL, hop limit) of what arrives: of a datagram a second; over TCP at the connection's beginning.",
        ["path"],
        (([name], one.ttl) for name, one in known if one.ttl is not None),
    )
    yield gauge(
        f"{PREFIX}_link_dscp",
        "Class (DSCP) of the same packets, as it arrives.",
        ["path"],
        (([name], one.dscp) for name, one in known if one.dscp is not None),
    )
    yield counter(
        f"{PREFIX}_link_ttl_changes",
        "Times that packets of a forwarder's host had other hops left than before: another route.",
        ["path"],
        (([name], one.ttl_changes) for name, one in known),
    )


def _peer_clocks(paths: Sequence[LinkPath]) -> Iterator[Metric]:
    known = [(path.name, path.forwarders) for path in paths]
    best = [(name, exchange) for name, peers in known if (exchange := peers.exchange) is not None]
    yield gauge(
        f"{PREFIX}_link_clock_offset_seconds",
        "Forwarder's clock minus ours, from the fastest recent exchange; true to half its RTT.",
        ["path"],
        (([name], exchange.offset_ns / 1e9) for name, exchange in best),
    )
    yield gauge(
        f"{PREFIX}_link_clock_offset_error_seconds",
        "Half the RTT of that exchange.",
        ["path"],
        (([name], exchange.rtt_ns / 2e9) for name, exchange in best),
    )
    yield gauge(
        f"{PREFIX}_clock_suspect",
        "1 while one-way delays contradict the clock exchange.",
        ["path"],
        (([name], bool(peers.suspect)) for name, peers in known),
    )
    yield counter(
        f"{PREFIX}_clock_exchange_failures",
        "Exchanges of impossible times.",
        ["path"],
        (([name], peers.bad_exchanges) for name, peers in known),
    )
    clocks = [(name, peers.peer_clock) for name, peers in known]
    yield gauge(
        f"{PREFIX}_peer_clock_synchronized",
        "The forwarder's word on its clock.",
        ["path"],
        (([name], clock.synchronized) for name, clock in clocks),
    )
    yield gauge(
        f"{PREFIX}_peer_clock_error_bound_seconds",
        "The forwarder's error bound; NaN: unknown.",
        ["path"],
        (([name], _NAN if clock.error_bound_ns is None else clock.error_bound_ns / 1e9) for name, clock in clocks),
    )


def _results(rows: RowWriter | None) -> Iterator[Metric]:
    written, lost, errors = (0, 0, 0) if rows is None else (rows.written, rows.lost, rows.errors)
    yield counter(f"{PREFIX}_result_rows", "Rows written to the CSV file.", [], [([], written)])
    yield counter(f"{PREFIX}_result_rows_lost", "Rows that the disk did not take.", [], [([], lost)])
    yield counter(f"{PREFIX}_result_write_errors", "Failed writes of results.", [], [([], errors)])


def _each(accounts: Sequence[PathAccount], of: Callable[[PathAccount], float]) -> Rows:
    return (([account.name], of(account)) for account in accounts)


def _by_label(account: PathAccount) -> dict[str, tuple[int, int]]:
    """Sum a path's events, and those without event time, by the label of their stream."""
    sums: dict[str, tuple[int, int]] = {}
    for stream in account.all_streams():
        events, timeless = sums.get(stream.label, (0, 0))
        sums[stream.label] = events + stream.events, timeless + stream.without_event_time
    return sums


def _steps_by_label(account: PathAccount) -> Mapping[str, float]:
    """Give the coarsest step of the event times under each label, in seconds."""
    steps: dict[str, float] = {}
    for name, step_ns in account.event_time_steps_ns().items():
        label = account.streams[name].label
        steps[label] = max(step_ns / 1e9, steps.get(label, 0.0))
    return steps


def _resets_by_label(account: PathAccount) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    for stream in account.streams.values():
        if stream.ids:
            sums[stream.label] = sums.get(stream.label, 0) + stream.id_resets
    return sums
