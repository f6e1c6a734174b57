"""A forwarder whose destinations are edited while events come: each event of each destination is in one counter."""

import asyncio
import ipaddress
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from daemons.configuration.forwarder import ForwarderConfig
from daemons.feed.settings import FeedFields
from daemons.forwarder.program import Forwarder
from daemons.link.messages import DropReason
from daemons.link.receiving.settings import ListenerSettings
from daemons.link.sending.settings import DestinationSection
from daemons.reasons import LinkReason
from daemons.records import Stamp, StampKind
from daemons.secret import Secret
from daemons.service.settings.config import MetricsSection
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.link.listening import Here, Sink, listener_settings
from tests.daemons.made import feed_event
from tests.daemons.waiting import until

KEY, OTHER_KEY = b"0123456789abcdef", b"fedcba9876543210"


class Trial:
    """A forwarder and what it sends to; events are offered by hand."""

    def __init__(self, drain_seconds: float) -> None:
        self.stamper = Stamper(SystemClock())
        self.config = ForwarderConfig(
            feed=FeedFields(url="ws://127.0.0.1:1"), metrics=MetricsSection(listen=""), drain_seconds=drain_seconds
        )
        self.forwarder = Forwarder(self.config, lambda: self.config)
        self.offered: dict[str, int] = {}

    def offer(self, count: int) -> None:
        events = [feed_event("btcusdt@trade", number) for number in range(count)]
        steady_ns = self.stamper.clock.monotonic_ns()
        self.forwarder.on_events(events, Stamp(steady_ns, StampKind.KERNEL, steady_ns, steady_ns))
        for sender in self.forwarder.links.senders:
            self.offered[sender.settings.label] = self.offered.get(sender.settings.label, 0) + count

    async def edit(self, *sections: DestinationSection) -> None:
        """Reload with these destinations, offering an event in every turn of the loop meanwhile."""
        fields = {name: getattr(self.config, name) for name in self.config.__struct_fields__}
        self.config = ForwarderConfig(**{**fields, "destination": sections})
        reload = asyncio.ensure_future(self.forwarder.reload())
        while not reload.done():
            self.offer(1)
            await asyncio.sleep(0)
        await reload

    def assert_balanced(self) -> None:
        """See that every event offered to a destination is delivered, given up or waiting."""
        for name, counts in self.forwarder.links.left.items():
            assert counts.events.offered == self.offered.get(name, 0)
            assert counts.events.buffered == 0
        for sender in self.forwarder.links.senders:
            assert sender.counts.events.offered == self.offered.get(sender.settings.label, 0)
            assert sender.counts.events.buffered == sender.buffer.buffered


@asynccontextmanager
async def trial(*receivers: tuple[Sink, bytes], drain_seconds: float = 0.2) -> AsyncIterator[tuple[Trial, list[Here]]]:
    made = Trial(drain_seconds)
    heres = [Here(made.stamper, sink, listener_settings(keys=(Secret(key),) if key else ())) for sink, key in receivers]
    await made.forwarder.start()
    try:
        yield made, heres
    finally:
        await made.forwarder.stop()
        for here in heres:
            await here.close()
        made.stamper.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 300))


def section(here: Here, **changed: Any) -> DestinationSection:
    return DestinationSection(**{"address": f"127.0.0.1:{here.port}", "reconnect_max_seconds": 0.01, **changed})


def connected(made: Trial) -> Callable[[], bool]:
    return lambda: all(sender.connected for sender in made.forwarder.links.senders)


def test_a_destination_that_joins_or_comes_back_begins_after_what_was_used_before() -> None:
    async def work() -> None:
        async with trial((Sink(), b"")) as (made, (here,)):
            for _time in range(2):
                made.offer(50)
                before = made.forwarder.sequence
                await made.edit(section(here))
                (sender,) = made.forwarder.links.senders
                assert sender.buffer.acknowledged >= before
                await made.edit()
            made.assert_balanced()

    run(work)


def test_an_edited_destination_keeps_its_buffer_its_counts_and_its_connection() -> None:
    async def work() -> None:
        async with trial((Sink(acknowledges=False), b"")) as (made, (here,)):
            await made.edit(section(here))
            await until(connected(made))
            made.offer(100)
            (before,) = made.forwarder.links.senders
            waiting = before.buffer.buffered
            await made.edit(section(here, buffer_seconds=5.0, reconnect_max_seconds=0.02))
            (after,) = made.forwarder.links.senders
            assert after is before
            assert after.buffer.buffered > waiting
            assert sum(after.buffer.counts.dropped.values()) == 0
            assert after.counts.reconnects[LinkReason.RELOAD] == 0
            assert here.listener.counts.connections == 1
            made.assert_balanced()

    run(work)


def test_a_narrower_bound_holds_from_the_reload_on() -> None:
    async def work() -> None:
        async with trial() as (made, _none):
            nobody = DestinationSection(address="127.0.0.1:1")
            await made.edit(nobody)
            made.offer(100)
            await made.edit(DestinationSection(address="127.0.0.1:1", buffer_events=10))
            (sender,) = made.forwarder.links.senders
            assert sender.buffer.buffered == 10
            made.assert_balanced()

    run(work)


def test_another_transport_goes_on_counting() -> None:
    async def work() -> None:
        sink = Sink()
        async with trial((sink, b"")) as (made, (here,)):
            for transport in ("tcp", "udp", "tcp", "udp"):
                await made.edit(section(here, transport=transport))
                await until(connected(made))
                made.offer(10)
                made.assert_balanced()
            (sender,) = made.forwarder.links.senders
            # What was given up when the link was changed may have arrived all the same.
            await until(lambda: len(sink.sequences) >= sender.buffer.counts.forwarded and not sender.buffer.buffered)
            # Each number once: nobody else sends for this destination.
            assert len(set(sink.sequences)) == len(sink.sequences)

    run(work)


def test_a_destination_taken_away_and_added_again_goes_on_counting() -> None:
    async def work() -> None:
        async with trial((Sink(), b""), (Sink(), b"")) as (made, (one, other)):
            for _turn in range(3):
                await made.edit(section(one), section(other))
                await until(connected(made))
                made.offer(10)
                await made.edit(section(one))
                made.assert_balanced()
                made.offer(10)
            assert set(made.forwarder.links.left) == {f"127.0.0.1:{other.port}"}

    run(work)


def test_what_a_destination_was_offered_before_it_is_taken_away_is_delivered_while_events_go_on() -> None:
    async def work() -> None:
        sink = Sink()
        async with trial((sink, b""), drain_seconds=60.0) as (made, (here,)):
            for _turn in range(3):
                await made.edit(section(here, transport="tcp"))
                await until(connected(made))
                made.offer(300)
                await made.edit()
                made.assert_balanced()
                (counts,) = made.forwarder.links.left.values()
                assert sum(counts.events.dropped.values()) == 0
                assert (
                    counts.events.forwarded == counts.events.offered == len(set(sink.sequences)) == len(sink.sequences)
                )

    run(work)


def test_another_transport_loses_nothing_while_events_go_on() -> None:
    async def work() -> None:
        sink = Sink()
        async with trial((sink, b""), drain_seconds=60.0) as (made, (here,)):
            for transport in ("tcp", "udp", "tcp", "udp", "tcp"):
                await made.edit(section(here, transport=transport))
                await until(connected(made))
                made.offer(10)
                made.assert_balanced()
            (sender,) = made.forwarder.links.senders
            await until(lambda: not sender.buffer.buffered)
            events = sender.counts.events
            assert sum(events.dropped.values()) == 0
            assert sorted(sink.sequences) == list(
                range(made.forwarder.sequence - events.offered + 1, made.forwarder.sequence + 1)
            )

    run(work)


def test_a_destination_that_is_about_to_come_back_is_waited_for() -> None:
    async def work() -> None:
        sink = Sink()
        async with trial((sink, b""), drain_seconds=60.0) as (made, (here,)):
            await made.edit(section(here))
            await until(connected(made))
            (sender,) = made.forwarder.links.senders
            made.offer(10)
            # As when a network that was gone has made the receiver give the connection up.
            here.listener.adopt(listener_settings(allowed=(ipaddress.ip_network("10.0.0.0/8"),)))
            await until(lambda: not sender.connected)
            made.offer(10)
            here.listener.adopt(listener_settings())
            await made.edit()
            (counts,) = made.forwarder.links.left.values()
            assert counts.events.forwarded == counts.events.offered == len(set(sink.sequences))

    run(work)


def test_edits_at_random_leave_no_event_uncounted() -> None:
    rng = random.Random(22)

    async def work() -> None:
        silent, well = Sink(acknowledges=False), Sink()
        async with trial((silent, b""), (well, b"")) as (made, heres):
            for _turn in range(12):
                chosen = [here for here in heres if rng.random() < 0.8]
                await made.edit(
                    *(
                        section(
                            here,
                            transport=rng.choice(("tcp", "udp")),
                            path_name=rng.choice(("", "backbone")),
                            buffer_events=rng.choice((50, 5000)),
                        )
                        for here in chosen
                    )
                )
                made.offer(rng.randrange(200))
                made.assert_balanced()
                running = [task for task in made.forwarder.links.tasks.values() if not task.done()]
                assert len(running) == len(chosen)

    run(work)


def test_reloads_without_end_leave_no_task_and_no_descriptor() -> None:
    async def work() -> None:
        async with trial((Sink(), b""), (Sink(), b""), drain_seconds=60.0) as (made, heres):

            def held() -> tuple[int, int, int]:
                peers = sum(here.listener.counts.peers for here in heres)
                # The feed, which has nobody to connect to, comes and goes.
                names = (str(task.get_coro()) for task in asyncio.all_tasks())
                links = sum("LinkSender" in name or "Uplink" in name for name in names)
                return links, sum(1 for _one in Path("/proc/self/fd").iterdir()), peers

            await made.edit()
            before = held()
            for turn in range(30):
                transport = ("tcp", "udp")[turn & 1]
                await made.edit(*(section(here, transport=transport) for here in heres))
                if turn % 4 == 0:
                    await until(connected(made))
                if turn % 3 == 0:
                    await made.edit()
            await made.edit()
            await until(lambda: held() == before)
            made.assert_balanced()

    run(work)


def test_another_key_under_the_same_name_ends_the_old_connection_on_either_side(tmp_path: Path) -> None:
    file = tmp_path / "link.key"

    def keep(key: bytes) -> None:
        file.write_bytes(key)
        file.chmod(0o600)

    async def work() -> None:
        keep(KEY)
        async with trial((Sink(), KEY)) as (made, (here,)):
            listener = here.listener
            await made.edit(section(here, key_file=str(file)))
            await until(connected(made))
            (sender,) = made.forwarder.links.senders
            # Here first: the connection is ended, and the old key refused.
            listener.adopt(listener_settings(keys=(Secret(OTHER_KEY),)))
            assert listener.counts.peers == 0
            await until(lambda: sender.counts.reconnects[LinkReason.KEY] > 0)
            assert listener.counts.refusals[LinkReason.KEY] > 0
            keep(OTHER_KEY)
            await made.edit(section(here, key_file=str(file)))
            await until(connected(made))
            # Then there first.
            keep(KEY)
            await made.edit(section(here, key_file=str(file)))
            assert sender.counts.reconnects[LinkReason.RELOAD] == 1
            await until(lambda: listener.counts.peers == 0 and sender.counts.reconnects[LinkReason.KEY] > 1)
            listener.adopt(listener_settings(keys=(Secret(KEY),)))
            await until(connected(made))
            made.assert_balanced()

    run(work)


def test_a_source_that_is_allowed_no_more_is_disconnected() -> None:
    async def work() -> None:

        async with trial((Sink(), b"")) as (made, (here,)):
            await made.edit(section(here))
            await until(connected(made))
            here.listener.adopt(listener_settings(allowed=(ipaddress.ip_network("127.0.0.0/8"),)))
            assert here.listener.counts.peers == 1
            here.listener.adopt(listener_settings(allowed=(ipaddress.ip_network("10.0.0.0/8"),)))
            assert here.listener.counts.peers == 0
            await until(lambda: here.listener.counts.refusals[LinkReason.SOURCE] > 0)

    run(work)


def test_a_key_is_changed_without_an_event_lost_or_a_forwarder_refused(tmp_path: Path) -> None:
    file = tmp_path / "link.key"
    file.write_bytes(KEY)
    file.chmod(0o600)
    old, new = Secret(KEY), Secret(OTHER_KEY)

    def settings(*keys: Secret) -> ListenerSettings:
        return listener_settings(keys=keys)

    async def work() -> None:
        sink = Sink()
        async with trial((sink, KEY)) as (made, (here,)):
            listener = here.listener
            await made.edit(section(here, key_file=str(file)))
            await until(connected(made))
            listener.adopt(settings(old, new))
            assert listener.counts.peers == 1
            file.write_bytes(OTHER_KEY)
            await made.edit(section(here, key_file=str(file)))
            await until(connected(made))
            await until(lambda: listener.counts.peers == 1)
            listener.adopt(settings(new))
            assert listener.counts.peers == 1
            (sender,) = made.forwarder.links.senders
            await until(lambda: not sender.buffer.buffered)
            assert sender.buffer.counts.forwarded == sender.buffer.counts.offered == len(set(sink.sequences))
            assert listener.counts.connections == 2
            assert sum(listener.counts.refusals.values()) == 0

    run(work)


def test_an_event_too_large_for_the_link_does_not_block_it() -> None:
    async def work() -> None:
        sink = Sink()
        async with trial((sink, b"")) as (made, (here,)):
            await made.edit(section(here))
            await until(connected(made))
            (sender,) = made.forwarder.links.senders
            await until(lambda: not sender.buffer.buffered)
            before = made.forwarder.sequence
            for size in (2, 9 << 20, 2):
                event = feed_event("btcusdt@trade", 1, payload=b"x" * size)
                made.forwarder.on_events([event], Stamp(1, StampKind.KERNEL, 1, 1))
            await until(lambda: sink.sequences[-1:] == [before + 3] and not sender.buffer.buffered)
            assert before + 2 not in sink.sequences
            assert sender.buffer.counts.dropped[DropReason.TOO_LARGE] == 1
            assert here.listener.counts.connections == 1
            assert sum(here.listener.counts.refusals.values()) == 0

    run(work)
