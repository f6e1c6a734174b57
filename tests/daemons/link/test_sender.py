import asyncio
import random
from collections.abc import Sequence

from daemons.errors import LinkError, TransportError
from daemons.link.buffer import Pending
from daemons.link.sender import LinkSender, LinkSettings
from daemons.link.wire import MAX_BODY, FrameDecoder
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.records import UNKNOWN_CLOCK, LinkEvent, Stamp, StampKind
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.made import feed_event


class ScriptedCarrier:
    """Takes frames while it is not blocked."""

    paced = False

    def __init__(self, *, blocked: bool = False) -> None:
        self.blocked = blocked
        self.frames: list[bytes] = []

    def send(self, pendings: Sequence[Pending]) -> int:
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
    ended: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
    life = asyncio.ensure_future(sender._live(carrier, ended))
    await asyncio.sleep(0)
    offer(sender, first)
    carrier.blocked = False
    offer(sender, first + 1)
    ended.set_result(LinkError("reset", "cut"))
    await life
    sender.buffer.connection_lost()


async def scenario() -> tuple[ScriptedCarrier, ScriptedCarrier, LinkSender]:
    stamper = Stamper(SystemClock())
    try:
        hold = BucketHistogram(octaves(-18, 2, 4))
        settings = LinkSettings("there:1", "there", 1)
        sender = LinkSender(settings, 7, stamper, random.Random(1), hold, lambda: UNKNOWN_CLOCK)
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
    assert sender.buffer.offered == sender.buffer.forwarded + sender.buffer.buffered


def test_events_of_a_connection_that_was_stalled_until_it_broke_are_delayed_on_the_next() -> None:
    async def stalled() -> dict[int, bool]:
        stamper = Stamper(SystemClock())
        try:
            hold = BucketHistogram(octaves(-18, 2, 4))
            settings = LinkSettings("there:1", "there", 1)
            sender = LinkSender(settings, 7, stamper, random.Random(1), hold, lambda: UNKNOWN_CLOCK)
            loop = asyncio.get_running_loop()
            for carrier in (ScriptedCarrier(blocked=True), ScriptedCarrier()):
                ended: asyncio.Future[TransportError] = loop.create_future()
                life = asyncio.ensure_future(sender._live(carrier, ended))
                await asyncio.sleep(0)
                offer(sender, sender.buffer.offered + 1)
                ended.set_result(LinkError("silent", "cut"))
                await life
                sender.buffer.connection_lost()
            return carrier.delayed
        finally:
            stamper.close()

    assert asyncio.run(stalled()) == {1: True, 2: False}
