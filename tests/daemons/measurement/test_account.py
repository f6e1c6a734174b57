"""Scripted stamps: what is injected is exactly what comes out."""

from collections.abc import Iterator

import pytest

from daemons.feed.binance import Decoder
from daemons.feed.streams import identity_of
from daemons.formats.rows import Row
from daemons.measurement.account import MAX_IDENTITIES, MAX_STREAMS, PathAccount
from daemons.measurement.figures import Figures, Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.measurement.identity import MAX_JUMP
from daemons.measurement.judgement import ABSURD_NS
from daemons.measurement.race import RaceTable
from daemons.measurement.sessions import MAX_SESSIONS
from daemons.measurement.time_step import STEPS_NS
from daemons.records import FeedEvent, LinkEvent, Stamp, StampKind, Validity
from tests.daemons.made import feed_event

BOUNDS = octaves(-20, 12)
EPOCH_NS = 1_700_000_000_000_000_000
STREAM = "btcusdt@trade"


class Paths:
    """Accounts with everything that they feed."""

    def __init__(self, *kinds: str) -> None:
        self.rows: list[Row] = []
        self.race = RaceTable(len(kinds)) if len(kinds) > 1 else None
        self.live: dict[tuple[str, ...], BucketHistogram] = {}
        self.accounts = [
            PathAccount(
                name,
                index,
                link=name.startswith("link"),
                instruments=Instruments(
                    end_to_end=lambda stream, name=name: self.histogram(name, "end_to_end", stream),  # type: ignore[misc]
                    backbone=lambda stream, name=name: self.histogram(name, "backbone", stream),  # type: ignore[misc]
                    delayed=self.histogram(name, "delayed"),
                    host_delay=self.histogram(name, "host_delay"),
                ),
                race=self.race,
                figures=Figures(),
                row=self.rows.append,
                identify=identity_of,
                symbol_of=Decoder().symbol_of,
            )
            for index, name in enumerate(kinds)
        ]

    def histogram(self, *labels: str) -> BucketHistogram:
        return self.live.setdefault(labels, BucketHistogram(BOUNDS))


@pytest.fixture
def link() -> tuple[Paths, PathAccount]:
    paths = Paths("link")
    return paths, paths.accounts[0]


@pytest.fixture
def feed() -> tuple[Paths, PathAccount]:
    paths = Paths("feed")
    return paths, paths.accounts[0]


def stamp(ns: int, kind: StampKind = StampKind.KERNEL, *, host_delay_ns: int = 0, step_ns: int = 0) -> Stamp:
    """A stamp at ``EPOCH_NS + ns``; the monotonic clock counts from the same moment."""
    return Stamp(EPOCH_NS + ns, kind, EPOCH_NS + ns + host_delay_ns, ns, step_ns)


def forwarded(
    sequence: int,
    receive_ns: int,
    *,
    event_ns: int | None = None,
    departure_ns: int | None = None,
    delayed: bool = False,
    kind: StampKind = StampKind.KERNEL,
) -> LinkEvent:
    return LinkEvent(
        sequence,
        EPOCH_NS + receive_ns,
        kind,
        None if event_ns is None else EPOCH_NS + event_ns,
        None if departure_ns is None else EPOCH_NS + departure_ns,
        sequence,
        STREAM,
        delayed,
        b"{}",
    )


def trade(number: int, event_ns: int | None = 0, *, stream: str = STREAM, previous: int | None = None) -> FeedEvent:
    time_ns = None if event_ns is None else EPOCH_NS + event_ns
    return feed_event(stream, number, previous, time_ns=time_ns)


DELAYS = [0, 1, 999, 15_259, 104_321_987, 3_599_999_999_999, ABSURD_NS]


@pytest.mark.parametrize("delay_ns", DELAYS)
def test_an_injected_delay_comes_out_to_the_nanosecond(link: tuple[Paths, PathAccount], delay_ns: int) -> None:
    paths, account = link
    arrival = stamp(ABSURD_NS + 1, host_delay_ns=77)
    account.observe_link(1, [forwarded(1, ABSURD_NS + 1 - delay_ns, event_ns=0)], arrival, together=True)
    (row,) = paths.rows
    assert row.backbone_ns == delay_ns
    assert paths.live["link", "backbone", STREAM].sum_ns == delay_ns
    assert paths.live["link", "host_delay"].sum_ns == 77
    assert account.figures is not None
    assert (account.figures.backbone.minimum, account.figures.backbone.maximum) == (delay_ns, delay_ns)
    assert account.figures.host_delay.maximum == 77
    assert account.least_one_way_ns == {1: delay_ns}


def test_a_sampled_events_parts_go_from_the_exchanges_clock_to_where_its_read_is_accounted_for() -> None:
    """The clock is read once, when all of the read is in the rows, and only of reads that have such an event."""
    rows: list[Row] = []
    read_at: list[int] = []

    def wall_ns() -> int:
        read_at.append(len(rows))
        return EPOCH_NS + 127

    live: dict[str, BucketHistogram] = {}

    def made(name: str = "") -> BucketHistogram:
        return live.setdefault(name, BucketHistogram(octaves(-30, 4)))

    instruments = Instruments(made, made, made(), made(), made)
    account = PathAccount(
        "link", 0, link=True, instruments=instruments, figures=Figures(), row=rows.append, wall_ns=wall_ns
    )
    arrival = stamp(31, host_delay_ns=32)
    last = forwarded(3, 3, event_ns=0, departure_ns=7)
    last.sampled = True
    before = [forwarded(number, 3, event_ns=0, departure_ns=7) for number in (1, 2)]
    account.observe_link(1, [*before, last], arrival, together=False)
    assert account.segments is not None
    account.segments.departed(1, 3, EPOCH_NS + 15)
    assert {name: one.maximum for name, one in account.segments.figures.items()} == {
        "feed": 3,
        "hold_user": 4,
        "hold_kernel": 8,
        "way": 16,
        "host": 32,
        "decode": 64,
        "total": 127,
    }
    account.observe_link(1, [forwarded(4, 3, event_ns=0, departure_ns=7)], arrival, together=False)
    assert read_at == [3]


@pytest.mark.parametrize("step_ns", STEPS_NS)
def test_the_step_of_each_source_is_what_its_times_show(link: tuple[Paths, PathAccount], step_ns: int) -> None:
    """A model that knows the step: the exchange tells times in it, the forwarder in the next finer one."""
    _paths, account = link
    finer_ns = STEPS_NS[min(STEPS_NS.index(step_ns) + 1, len(STEPS_NS) - 1)]
    for sequence in range(1, 40):
        event_ns, receive_ns = sequence * 7 * step_ns, sequence * 7 * step_ns + 3 * finer_ns
        arrival = stamp(receive_ns + 5_123_457)
        account.observe_link(1, [forwarded(sequence, receive_ns, event_ns=event_ns)], arrival, together=True)
    assert account.event_time_steps_ns() == {STREAM: step_ns}
    assert account.forwarder_step_ns == finer_ns


@pytest.mark.parametrize("delay_ns", DELAYS)
def test_end_to_end_comes_out_to_the_nanosecond(feed: tuple[Paths, PathAccount], delay_ns: int) -> None:
    paths, account = feed
    account.observe_feed([trade(7, 0)], stamp(delay_ns))
    (row,) = paths.rows
    assert (row.end_to_end_ns, row.backbone_ns, row.validity, row.sequence) == (delay_ns, None, Validity.OK, 1)
    assert paths.live["feed", "end_to_end", STREAM].sum_ns == delay_ns
    assert account.figures is not None
    assert account.figures.end_to_end.maximum == delay_ns


def test_the_least_delay_is_counted_from_departure_where_it_is_known(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    account.observe_link(1, [forwarded(1, 0, departure_ns=30)], stamp(100), together=True)
    account.observe_link(1, [forwarded(2, 100, departure_ns=130)], stamp(260), together=True)
    assert account.least_one_way_ns == {1: 70}


@pytest.mark.parametrize(
    ("end_to_end_ns", "backbone_ns", "validity", "counted"),
    [
        (-1, 10, Validity.NEGATIVE, {"negative_end_to_end": 1}),
        (ABSURD_NS + 1, 10, Validity.ABSURD, {"absurd_end_to_end": 1}),
        (10, -1, Validity.NEGATIVE, {"negative_backbone": 1}),
        (10, ABSURD_NS + 1, Validity.ABSURD, {"absurd_backbone": 1}),
        (None, -5, Validity.NEGATIVE, {"negative_backbone": 1}),
        (-1, -1, Validity.NEGATIVE, {"negative_end_to_end": 1, "negative_backbone": 1}),
    ],
)
def test_impossible_delays_are_counted_by_reason_and_kept_out(
    link: tuple[Paths, PathAccount],
    end_to_end_ns: int | None,
    backbone_ns: int,
    validity: Validity,
    counted: dict[str, int],
) -> None:
    paths, account = link
    event = forwarded(1, -backbone_ns, event_ns=None if end_to_end_ns is None else -end_to_end_ns)
    account.observe_link(1, [event], stamp(0), together=True)
    assert {reason: count for reason, count in account.invalid.items() if count} == counted
    (row,) = paths.rows
    assert row.validity == validity
    refused = ABSURD_NS + 1, -1, -5, None
    assert row.end_to_end_ns == (None if end_to_end_ns in refused else end_to_end_ns)
    assert row.backbone_ns == (None if backbone_ns in refused else backbone_ns)
    assert paths.live["link", "end_to_end", STREAM].count == (row.end_to_end_ns is not None)
    assert paths.live["link", "backbone", STREAM].count == (row.backbone_ns is not None)
    # Refused figures say nothing of the event itself, which has come.
    assert (account.events, account.total("unique")) == (1, 1)


@pytest.mark.parametrize("event_ns", [None, 0])
@pytest.mark.parametrize(
    ("arrival", "kind", "reason"),
    [
        (stamp(50, step_ns=-3), StampKind.KERNEL, "clock_step"),
        (stamp(50, StampKind.WARMUP), StampKind.KERNEL, "warmup"),
        (stamp(50), StampKind.WARMUP, "warmup"),
        (stamp(50, StampKind.NO_HARDWARE), StampKind.KERNEL, "no_hardware_stamp"),
        (stamp(50, StampKind.NO_HARDWARE), StampKind.NO_HARDWARE, "no_hardware_stamp"),
        (stamp(50, StampKind.HARDWARE), StampKind.NO_HARDWARE, "no_hardware_stamp"),
    ],
)
def test_around_a_step_and_in_the_warm_up_nothing_is_measured(
    link: tuple[Paths, PathAccount], arrival: Stamp, kind: StampKind, reason: str, event_ns: int | None
) -> None:
    paths, account = link
    account.observe_link(1, [forwarded(1, 10, event_ns=event_ns, kind=kind)], arrival, together=True)
    assert {name: count for name, count in account.invalid.items() if count} == {reason: 1}
    (row,) = paths.rows
    assert row.validity == reason
    assert row.backbone_ns is None
    assert paths.live["link", "backbone", STREAM].count == 0
    assert account.least_one_way_ns == {}
    # What the forwarder's stamp lacks says nothing against our own.
    ours_is_good = not arrival.step_ns and arrival.kind in (StampKind.KERNEL, StampKind.HARDWARE)
    assert paths.live["link", "end_to_end", STREAM].count == (ours_is_good and event_ns is not None)
    assert account.streams[STREAM].without_event_time == (event_ns is None)


@pytest.mark.parametrize("event_ns", [None, 0])
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("whose", ["ours", "theirs", "both", "another's"])
def test_while_a_clock_is_not_to_be_believed_nothing_is_measured_with_it(
    link: tuple[Paths, PathAccount], whose: str, event_ns: int | None, *, delayed: bool
) -> None:
    paths, account = link
    account.disrupted = ours = whose in ("ours", "both")
    account.disrupted_sessions.update({"another's": (2,), "ours": ()}.get(whose, (1,)))
    refused = whose != "another's"
    account.observe_link(1, [forwarded(1, 10, event_ns=event_ns, delayed=delayed)], stamp(50), together=True)
    (row,) = paths.rows
    backbone = None if refused or delayed else 40
    assert (row.backbone_ns, row.end_to_end_ns) == (backbone, None if ours or event_ns is None else 50)
    assert paths.live["link", "delayed"].count == (delayed and not refused)
    # Once for each event, whoever's clock it is; an event that waited says nothing of one that was not needed.
    expected = {"clock_disrupted": 1} if ours or (refused and not delayed) else {}
    assert {name: count for name, count in account.invalid.items() if count} == expected
    assert account.least_one_way_ns == ({1: 40} if backbone is not None else {})
    assert (account.events, account.total("unique"), account.delayed) == (1, 1, delayed)
    account.disrupted = False
    account.disrupted_sessions.clear()
    account.observe_link(1, [forwarded(2, 10, event_ns=0)], stamp(50), together=True)
    assert (paths.rows[1].validity, paths.rows[1].backbone_ns) == ("ok", 40)


def test_a_race_goes_on_while_the_clock_is_not_to_be_believed() -> None:
    paths = Paths("feed", "link")
    feed, link = paths.accounts
    assert paths.race is not None
    feed.disrupted = link.disrupted = True
    link.observe_link(9, [forwarded(1, 0, event_ns=0)], stamp(100), together=True)
    feed.observe_feed([trade(1)], stamp(150))
    (pair,) = paths.race.pairs
    assert (pair.wins + pair.reference_wins, pair.ahead_ns + pair.behind_ns) == (1, 50)
    assert {row.validity for row in paths.rows} == {"clock_disrupted"}
    assert feed.invalid["clock_disrupted"] == 1


def test_duplicates_are_counted_and_neither_measured_nor_raced() -> None:
    paths = Paths("feed", "link")
    feed, link = paths.accounts
    assert paths.race is not None
    link.observe_link(9, [forwarded(1, 0, event_ns=0)], stamp(100), together=True)
    link.observe_link(9, [forwarded(1, 0, event_ns=0)], stamp(900), together=True)
    feed.observe_feed([trade(1)], stamp(150))
    feed.observe_feed([trade(1)], stamp(950))
    for account in paths.accounts:
        assert (account.events, account.duplicates, account.total("unique")) == (2, 1, 1)
        assert paths.live[account.name, "end_to_end", STREAM].count == 1
    assert paths.live["link", "backbone", STREAM].count == 1
    assert [row.validity for row in paths.rows] == ["ok", "duplicate", "ok", "duplicate"]
    (pair,) = paths.race.pairs
    assert (pair.wins, pair.lead.count, pair.lead.sum_ns, paths.race.repeats) == (1, 1, 50, [0, 0])


def test_an_event_that_waited_is_accounted_for_in_a_series_of_its_own() -> None:
    paths = Paths("feed", "link")
    feed, link = paths.accounts
    feed.observe_feed([trade(1)], stamp(50))
    link.observe_link(9, [forwarded(1, 10, event_ns=0, delayed=True)], stamp(5_000), together=True)
    assert (link.delayed, link.total("unique")) == (1, 1)
    assert paths.live["link", "delayed"].sum_ns == 4_990
    assert paths.live["link", "backbone", STREAM].count == 0
    assert paths.live["link", "end_to_end", STREAM].count == 0
    assert (paths.rows[1].validity, paths.rows[1].delayed) == (Validity.DELAYED, True)
    assert paths.race is not None
    (pair,) = paths.race.pairs
    assert (pair.excluded, pair.lead.count) == (1, 0)


def test_a_wait_of_impossible_length_is_refused_like_any_delay(link: tuple[Paths, PathAccount]) -> None:
    paths, account = link
    account.observe_link(9, [forwarded(1, 10, delayed=True)], stamp(9), together=True)
    assert (account.delayed, account.invalid["negative_backbone"]) == (1, 1)
    assert paths.live["link", "delayed"].count == 0


def test_only_the_last_event_of_a_read_has_the_stamp_for_itself(link: tuple[Paths, PathAccount]) -> None:
    paths, account = link
    events = [forwarded(number, 0) for number in (1, 2, 3)]
    account.observe_link(1, events, stamp(50), together=False)
    account.observe_link(1, [forwarded(number, 0) for number in (4, 5)], stamp(60), together=True)
    account.observe_link(1, [forwarded(6, 0), forwarded(7, 0)], stamp(70, StampKind.USER), together=False)
    kinds = [row.stamp for row in paths.rows]
    assert kinds == [StampKind.SHARED] * 2 + [StampKind.KERNEL] * 3 + [StampKind.USER] * 2
    assert account.stamps == {
        StampKind.KERNEL: 3,
        StampKind.SHARED: 2,
        StampKind.USER: 2,
        StampKind.WARMUP: 0,
        StampKind.HARDWARE: 0,
        StampKind.NO_HARDWARE: 0,
    }


def test_contiguous_ids_of_a_feed_tell_gaps(feed: tuple[Paths, PathAccount]) -> None:
    paths, account = feed
    for number, at_ns in ((100, 0), (101, 10), (105, 20)):
        account.observe_feed([trade(number)], stamp(at_ns))
    account.finish()
    assert (account.total("missing"), account.total("gaps"), account.total("gap_events")) == (3, 1, 3)
    assert len(paths.rows) == 3


def test_ranges_of_ids_tell_gaps(feed: tuple[Paths, PathAccount]) -> None:
    _paths, account = feed
    for first, last in ((10, 14), (15, 15), (20, 24)):
        account.observe_feed([trade(last, stream="btcusdt@depth", previous=first - 1)], stamp(last))
    assert (account.total("missing"), account.total("unique")) == (1, 3)


def test_ids_that_leap_tell_repetitions_but_no_gaps(feed: tuple[Paths, PathAccount]) -> None:
    _paths, account = feed
    for number in (100, 250, 250, 90, 251):
        account.observe_feed([trade(number, None, stream="btcusdt@bookTicker")], stamp(number))
    account.finish()
    assert (account.total("missing"), account.duplicates, account.events) == (0, 2, 5)


def test_an_event_without_an_id_is_measured_and_not_raced() -> None:
    paths = Paths("feed", "link")
    feed = paths.accounts[0]
    feed.observe_feed([feed_event("!ticker@arr", payload=b"[]")], stamp(5))
    assert paths.race is not None
    assert (feed.events, len(paths.race), paths.rows[0].event_id) == (1, 0, None)


def test_an_absurd_number_is_nonsense_and_not_a_gap() -> None:
    paths = Paths("feed", "link")
    feed, link = paths.accounts
    link.observe_link(1, [forwarded(1, 0)], stamp(1), together=True)
    link.observe_link(1, [forwarded(MAX_JUMP + 2, 0)], stamp(2), together=True)
    link.sessions.announce(1, 1 << 60, 3)
    feed.observe_feed([trade(5)], stamp(1))
    feed.observe_feed([trade(5 + MAX_JUMP + 1)], stamp(2))
    for account in paths.accounts:
        assert account.invalid["absurd_sequence"] == 1
        assert account.total("missing") == 0


def test_an_absurd_first_id_does_not_make_all_that_follow_stale(feed: tuple[Paths, PathAccount]) -> None:
    paths, account = feed
    for at, number in enumerate((1 << 62, 5, 6, 8)):
        account.observe_feed([trade(number)], stamp(at))
    assert [row.validity for row in paths.rows] == ["ok"] * 4
    assert account.invalid["absurd_sequence"] == 1
    assert (account.total("unique"), account.total("missing"), account.duplicates) == (4, 1, 0)


def test_each_life_of_a_forwarder_counts_for_itself(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    for session in range(MAX_SESSIONS + 5):
        account.sessions.open(session, 0)
        account.observe_link(session, [forwarded(1, 0), forwarded(3, 0)], stamp(session), together=True)
    assert account.sessions.seen == MAX_SESSIONS + 5
    assert len(account.sessions.trackers) == MAX_SESSIONS
    assert (account.total("unique"), account.total("missing")) == (2 * (MAX_SESSIONS + 5), MAX_SESSIONS + 5)
    account.finish()
    assert account.total("gaps") == MAX_SESSIONS + 5


def test_labels_are_bounded_and_the_rest_share_one(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link

    def events() -> Iterator[LinkEvent]:
        for number in range(MAX_STREAMS + 10):
            event = forwarded(number + 1, 0)
            event.stream = f"s{number}@trade"
            yield event

    account.observe_link(1, list(events()), stamp(10), together=True)
    assert len(account.streams) == MAX_STREAMS + 10
    labels = [stream.label for stream in account.streams.values()]
    assert len(set(labels)) == MAX_STREAMS + 1
    assert labels.count("other") == 10


def test_jitter_does_not_reach_across_a_reconnect(feed: tuple[Paths, PathAccount]) -> None:
    _paths, account = feed
    account.observe_feed([trade(1, 0)], stamp(1000))
    account.interrupt()
    account.observe_feed([trade(2, 0)], stamp(900_000_000))
    assert account.streams[STREAM].end_to_end_jitter.value_ns is None
    account.observe_feed([trade(3, 0)], stamp(900_000_160))
    assert account.streams[STREAM].end_to_end_jitter.value_ns == pytest.approx(10.0)


def test_each_of_a_thousand_streams_has_ids_of_its_own_and_races_for_itself() -> None:
    paths = Paths("feed", "feed2")
    for turn in range(3):
        for number in range(1000):
            event_id = number * 1_000_000 + turn
            event = feed_event(f"s{number}@trade", event_id, time_ns=EPOCH_NS)
            for account in paths.accounts:
                account.observe_feed([event], stamp(turn))
    for account in paths.accounts:
        account.finish()
        assert (account.total("unique"), account.total("missing"), account.duplicates) == (3000, 0, 0)
    assert paths.race is not None
    (pair,) = paths.race.pairs
    assert (pair.ties, pair.wins, pair.reference_wins) == (3000, 0, 0)


def test_a_reconnect_of_some_streams_keeps_what_was_counted_and_leaves_the_others_alone(
    feed: tuple[Paths, PathAccount],
) -> None:
    _paths, account = feed
    for number in (1, 2, 3):
        for name in ("a@trade", "b@trade"):
            account.observe_feed([feed_event(name, number, time_ns=EPOCH_NS)], stamp(number * 100))
    before = account.streams["b@trade"].end_to_end_jitter.value_ns
    account.interrupt(("a@trade", "never@trade"))
    for name in ("a@trade", "b@trade"):
        account.observe_feed([feed_event(name, 4, time_ns=EPOCH_NS)], stamp(1_000_000))
    assert [account.streams[name].events for name in account.streams] == [4, 4]
    assert account.streams["a@trade"].end_to_end_jitter.value_ns == before
    assert account.streams["b@trade"].end_to_end_jitter.value_ns != before


def test_a_stream_of_all_symbols_has_ids_of_each_and_races_against_single_streams_and_links() -> None:
    paths = Paths("feed", "feed2", "link")
    every, single, link = paths.accounts
    for turn, symbol in enumerate(("btcusdt", "ethusdt", "btcusdt", "ethusdt")):
        book = 1000 - turn if symbol == "ethusdt" else 7 + turn
        payload = b'{"u":%d,"s":"%s","b":"1"}' % (book, symbol.upper().encode())
        every.observe_feed([feed_event("!bookTicker", book + turn // 2 * 10, symbol=symbol)], stamp(turn))
        single.observe_feed([feed_event(f"{symbol}@bookTicker", book + turn // 2 * 10)], stamp(turn))
        event = LinkEvent(
            turn + 1, EPOCH_NS, StampKind.KERNEL, None, None, book + turn // 2 * 10, "!bookTicker", False, payload
        )
        link.observe_link(1, [event], stamp(turn), together=True)
    assert [account.duplicates for account in paths.accounts] == [0, 0, 0]
    assert paths.race is not None
    assert [pair.ties for pair in paths.race.pairs] == [4, 4, 4]
    assert {row.stream for row in paths.rows} == {"btcusdt@bookTicker", "ethusdt@bookTicker"}
    assert [stream.name for stream in every.streams.values()] == ["!bookTicker"]


def test_streams_beyond_every_bound_are_counted_and_nothing_is_made_up_of_them(feed: tuple[Paths, PathAccount]) -> None:
    _paths, account = feed
    for number in range(MAX_IDENTITIES + 2):
        for event_id in (7, 5_000_000):
            account.observe_feed([feed_event(f"s{number}@trade", event_id)], stamp(1))
    assert account.events == 2 * (MAX_IDENTITIES + 2)
    assert sum(stream.events for stream in account.all_streams()) == account.events
    assert account.invalid["too_many_streams"] == 4
    assert account.total("unique") == 2 * MAX_IDENTITIES


def test_the_jitter_of_a_path_does_not_mix_streams(feed: tuple[Paths, PathAccount]) -> None:
    _paths, account = feed
    for number in range(1, 200):
        for name, delay_ns in (("a@trade", 50_000_000), ("b@trade", 90_000_000)):
            at_ns = number * 1_000_000_000
            event = feed_event(name, number, time_ns=EPOCH_NS + at_ns)
            account.observe_feed([event], stamp(at_ns + delay_ns))
    assert account.jitter_ns(lambda stream: stream.end_to_end_jitter) == 0


def test_over_udp_nothing_is_excused_for_what_may_have_been_lost_on_the_way(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    account.sessions.open(1, 10)
    account.observe_link(1, [forwarded(15, 0, delayed=True), forwarded(20, 0, delayed=True)], stamp(1), together=True)
    account.observe_link(1, [forwarded(18, 0, delayed=True)], stamp(2), together=True)
    account.observe_link(1, [forwarded(22, 0)], stamp(3), together=True)
    account.finish()
    assert (account.total("missing"), account.total("given_up"), account.total("gap_events")) == (8, 0, 8)


def test_over_udp_what_the_forwarder_says_it_never_sent_is_not_lost(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    account.sessions.open(1, 10)
    account.observe_link(1, [forwarded(20, 0)], stamp(1), together=True)
    for _told in range(2):
        account.sessions.give_up(1, 5, 14, 2)
        account.sessions.give_up(1, 22, 23, 2)
        account.sessions.give_up(9, 1, 5, 2)
    account.finish()
    assert (account.total("missing"), account.total("given_up"), account.total("gap_events")) == (12, 6, 6)


def test_over_tcp_nothing_that_was_sent_is_lost(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    account.sessions.open(1, 0, lossless=True)
    account.observe_link(1, [forwarded(1, 0), forwarded(5, 0)], stamp(1), together=True)
    account.sessions.announce(1, 7, 2)
    account.finish()
    assert (account.total("missing"), account.total("given_up"), account.total("gaps")) == (5, 5, 0)


def test_a_session_that_really_leapt_is_followed(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    account.observe_link(1, [forwarded(1, 0)], stamp(1), together=True)
    for number in range(3):
        account.observe_link(1, [forwarded(5 + MAX_JUMP + 300 * number, 0)], stamp(2 + number), together=True)
    assert account.invalid["absurd_sequence"] == 1
    assert (account.id_leaps, account.total("unique"), account.total("missing")) == (1, 3, 299)


def test_who_lives_keeps_its_account_however_many_join_after_it(link: tuple[Paths, PathAccount]) -> None:
    _paths, account = link
    account.sessions.open("steady", 0)
    for number in range(1, 100):
        account.observe_link(f"passing {number}", [forwarded(1, 0)], stamp(5), together=True)
        if number % 2:
            account.observe_link("steady", [forwarded(number, 0)], stamp(5), together=True)
        else:
            account.sessions.announce("steady", number - 1, 0)
        assert "steady" in account.sessions.trackers
        assert len(account.sessions.trackers) <= MAX_SESSIONS
    assert account.sessions.trackers["steady"].missing == 49
    assert account.total("unique") == 99 + 50


def test_a_number_that_leaps_within_one_read_of_a_race_is_judged_like_any() -> None:
    paths = Paths("link-a", "link-b")
    events = [forwarded(1, 0), forwarded(MAX_JUMP + 5, 0), forwarded(2, 0), forwarded(3, 0)]
    paths.accounts[0].observe_link(1, events, stamp(5), together=True)
    assert (paths.accounts[0].total("unique"), paths.accounts[0].invalid["absurd_sequence"]) == (3, 1)


def test_a_numbering_that_moved_on_is_followed_within_a_read_of_a_path_that_races() -> None:
    """The session is the forwarder's also after the first event of the read was brought to the race."""
    paths = Paths("feed", "link")
    account = paths.accounts[1]
    far = 5 * MAX_JUMP
    account.observe_link(7, [forwarded(1, 0)], stamp(10), together=True)
    account.observe_link(7, [forwarded(sequence, 5) for sequence in (2, far, far + 1)], stamp(20), together=True)
    assert list(account.sessions.trackers) == [7]
    assert account.sessions.trackers[7].highest == far + 1
    assert (account.sessions.leaps, account.invalid["absurd_sequence"]) == (1, 1)
