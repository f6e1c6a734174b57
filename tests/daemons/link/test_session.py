"""Both ends wired to each other, over bytes that may be split anywhere."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import LinkError, WireError
from daemons.link.control import encode_control
from daemons.link.decoder import MAX_STRANGER_BODY, FrameDecoder
from daemons.link.events import encode_event
from daemons.link.frame import FRAME_MAGIC, HEAD, Kind
from daemons.link.messages import (
    Ack,
    Bye,
    Challenge,
    ClockReply,
    ClockRequest,
    Heartbeat,
    Hello,
    Reject,
    RejectReason,
    Shared,
    Transport,
    Welcome,
)
from daemons.link.session import ForwarderSession, Introduction, Offer, ReceiverSession, TimeReport
from daemons.records import UNKNOWN_CLOCK, LinkEvent, Stamp, StampKind
from daemons.secret import Secret
from daemons.timing.exchange import ClockSample

KEY = b"an ordinary shared secret"
SESSION, TOKEN = 77, 99
EVENT = encode_event(1, 10, 0, None, 20, 5, b"btcusdt@trade", b"{}")


def stamp(ns: int = 0, step_ns: int = 0) -> Stamp:
    return Stamp(ns, StampKind.KERNEL, ns, ns, step_ns)


def receiver(
    *,
    key: bytes | tuple[bytes, ...] = b"",
    path: str = "backbone",
    transports: frozenset[Transport] = frozenset(Transport),
    nonce: bytes = b"r" * 16,
    highest: int = 0,
) -> ReceiverSession:
    known = {SESSION: highest}
    keys = tuple(Secret(one) for one in (key if isinstance(key, tuple) else (key,)) if one)
    return ReceiverSession(
        lambda: [Offer(keys=keys, path=path, transports=transports, highest_of=lambda one: known.get(one, 0))],
        nonce=nonce,
        token=TOKEN,
    )


def forwarder(
    *, key: bytes = b"", path: str = "", transport: Transport = Transport.TCP, nonce: bytes = b"f" * 16
) -> ForwarderSession:
    return ForwarderSession(
        Introduction(Secret(key) if key else None, SESSION, path, transport, 12, nonce), UNKNOWN_CLOCK
    )


def challenged(one: ForwarderSession, other: ReceiverSession) -> bytes:
    """Let the receiver speak; return the forwarder's HELLO."""
    one.receive_data(other.data_to_send(), stamp(), lambda: 0)
    return one.data_to_send()


def joined(one: ForwarderSession, other: ReceiverSession) -> Hello:
    (hello,) = other.receive_data(challenged(one, other), stamp())
    one.receive_data(other.data_to_send(), stamp(), lambda: 0)
    assert isinstance(hello, Hello)
    return hello


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("path", ["", "backbone"])
def test_a_handshake(key: bytes, transport: Transport, path: str) -> None:
    one, other = forwarder(key=key, transport=transport, path=path), receiver(key=key, highest=8)
    hello = joined(one, other)
    assert (hello.session, hello.transport, hello.path, hello.acknowledged) == (SESSION, transport, path, 12)
    assert other.hello == hello
    assert one.welcome is not None
    assert (one.welcome.token, one.welcome.highest) == (TOKEN, 8)


@given(st.data())
def test_any_split_gives_the_same_conversation(data: st.DataObject) -> None:
    one, other = forwarder(key=KEY), receiver(key=KEY)
    heard: list[object] = []
    acks: list[Ack | Shared] = []

    def pieces(stream: bytes) -> list[bytes]:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
        return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    def to_forwarder() -> None:
        for piece in pieces(other.data_to_send()):
            acks.extend(one.receive_data(piece, stamp(200), lambda: 230))

    def to_receiver(stream: bytes) -> None:
        for piece in pieces(stream):
            heard.extend(other.receive_data(piece, stamp(160)))

    to_forwarder()
    to_receiver(one.data_to_send())
    to_forwarder()
    other.ask_time(lambda: 100)
    other.acknowledge(Ack(1, 1, 0))
    other.acknowledge(Ack(2, 1, 1))
    to_forwarder()
    beat = Heartbeat(1, 5, UNKNOWN_CLOCK, {})
    answer = one.data_to_send()
    to_receiver(answer + one.seal(EVENT) + one.seal(encode_control(beat) + encode_control(Bye(1))))
    assert [type(item) for item in heard] == [Hello, TimeReport, LinkEvent, Heartbeat, Bye]
    assert heard[1] == TimeReport(ClockSample(85, 30), 230)
    assert heard[3:] == [beat, Bye(1)]
    assert acks == [Ack(1, 1, 0), Ack(2, 1, 1)]


def refusal(one: ForwarderSession, other: ReceiverSession) -> tuple[str, str]:
    """Return the reasons for which the receiver refused, and the forwarder learnt of it."""
    with pytest.raises(LinkError) as at_receiver:
        other.receive_data(challenged(one, other), stamp())
    assert other.hello is None
    with pytest.raises(LinkError) as at_forwarder:
        one.receive_data(other.data_to_send(), stamp(), lambda: 0)
    assert one.welcome is None
    return at_receiver.value.reason, at_forwarder.value.reason


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (forwarder(key=KEY), receiver(key=KEY + b"!"), "key"),
        (forwarder(key=KEY), receiver(), "key"),
        (forwarder(), receiver(key=KEY), "key"),
        (forwarder(path="other"), receiver(), "path"),
        (forwarder(path="ü" * 120), receiver(path="ä" * 32), "path"),
        (forwarder(transport=Transport.UDP), receiver(transports=frozenset((Transport.TCP,))), "transport"),
    ],
)
def test_who_does_not_fit_is_refused_and_told_why(one: ForwarderSession, other: ReceiverSession, reason: str) -> None:
    assert refusal(one, other) == (reason, reason)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_another_version_is_refused_and_told_so(version: int) -> None:
    other = receiver(key=KEY)
    hello = Hello(version, Transport.TCP, SESSION, bytes(16), 0, "", UNKNOWN_CLOCK)
    with pytest.raises(LinkError, match=f"speaks version {version}, we 2") as caught:
        other.receive_data(encode_control(hello), stamp())
    assert caught.value.reason == "version"
    (_challenge, reject) = FrameDecoder().feed(other.data_to_send())
    assert reject == Reject(RejectReason.VERSION, f"it speaks version {version}, we 2; upgrade the older")


def test_an_older_receiver_is_noticed() -> None:
    with pytest.raises(LinkError, match="the receiver speaks version 1, we 2") as caught:
        forwarder().receive_data(encode_control(Challenge(1, bytes(16))), stamp(), lambda: 0)
    assert caught.value.reason == "version"


def test_a_newer_receiver_is_answered_in_our_version_and_decides() -> None:
    one = forwarder()
    one.receive_data(encode_control(Challenge(9, bytes(16))), stamp(), lambda: 0)
    (hello,) = FrameDecoder().feed(one.data_to_send())
    assert isinstance(hello, Hello)
    assert hello.version == 2


def test_a_recorded_introduction_is_worth_nothing() -> None:
    recorded = challenged(forwarder(key=KEY), receiver(key=KEY, nonce=b"1" * 16))
    with pytest.raises(LinkError) as caught:
        receiver(key=KEY, nonce=b"2" * 16).receive_data(recorded, stamp())
    assert caught.value.reason == "key"


def test_a_recorded_consent_is_worth_nothing() -> None:
    first, other = forwarder(key=KEY, nonce=b"1" * 16), receiver(key=KEY)
    other.receive_data(challenged(first, other), stamp())
    recorded = other.data_to_send()
    second = forwarder(key=KEY, nonce=b"2" * 16)
    challenged(second, receiver(key=KEY))
    with pytest.raises(LinkError) as caught:
        second.receive_data(recorded, stamp(), lambda: 0)
    assert caught.value.reason == "peer_key"


@pytest.mark.parametrize(
    "changed", [{"session": 78}, {"acknowledged": 13}, {"path": ""}, {"transport": Transport.UDP}, {"mac": bytes(32)}]
)
def test_every_word_of_an_introduction_is_signed(changed: dict[str, object]) -> None:
    one, other = forwarder(key=KEY, path="backbone"), receiver(key=KEY)
    (hello,) = FrameDecoder().feed(challenged(one, other))
    assert isinstance(hello, Hello)
    with pytest.raises(LinkError) as caught:
        other.receive_data(encode_control(msgspec.structs.replace(hello, **changed)), stamp())
    assert caught.value.reason == "key"


@pytest.mark.parametrize("changed", [{"token": 1}, {"highest": 1}, {"mac": b""}, {"mac": bytes(32)}])
def test_every_word_of_a_consent_is_signed(changed: dict[str, object]) -> None:
    one, other = forwarder(key=KEY), receiver(key=KEY)
    other.receive_data(challenged(one, other), stamp())
    (welcome,) = FrameDecoder().feed(other.data_to_send())
    assert isinstance(welcome, Welcome)
    with pytest.raises(LinkError) as caught:
        one.receive_data(encode_control(msgspec.structs.replace(welcome, **changed)), stamp(), lambda: 0)
    assert caught.value.reason == "peer_key"
    assert one.welcome is None


BEFORE_HELLO = [
    EVENT,
    encode_control(Bye(1)),
    encode_control(Ack(1, 1, 0)),
    encode_control(Heartbeat(1, 1, UNKNOWN_CLOCK, {})),
]


@pytest.mark.parametrize("data", BEFORE_HELLO)
def test_a_stranger_may_say_nothing_but_hello(data: bytes) -> None:
    with pytest.raises(WireError, match="came before HELLO"):
        receiver().receive_data(data, stamp())


def test_a_stranger_may_not_make_long_speeches() -> None:
    with pytest.raises(WireError) as caught:
        receiver().receive_data(HEAD.pack(FRAME_MAGIC, Kind.HELLO, MAX_STRANGER_BODY + 1), stamp())
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode_control(Ack(1, 1, 0)),
        lambda: encode_control(ClockRequest(1, 1)),
        lambda: encode_control(Challenge(1, bytes(16))),
        lambda: challenged(forwarder(), receiver()),
    ],
)
def test_after_hello_only_a_forwarders_words_are_taken(make: Callable[[], bytes]) -> None:
    one, other = forwarder(), receiver()
    joined(one, other)
    with pytest.raises(WireError, match="came out of turn"):
        other.receive_data(make(), stamp())


@pytest.mark.parametrize(
    "data",
    [encode_control(Ack(1, 1, 0)), encode_control(ClockRequest(1, 1)), encode_control(Welcome(1, 1, 1)), EVENT],
)
def test_a_receiver_must_introduce_itself_first(data: bytes) -> None:
    with pytest.raises(WireError, match="came out of turn"):
        forwarder().receive_data(data, stamp(), lambda: 0)


def test_a_second_welcome_or_challenge_is_out_of_turn() -> None:
    for data in (encode_control(Welcome(1, 1, 1)), encode_control(Challenge(1, bytes(16)))):
        one = forwarder()
        joined(one, receiver())
        with pytest.raises(WireError, match="came out of turn"):
            one.receive_data(data, stamp(), lambda: 0)


def answered(other: ReceiverSession, reply: ClockReply, at: Stamp) -> TimeReport:
    (report,) = other.receive_data(encode_control(reply), at)
    assert isinstance(report, TimeReport)
    return report


def test_clock_answers_that_answer_no_question_of_ours_are_no_samples() -> None:
    other = receiver()
    joined(forwarder(), other)
    for _ in range(9):
        other.ask_time(lambda: 100)
    good = ClockReply(9, 100, 150, 160)
    assert answered(other, msgspec.structs.replace(good, number=10), stamp(200)).sample is None
    assert answered(other, msgspec.structs.replace(good, number=1), stamp(200)).sample is None
    assert answered(other, msgspec.structs.replace(good, number=8, t1_ns=99), stamp(200)).sample is None
    assert answered(other, msgspec.structs.replace(good, number=7), stamp(200, step_ns=5)).sample is None
    assert answered(other, msgspec.structs.replace(good, number=6), stamp(90)).sample is None
    assert answered(other, good, stamp(200)) == TimeReport(ClockSample(5, 90), 160)
    assert answered(other, good, stamp(200)).sample is None


def test_a_forwarder_may_have_any_of_the_receivers_keys_and_is_answered_with_its_own() -> None:
    keys = (KEY, KEY + b"2", KEY + b"3")
    for key in keys:
        one, other = forwarder(key=key), receiver(key=keys)
        other.receive_data(challenged(one, other), stamp())
        one.receive_data(other.data_to_send(), stamp(), lambda: 0)
        assert one.welcome is not None
        assert other.key == Secret(key)
    for stranger in (forwarder(key=KEY + b"4"), forwarder()):
        other = receiver(key=keys)
        with pytest.raises(LinkError, match="key"):
            other.receive_data(challenged(stranger, other), stamp())
        assert other.key is None
