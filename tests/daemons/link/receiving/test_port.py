"""Paths that share a port: each forwarder gets the one that it names, and nobody else's."""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from daemons.link.events import datagram_head, encode_event
from daemons.link.receiving.port import LinkPort
from daemons.link.receiving.settings import ListenerSettings
from daemons.link.seal import DatagramSealer
from daemons.link.sending.sender import KEEP_OPEN_BEATS, LinkSender
from daemons.link.sending.settings import DestinationSection, LinkSettings
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.reasons import LinkReason
from daemons.records import UNKNOWN_CLOCK, Stamp, StampKind
from daemons.secret import Secret
from daemons.stream.datagram import DatagramSender, listening_pair
from daemons.stream.local_end import ANYWHERE, LocalEnd
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.link.listening import Sink, listener_settings
from tests.daemons.made import feed_event
from tests.daemons.waiting import until

OVERHEAD = DatagramSealer(0, b"k" * 32).overhead
ONE, OTHER = Secret(b"1" * 32), Secret(b"2" * 32)


@dataclass
class World:
    """A port that paths share, and forwarders that come to it."""

    number: int
    port: LinkPort
    stamper: Stamper
    sinks: dict[str, Sink]
    running: list["asyncio.Future[None]"] = field(default_factory=list)
    closed: bool = False

    def close(self) -> "list[asyncio.Future[None]]":
        """Close the port, which is done at the end at the latest."""
        self.closed = True
        return self.port.close()

    def forwarder(
        self, session: int = 1, *, key: Secret | None = None, local: LocalEnd = ANYWHERE, **settings: Any
    ) -> LinkSender:
        """Start one; the settings are those of its destination."""
        section = DestinationSection(address=f"127.0.0.1:{self.number}", reconnect_max_seconds=0.1, **settings)
        link = LinkSettings(section, "127.0.0.1", self.number, local, key)
        hold = BucketHistogram(octaves(-19, 3))
        sender = LinkSender(link, session, self.stamper, random.Random(1), hold, hold, lambda: UNKNOWN_CLOCK)
        self.running.append(asyncio.ensure_future(sender.run()))
        return sender

    def refusals(self, path: str = "") -> dict[str, int]:
        """Count those of a path, or of the port."""
        counts = self.port.refusals
        for listener in self.port.listeners:
            if listener.settings.section.name == path:
                counts = listener.counts.refusals
        return {reason: count for reason, count in counts.items() if count}


def run(work: Callable[[World], Awaitable[None]], *paths: ListenerSettings) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(300):
            stamper = Stamper(SystemClock())
            stream, datagram = listening_pair("127.0.0.1", 0)
            number = stream.getsockname()[1]
            port = LinkPort(stream, datagram, stamper, "here")
            world = World(number, port, stamper, {path.section.name: Sink() for path in paths})
            for path in paths:
                port.serve(path, world.sinks[path.section.name])
            port.start()
            tending = asyncio.ensure_future(port.tend())
            try:
                await work(world)
            finally:
                for task in (tending, *world.running):
                    task.cancel()
                await asyncio.gather(tending, *world.running, return_exceptions=True)
                if not world.closed:
                    await asyncio.gather(*world.close())
                stamper.close()

    asyncio.run(bounded())


def offer(sender: LinkSender, *sequences: int) -> None:
    for sequence in sequences:
        sender.offer(sequence, [feed_event("btcusdt@trade", sequence)], Stamp(1, StampKind.KERNEL, 1, 1))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_ten_forwarders_bring_ten_paths_over_one_port_each_with_its_key(transport: str) -> None:
    names = [f"way {number}" for number in range(10)]
    keys = {name: Secret(name.encode() * 8) for name in names}

    async def work(world: World) -> None:
        senders = {
            name: world.forwarder(number + 1, path_name=name, key=keys[name], transport=transport)
            for number, name in enumerate(names)
        }
        await until(lambda: all(sender.connected for sender in senders.values()))
        for number, sender in enumerate(senders.values()):
            offer(sender, *range(1, 5 + number))
        wanted = {name: list(range(1, 5 + number)) for number, name in enumerate(names)}
        await until(lambda: {name: sink.sequences for name, sink in world.sinks.items()} == wanted)
        assert [listener.counts.peers for listener in world.port.listeners] == [1] * 10
        assert not world.refusals()

    run(work, *(listener_settings(name, keys=(keys[name],)) for name in names))


def test_who_names_no_path_or_another_is_told_so_only_with_a_key_that_fits() -> None:
    async def work(world: World) -> None:
        unnamed = world.forwarder(1, key=ONE)
        unknown = world.forwarder(2, path_name="third", key=OTHER)
        stranger = world.forwarder(3, path_name="third", key=Secret(b"3" * 32))
        crossed = world.forwarder(4, path_name="second", key=ONE)
        await until(lambda: all(one.counts.reconnects[LinkReason.PATH] for one in (unnamed, unknown)))
        await until(lambda: all(one.counts.reconnects[LinkReason.KEY] for one in (stranger, crossed)))
        assert set(world.refusals()) == {"path", "key"}
        # A key that does not fit the path that was named is that path's affair.
        assert set(world.refusals("second")) == {"key"}
        assert not world.refusals("first")
        assert not any(one.connected for one in (unnamed, unknown, stranger, crossed))

    run(work, listener_settings("first", keys=(ONE,)), listener_settings("second", keys=(OTHER,)))


def test_a_path_that_is_alone_needs_no_name() -> None:
    async def work(world: World) -> None:
        sender = world.forwarder()
        await until(lambda: sender.connected)

    run(work, listener_settings("first"))


def test_each_path_takes_its_own_networks_only() -> None:
    home = ipaddress.ip_network("127.0.0.2/32")

    async def work(world: World) -> None:
        let_in = world.forwarder(1, path_name="first", local=LocalEnd("127.0.0.2"))
        kept_out = world.forwarder(2, path_name="first", local=LocalEnd("127.0.0.3"))
        open_to = world.forwarder(3, path_name="second", local=LocalEnd("127.0.0.3"))
        await until(lambda: let_in.connected and open_to.connected and kept_out.counts.reconnects[LinkReason.PATH] > 0)
        assert not kept_out.connected
        # A datagram with the token of a path that does not take it from there counts as one of a wrong source.
        (peer,) = [listener for listener in world.port.listeners if listener.settings.section.name == "first"]
        token = next(number for number in peer._peers)
        datagram = datagram_head(token, 1) + encode_event(1, 1, 0, None, 1, None, b"btcusdt@trade", b"{}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.3", 0))
            sock.sendto(datagram, ("127.0.0.1", world.number))
            await until(lambda: world.refusals("first").get("source") == 1)
        assert not world.sinks["first"].sequences

    run(work, listener_settings("first", allowed=(home,)), listener_settings("second"))


def test_json_which_names_nothing_goes_to_the_one_path_that_takes_it() -> None:
    async def work(world: World) -> None:
        plain = world.forwarder(1, format="json")
        named = world.forwarder(2, path_name="first")
        await until(lambda: plain.connected and named.connected)
        offer(plain, 1, 2, 3)
        offer(named, 7)
        await until(lambda: world.sinks["second"].sequences == [1, 2, 3] and world.sinks["first"].sequences == [7])

    run(work, listener_settings("first"), listener_settings("second", format="any"))


def test_other_words_over_a_shared_port_are_the_ports_own() -> None:
    async def work(world: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.number)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        await until(lambda: world.refusals() == {"garbage": 1})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(datagram_head(5, 1), ("127.0.0.1", world.number))
            await until(lambda: world.refusals() == {"garbage": 1, "token": 1})
        assert not world.refusals("first")
        assert not world.refusals("second")

    run(work, listener_settings("first"), listener_settings("second"))


def test_a_path_that_a_reload_changes_keeps_the_others_of_its_port_connected() -> None:
    async def work(world: World) -> None:
        first, second = world.forwarder(1, path_name="first", key=ONE), world.forwarder(2, path_name="second", key=ONE)
        await until(lambda: first.connected and second.connected)
        world.port.listeners[0].adopt(listener_settings("first", keys=(OTHER,)))
        await until(lambda: first.counts.reconnects[LinkReason.KEY] > 0)
        assert second.connected
        assert sum(second.counts.reconnects.values()) == 0
        world.port.listeners[0].adopt(listener_settings("first", keys=(OTHER, ONE)))
        await until(lambda: first.connected)

    run(work, listener_settings("first", keys=(ONE,)), listener_settings("second", keys=(ONE,)))


def test_a_quiet_udp_link_keeps_its_way_open_and_says_nothing_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = DatagramSender.send

    def noted(own: DatagramSender, data: bytes) -> bool:
        sent.append(len(data))
        return send(own, data)

    monkeypatch.setattr(DatagramSender, "send", noted)

    async def work(world: World) -> None:
        sender = world.forwarder(1, transport="udp", key=ONE)
        await until(lambda: sender.connected)
        offer(sender, 1)
        await until(lambda: world.sinks["only"].sequences == [1])
        sent.clear()
        # The first notes what was sent, and the clock's own beats may come between.
        for _beat in range(KEEP_OPEN_BEATS + 1):
            sender._heartbeat()
        assert sent == [OVERHEAD]
        offer(sender, 2)
        await until(lambda: world.sinks["only"].sequences == [1, 2])
        assert not world.refusals("only")

    run(work, listener_settings("only", keys=(ONE,)))


def test_a_port_that_closes_over_events_on_their_way_leaves_none_to_be_sent_to_two_lives() -> None:
    """A forwarder that has not read the last acknowledgement sends what was processed to the next life as well."""

    async def work(world: World) -> None:
        sender = world.forwarder()
        await until(lambda: sender.connected)
        offer(sender, 1, 2, 3)
        await until(lambda: len(world.sinks["one"].sequences) == 3)
        # In one turn of the loop: these lie unread in the receiver's socket, and a write finds the end before a read.
        offer(sender, 4)
        goodbyes = world.close()
        offer(sender, 5)
        await asyncio.gather(*goodbyes)
        await until(lambda: not sender.connected)
        assert sender.buffer.acknowledged == max(world.sinks["one"].sequences) == 3
        assert sender.buffer.buffered == 2

    run(work, listener_settings("one", transport="tcp"))
