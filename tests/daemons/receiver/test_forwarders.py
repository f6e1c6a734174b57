"""What the receiver makes of a link's announcements, clock exchanges and nameless sessions."""

import asyncio
import csv
import pathlib
import random

import pytest
from structlog.testing import capture_logs

from daemons.formats.rows import Row
from daemons.formats.summary import Distribution
from daemons.link.messages import VERSION, DropReason, Heartbeat, Hello, Transport
from daemons.link.session import TimeReport
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures, Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.measurement.identity import MAX_JUMP
from daemons.measurement.sessions import MAX_SESSIONS
from daemons.receiver.forwarders import JOINED, RESTART_WINDOW, TAIL_NS, Forwarders
from daemons.receiver.rows import RowWriter
from daemons.records import UNKNOWN_CLOCK, ClockState, LinkEvent, Stamp, StampKind
from daemons.timing.exchange import ClockSample
from tests.daemons.link.listening import listener_settings

EPOCH_NS = 1_700_000_000_000_000_000
SESSION = 7
TRADE = b'{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":%d,"p":"1","q":"1","T":1700000000000,"m":true,"M":true}'


def histogram(_stream: str = "") -> BucketHistogram:
    return BucketHistogram(octaves(-20, 12))


class Path:
    """A link path with a clock that tests set."""

    def __init__(self, transport: Transport = Transport.TCP) -> None:
        self.rows: list[Row] = []
        self.clock = UNKNOWN_CLOCK
        self.account = PathAccount(
            "backbone",
            0,
            link=True,
            instruments=Instruments(histogram, histogram, histogram(), histogram()),
            figures=Figures(),
            row=self.rows.append,
        )
        settings = listener_settings(transport="udp" if transport is Transport.UDP else "tcp")
        self.state = Forwarders(self.account, settings, histogram(), lambda: self.clock)

    def event(self, sequence: int, key: int | str = SESSION, *, delay_ns: int = 1000, stream: str = "x@trade") -> None:
        event = LinkEvent(
            sequence, EPOCH_NS, StampKind.KERNEL, None, EPOCH_NS, sequence, stream, False, TRADE % sequence
        )
        stamp = Stamp(EPOCH_NS + delay_ns, StampKind.KERNEL, EPOCH_NS + delay_ns, sequence, 0)
        self.state.on_link_events(key, [event], stamp, together=True)

    def hello(
        self,
        acknowledged: int,
        transport: Transport = Transport.TCP,
        *,
        clock: ClockState = UNKNOWN_CLOCK,
        session: int = SESSION,
    ) -> None:
        hello = Hello(VERSION, transport, session, bytes(16), acknowledged, "", clock)
        self.state.on_hello(session, acknowledged, hello)

    def beat(self, highest: int, at_ns: int = 0, clock: ClockState = UNKNOWN_CLOCK, *, session: int = SESSION) -> None:
        stamp = Stamp(EPOCH_NS, StampKind.KERNEL, EPOCH_NS, at_ns, 0)
        self.state.on_heartbeat(session, Heartbeat(highest, EPOCH_NS, clock, {DropReason.AGE: 3}), stamp)

    def exchange(self, offset_ns: int = 0, rtt_ns: int = 1_000_000, *, session: int = SESSION) -> None:
        self.state.on_time(session, TimeReport(ClockSample(offset_ns, rtt_ns)))


def test_over_tcp_what_was_announced_and_is_not_there_will_not_come() -> None:
    path = Path()
    path.state.on_hello(SESSION, 0, None)
    path.event(1)
    path.beat(3)
    assert path.account.total("missing") == 2
    assert path.state.peer_drops == {"age": 3}


def test_over_udp_a_heartbeat_may_overtake_events() -> None:
    path = Path(Transport.UDP)
    path.state.on_hello(SESSION, 0, None)
    path.beat(2, at_ns=5)
    path.event(1)
    path.state.expire(4 + TAIL_NS)
    assert path.account.total("missing") == 0
    path.event(2)
    path.state.expire(5 + TAIL_NS)
    assert (path.account.total("unique"), path.account.total("missing")) == (2, 0)
    path.beat(4, at_ns=9)
    path.state.finish()
    assert path.account.total("missing") == 2


def test_an_impossible_exchange_is_counted_and_changes_nothing() -> None:
    path = Path()
    path.exchange(offset_ns=5)
    path.state.on_time(SESSION, TimeReport(None))
    assert path.state.bad_exchanges == 1
    assert path.state.exchange == ClockSample(5, 1_000_000)


def test_suspicion_is_told_once_for_as_long_as_it_lasts() -> None:
    path = Path()
    path.state.on_hello(SESSION, 0, None)
    with capture_logs() as logs:
        for sequence, delay_ns in enumerate((-5, -5, 1000, -5), 1):
            path.event(sequence, delay_ns=delay_ns)
            path.exchange()
    assert path.state.suspect == "one-way delay is negative"
    assert [line["why"] for line in logs if "why" in line] == ["one-way delay is negative"] * 2
    assert path.account.invalid["negative_backbone"] == 3
    assert path.state.summary(Distribution()).clock_suspect == "one-way delay is negative"


def test_a_forwarders_disrupted_clock_is_told_of_and_measures_nothing_until_it_is_believed() -> None:
    path = Path()
    good = ClockState(True, 0, 10, "chrony", steps=1)
    path.hello(0, clock=good)
    path.event(1)
    path.exchange(offset_ns=1, rtt_ns=1)
    bad = ClockState(False, 0, None, "chrony", steps=2, disrupted=True)
    with capture_logs() as logs:
        for sequence in (2, 3):
            path.beat(sequence - 1, clock=bad)
            path.event(sequence)
        assert path.state.exchange is None
        path.beat(3, clock=ClockState(True, 0, 10, "chrony", steps=2))
        path.event(4)
    assert [line["event"] for line in logs] == [
        "the forwarder's clock was disrupted by its host",
        "the forwarder's clock is believed again",
    ]
    assert [row.validity for row in path.rows] == [
        "without_event_time",
        "clock_disrupted",
        "clock_disrupted",
        "without_event_time",
    ]
    assert [row.backbone_ns for row in path.rows] == [1000, None, None, 1000]
    assert path.account.invalid["clock_disrupted"] == 2


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_after_a_step_of_either_clock_the_exchanges_before_it_are_forgotten(whose: str) -> None:
    path = Path()
    hello = Hello(1, Transport.TCP, SESSION, bytes(16), 0, "", ClockState(True, 0, 10, "chrony", steps=4))
    path.state.on_hello(SESSION, 0, hello)
    path.exchange(offset_ns=1, rtt_ns=1)
    with capture_logs() as logs:
        # The steps of the forwarder's life before this connection are no news.
        path.beat(0, clock=ClockState(True, 0, 10, "chrony", steps=4))
        assert path.state.summary(Distribution()).clock_offset_ms == pytest.approx(1e-6)
        if whose == "ours":
            path.state.on_step()
        else:
            path.beat(0, clock=ClockState(True, 0, 10, "chrony", steps=5))
    assert path.state.exchange is None
    assert [line["event"] for line in logs] == ([] if whose == "ours" else ["the forwarder's wall clock was stepped"])


def test_what_the_original_format_leaves_out_is_read_from_the_message() -> None:
    path = Path()
    path.event(1, "10.0.0.5:4000", stream="")
    assert (path.rows[0].stream, path.rows[0].event_id) == ("btcusdt@trade", 1)
    path.state.know(["ethusdt@depth@100ms", "btcusdt@depth@100ms"])
    path.event(2, "10.0.0.5:4000", stream="")
    assert (path.rows[1].stream, path.rows[1].event_id) == ("btcusdt@trade", 2)


@pytest.mark.parametrize(
    ("arrivals", "sessions", "missing"),
    [
        # The same forwarder on a new connection goes on counting.
        ([("a", 1), ("a", 2), ("b", 3)], 1, 0),
        # A number from a new source that was there already: another life.
        ([("a", 1), ("a", 2), ("b", 1)], 2, 0),
        # Far back from the same source: a restart; a little: out of order.
        ([("a", RESTART_WINDOW + 20), ("a", 1)], 2, 0),
        ([("a", 3), ("a", 1)], 1, 1),
        # Joined on its way, or started with the first ones lost.
        ([("a", JOINED + 1)], 1, 0),
        ([("a", JOINED)], 1, JOINED - 1),
    ],
)
def test_lives_are_told_apart_where_the_format_does_not_say(
    arrivals: list[tuple[str, int]], sessions: int, missing: int
) -> None:
    path = Path()
    for source, sequence in arrivals:
        path.event(sequence, source, stream="")
    assert path.account.sessions.seen == sessions
    assert path.account.total("missing") == missing
    assert path.account.total("unique") == len(arrivals)


def nameless(path: Path, sequence: int, receive_ns: int, source: str = "10.0.0.1:4000") -> None:
    event = LinkEvent(
        sequence, EPOCH_NS + receive_ns, StampKind.KERNEL, None, None, None, "", False, TRADE % (900_000 + sequence)
    )
    stamp = Stamp(EPOCH_NS + receive_ns + 1000, StampKind.KERNEL, EPOCH_NS + receive_ns + 1000, receive_ns, 0)
    path.state.on_link_events(source, [event], stamp, together=True)


@pytest.mark.parametrize("lived", [5, 300, 60_000])
def test_a_forwarder_without_sessions_that_restarts_on_its_port_begins_a_new_account(lived: int) -> None:
    path = Path(Transport.UDP)
    for number in range(1, lived + 1):
        nameless(path, number, number * 1_000_000)
    nameless(path, 2, 2 * 1_000_000)
    for number in range(1, 200):
        nameless(path, number, (lived + 5_000 + number) * 1_000_000)
    assert path.account.sessions.seen == 2
    assert (path.account.duplicates, path.account.total("unique")) == (1, lived + 199)


def test_two_forwarders_on_one_path_are_not_one_whose_clock_is_stepped() -> None:
    path = Path()
    stamp = Stamp(EPOCH_NS, StampKind.KERNEL, EPOCH_NS, 0, 0)
    with capture_logs() as logs:
        for _turn in range(5):
            for session, steps in ((1, 0), (2, 7)):
                clock = ClockState(synchronized=True, offset_ns=0, error_bound_ns=0, source="chrony", steps=steps)
                path.state.on_heartbeat(session, Heartbeat(0, EPOCH_NS, clock, {}), stamp)
    assert logs == []


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("away", [1, 400, 2 * MAX_JUMP])
def test_a_destination_taken_away_and_added_again_misses_nothing_of_what_came_meanwhile(
    transport: Transport, away: int
) -> None:
    path = Path(transport)
    path.hello(0, transport)
    for number in range(1, 501):
        path.event(number)
    path.state.on_leave(SESSION)
    path.hello(500 + away, transport)
    for number in range(501 + away, 601 + away):
        path.event(number)
    path.beat(600 + away)
    path.state.finish()
    path.account.finish()
    counted = {name: path.account.total(name) for name in ("unique", "missing", "given_up", "gap_events", "reordered")}
    assert counted == {"unique": 600, "missing": 0, "given_up": 0, "gap_events": 0, "reordered": 0}
    assert (path.account.sessions.seen, path.account.sessions.leaps) == (1, 0)
    assert path.state.progress(SESSION).highest == 600 + away


def test_a_reconnect_after_a_loss_still_counts_it() -> None:
    path = Path(Transport.UDP)
    path.hello(0, Transport.UDP)
    path.event(1)
    path.beat(4)
    path.hello(1, Transport.UDP)
    path.event(5)
    path.state.finish()
    path.account.finish()
    assert (path.account.total("missing"), path.account.total("gap_events")) == (3, 3)


@pytest.mark.parametrize("ahead", [MAX_JUMP + 3, 5 * MAX_JUMP, 2**64 - 10])
def test_a_heartbeat_far_ahead_is_followed_when_it_holds_and_left_when_it_does_not(ahead: int) -> None:
    path = Path()
    path.hello(0)
    path.event(1)
    path.beat(ahead)
    assert path.account.invalid["absurd_announcement"] == 1
    path.event(2)
    assert (path.account.total("unique"), path.account.total("missing"), path.account.sessions.leaps) == (2, 0, 0)
    path.beat(ahead)
    assert (path.account.sessions.leaps, path.state.progress(SESSION).highest) == (1, ahead)
    path.event(ahead + 1)
    path.beat(ahead + 3)
    assert (path.account.total("unique"), path.account.total("missing")) == (3, 2)
    assert path.account.sessions.seen == 1


def test_nonsense_that_was_followed_makes_no_duplicates_of_what_goes_on() -> None:
    path = Path()
    path.hello(0)
    path.event(900)
    for _again in range(2):
        path.beat(2**63)
    for number in range(901, 911):
        path.event(number)
    assert (path.account.duplicates, path.account.invalid["absurd_sequence"], path.account.sessions.leaps) == (0, 1, 2)
    assert path.account.total("unique") == 10


def test_each_forwarders_clock_is_judged_by_itself_and_a_path_shows_the_worst() -> None:
    path = Path()
    good = ClockState(synchronized=True, offset_ns=0, error_bound_ns=1000, source="chrony")
    poor = ClockState(synchronized=True, offset_ns=0, error_bound_ns=9000, source="chrony")
    path.clock = good
    path.hello(0, clock=good, session=1)
    path.exchange(offset_ns=70, rtt_ns=100, session=1)
    path.hello(0, clock=poor, session=2)
    path.exchange(offset_ns=500_000, rtt_ns=100, session=2)
    assert path.state.exchange == ClockSample(500_000, 100)
    assert path.state.peer_clock == poor
    assert path.state.suspect == "clock exchange and clock bounds disagree"
    # An early event of one says nothing of the other's clock.
    path.event(1, 2, delay_ns=-5)
    path.exchange(offset_ns=70, rtt_ns=100, session=1)
    path.state.on_leave(2)
    assert (path.state.suspect, path.state.peer_clock) == ("", good)
    # Another connection of the same life forgets nothing.
    path.hello(0, clock=good, session=1)
    assert path.state.exchange == ClockSample(70, 100)
    path.state.on_leave(1)
    assert path.state.exchange == ClockSample(70, 100)


def test_what_is_remembered_of_lives_is_bounded_and_their_drops_stay_in_the_sum() -> None:
    path = Path()
    for session in range(5 * MAX_SESSIONS):
        path.hello(0, session=session)
        path.beat(0, session=session)
        path.state.on_leave(session)
    assert len(path.state._peers) <= MAX_SESSIONS
    assert path.state.peer_drops == {"age": 3 * 5 * MAX_SESSIONS}


def test_extreme_numbers_and_times_are_measured_counted_and_written(tmp_path: pathlib.Path) -> None:
    rng = random.Random(223)
    extremes = (0, 1, -1, 2**31, 2**62, 2**63 - 1, -(2**63), EPOCH_NS)
    path = Path(Transport.UDP)
    rows = RowWriter(tmp_path / "rows.csv")
    path.account._row = rows.add
    path.state.on_hello(SESSION, 0, None)
    count = 3_000
    for number in range(count):
        event = LinkEvent(
            rng.choice((number + 1, number + 1, 2**63, 2**64 - 1, rng.getrandbits(64) or 1)),
            rng.choice(extremes),
            rng.choice(tuple(StampKind)),
            rng.choice((None, *extremes)),
            rng.choice((None, *extremes)),
            rng.choice((None, 0, 2**63, 2**64 - 1)),
            rng.choice(("x@trade", "", '","\n')),
            rng.random() < 0.5,
            TRADE % number,
        )
        at_ns = rng.choice(extremes[:-2])
        stamp = Stamp(EPOCH_NS, StampKind.KERNEL, EPOCH_NS + 1, number, rng.choice((0, 0, at_ns)))
        path.state.on_link_events(SESSION, [event], stamp, together=True)
        beat = Heartbeat(rng.choice((number, 2**64 - 1)), rng.choice(extremes), UNKNOWN_CLOCK, {})
        path.state.on_heartbeat(SESSION, beat, stamp)
        path.exchange(rng.choice(extremes), abs(rng.choice(extremes)))
        path.state.expire(number)
        path.account.expire(number)
    path.state.finish()
    path.account.finish()
    assert path.account.events + path.account.invalid["absurd_sequence"] == count
    assert path.account.events > count / 3
    rows.open()
    asyncio.run(rows.close())
    assert (rows.written, rows.lost, rows.errors) == (path.account.events, 0, 0)
    with rows.file.open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == path.account.events


def test_a_session_whose_first_events_come_out_of_order_is_accounted_for_like_any() -> None:
    """Some tools take the first arrival for the start, and count differently from then on."""
    path = Path(Transport.UDP)
    path.hello(0, Transport.UDP)
    for number in (3, 1, 2, 5, 4, 6):
        path.event(number)
    path.beat(6)
    path.state.finish()
    path.account.finish()
    assert (path.account.total("unique"), path.account.total("missing"), path.account.total("gap_events")) == (6, 0, 0)
    assert (path.account.total("reordered"), path.account.duplicates) == (3, 0)


def test_copies_make_no_negative_loss_and_hide_none() -> None:
    """RFC 3550's loss is expected minus received, copies included, and can fall below zero."""
    path = Path(Transport.UDP)
    path.hello(0, Transport.UDP)
    for number in (1, 2, 2, 2, 4, 4, 4):
        path.event(number)
    path.state.finish()
    path.account.finish()
    assert (path.account.total("missing"), path.account.total("gap_events"), path.account.duplicates) == (1, 1, 4)


def test_a_first_number_that_is_garbled_costs_that_event_and_no_other() -> None:
    path = Path(Transport.UDP)
    path.hello(0, Transport.UDP)
    path.event(2**40)
    for number in range(1, 50):
        path.event(number)
    path.beat(49)
    path.state.finish()
    path.account.finish()
    assert (path.account.total("unique"), path.account.total("missing")) == (49, 0)
    assert (path.account.invalid["absurd_sequence"], path.account.duplicates) == (1, 0)
