import asyncio
import random
from collections.abc import Sequence
from typing import Literal

import pytest

from daemons.errors import LinkError, StreamError
from daemons.link.decoder import MAX_BODY, FrameDecoder
from daemons.link.forwarded import MAX_LINE, LineDecoder
from daemons.link.messages import DropReason
from daemons.link.sending.buffer import Pending
from daemons.link.sending.sender import MAX_DATAGRAM_BYTES, LinkSender
from daemons.link.sending.settings import DestinationSection, LinkSettings
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.reasons import LinkReason, StreamReason
from daemons.records import UNKNOWN_CLOCK, LinkEvent, Stamp, StampKind
from daemons.stream.departures import Departed
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.made import feed_event


class ScriptedCarrier:
    """Takes frames while it is not blocked."""

    paced = False

    def __init__(self, *, blocked: bool = False) -> None:
        self.blocked = blocked
        self.frames: list[bytes] = []

    def send(self, pendings: Sequence[Pending], told: Departed | None = None) -> int:
        del told
        self.frames += [pending.frame for pending in pendings]
        return len(pendings)

    @property
    def delayed(self) -> dict[int, bool]:
        """Sequence and flag of every event sent."""
        events = FrameDecoder(MAX_BODY).feed(b"".join(self.frames))
        return {event.sequence: event.delayed for event in events if isinstance(event, LinkEvent)}


def offer(sender: LinkSender, sequence: int) -> None:
    event = feed_event("btcusdt@trade", sequence)
    sender.offer(sequence, [event], Stamp(1, StampKind.KERNEL, 1, 1))


async def connection(sender: LinkSender, carrier: ScriptedCarrier, first: int) -> None:
    """Live over a carrier until it is lost; offer two events, the second after it had room."""
    ended: asyncio.Future[StreamError | LinkError] = asyncio.get_running_loop().create_future()
    life = asyncio.ensure_future(sender._live(carrier, ended))
    await asyncio.sleep(0)
    offer(sender, first)
    carrier.blocked = False
    offer(sender, first + 1)
    ended.set_result(StreamError(StreamReason.RESET, "cut"))
    await life
    sender.buffer.connection_lost()


async def scenario() -> tuple[ScriptedCarrier, ScriptedCarrier, LinkSender]:
    stamper = Stamper(SystemClock())
    try:
        hold = BucketHistogram(octaves(-18, 2))
        settings = LinkSettings(DestinationSection(address="there:1"), "there", 1)
        sender = LinkSender(
            settings, 7, stamper, random.Random(1), hold, BucketHistogram(octaves(-18, 2)), lambda: UNKNOWN_CLOCK
        )
        offer(sender, 1)
        first, second = ScriptedCarrier(), ScriptedCarrier(blocked=True)
        await connection(sender, first, 2)
        sender.buffer.acknowledge(3)
        await connection(sender, second, 4)
        return first, second, sender
    finally:
        stamper.close()


def test_what_waited_for_a_connection_is_delayed_and_what_a_live_one_held_up_is_not() -> None:
    first, _second, sender = asyncio.run(scenario())
    # The first waited for the connection; the others came while it was up.
    assert first.delayed == {1: True, 2: False, 3: False}
    assert sender.buffer.counts.offered == sender.buffer.counts.forwarded + sender.buffer.buffered


def test_the_hold_is_of_every_event_handed_over_whether_it_had_to_wait_or_not() -> None:
    first, second, sender = asyncio.run(scenario())
    assert len(first.delayed) == 3
    assert sender._hold.count == len(first.delayed) + len(second.delayed) > 3


def test_events_of_a_connection_that_was_stalled_until_it_broke_are_delayed_on_the_next() -> None:
    async def stalled() -> dict[int, bool]:
        stamper = Stamper(SystemClock())
        try:
            hold = BucketHistogram(octaves(-18, 2))
            settings = LinkSettings(DestinationSection(address="there:1"), "there", 1)
            sender = LinkSender(
                settings, 7, stamper, random.Random(1), hold, BucketHistogram(octaves(-18, 2)), lambda: UNKNOWN_CLOCK
            )
            loop = asyncio.get_running_loop()
            for carrier in (ScriptedCarrier(blocked=True), ScriptedCarrier()):
                ended: asyncio.Future[StreamError | LinkError] = loop.create_future()
                life = asyncio.ensure_future(sender._live(carrier, ended))
                await asyncio.sleep(0)
                offer(sender, sender.buffer.counts.offered + 1)
                ended.set_result(LinkError(LinkReason.SILENT, "cut"))
                await life
                sender.buffer.connection_lost()
            return carrier.delayed
        finally:
            stamper.close()

    assert asyncio.run(stalled()) == {1: True, 2: False}


@pytest.mark.parametrize(
    ("transport", "form", "fits"),
    [
        # Beside the payload: the event's fixed fields, and 13 bytes of the stream's name.
        ("tcp", "binary", MAX_BODY - 42 - 13),
        ("udp", "binary", MAX_DATAGRAM_BYTES - 48 - 13),
        ("tcp", "json", MAX_LINE - 84),
        ("udp", "json", MAX_DATAGRAM_BYTES - 84),
    ],
)
def test_an_event_that_no_receiver_takes_is_dropped_and_those_beside_it_are_sent(
    transport: Literal["tcp", "udp"], form: Literal["binary", "json"], fits: int
) -> None:
    async def work() -> LinkSender:
        stamper = Stamper(SystemClock())
        try:
            hold = BucketHistogram(octaves(-18, 2))
            section = DestinationSection(address="there:1", transport=transport, format=form)
            settings = LinkSettings(section, "there", 1)
            sender = LinkSender(
                settings, 7, stamper, random.Random(1), hold, BucketHistogram(octaves(-18, 2)), lambda: UNKNOWN_CLOCK
            )
            stamp = Stamp(1, StampKind.KERNEL, 1, 1)
            for sequence, size in enumerate((2, fits, fits + 1, fits + (1 << 20), 2), 1):
                sender.offer(sequence, [feed_event("btcusdt@trade", sequence, payload=b"x" * size)], stamp)
            return sender
        finally:
            stamper.close()

    buffer = asyncio.run(work()).buffer
    assert buffer.counts.dropped[DropReason.TOO_LARGE] == 2
    assert (buffer.counts.offered, buffer.buffered, sum(buffer.counts.dropped.values())) == (5, 3, 2)
    largest = max((taken[0].frame for taken in iter(buffer.take, None)), key=len)
    if form == "binary" and transport == "tcp":
        (event,) = FrameDecoder(MAX_BODY).feed(largest)
        assert isinstance(event, LinkEvent)
        assert len(event.payload) == fits
    elif form == "json":
        (events, bad) = LineDecoder().feed(largest + b"\n")
        assert (len(events[0].payload), bad) == (fits, 0)
    else:
        assert len(largest) == MAX_DATAGRAM_BYTES
