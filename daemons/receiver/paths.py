"""The paths of a receiver: each owns its account, what brings its events, and what there is to say of both."""

import asyncio
import random
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from daemons.configuration.feed import feed_settings
from daemons.configuration.receiver import FeedPathSection, listener_of
from daemons.feed.counts import FeedCounts
from daemons.feed.feed import Feed
from daemons.link.receiving.listener import LinkListener
from daemons.link.receiving.port import LinkPort
from daemons.link.receiving.settings import LinkPathSection, ListenerSettings
from daemons.measurement.account import PathAccount
from daemons.measurement.tail.tail import Tcp
from daemons.receiver.forwarders import Forwarders
from daemons.receiver.results import ArrivalFacts, distribution
from daemons.service.activation import Activation
from daemons.service.lifecycle import end
from daemons.service.settings.config import Address, is_loopback
from daemons.stream.datagram import listening_pair, listening_socket, prepare_listening
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount
from daemons.timing.backoff import AttemptBudget

__all__ = ["FeedPath", "LinkPath", "LinkPorts", "ReceiverPath"]

Start = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Runs something in the background."""


class ReceiverPath(ABC):
    """A path of either kind.

    Args:
        account: the path's.

    Attributes:
        name: its name.
        address: where it listens; empty where it does not.
    """

    def __init__(self, account: PathAccount, address: str = "") -> None:
        self.account = account
        self.name = account.name
        self.address = address
        self._log = structlog.get_logger("receiver").bind(path=account.name)
        self._told_resets: dict[str, int] = {}
        account.tail.out_of_order = self._out_of_order
        account.tail.tcp = self._tcp_now

    @abstractmethod
    def start(self, start: Start) -> None:
        """Begin to take events."""

    @abstractmethod
    async def adopt(self, section: FeedPathSection | LinkPathSection) -> None:
        """Go on under another section of the same kind."""

    @abstractmethod
    async def stop(self) -> None:
        """Take no more events, and account for all that is missing."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether events can come."""

    @property
    @abstractmethod
    def invalid(self) -> Mapping[str, int]:
        """What came and was no event, by reason."""

    @property
    @abstractmethod
    def tcp(self) -> TcpAccount:
        """What TCP says of its connections."""

    def _out_of_order(self) -> int:
        self.tcp.now()
        return self.tcp.total("out_of_order") or 0

    def _tcp_now(self) -> Tcp:
        known = [info.rtt_ns for info in self.tcp.now() if info.rtt_ns is not None]
        return max(known, default=None), self.tcp.total("retransmitted"), self.tcp.total("out_of_order")

    @abstractmethod
    def facts(self) -> ArrivalFacts:
        """Return what a run's summary says of the path beside its account."""

    @property
    def json_streams(self) -> Sequence[str]:
        """The streams that it has subscribed to in JSON."""
        return ()

    def know(self, streams: Sequence[str]) -> None:  # noqa: B027 of no use to most kinds
        """Take in what all paths together have subscribed to in JSON."""

    def on_step(self) -> None:
        """Note that this host's wall clock was stepped."""
        self.account.tail.forget()

    def on_disruption(self, *, disrupted: bool) -> None:
        """Note that this host's clock was disrupted, or is to be believed again."""
        self.account.disrupted = disrupted
        self.on_step()

    def status(self) -> str:
        """Say in a few words how it is."""
        lost = self.account.total("gap_events") - self.account.total("late")
        return f"{self.name} {'up' if self.connected else 'DOWN'} ({self.account.events} events, {lost} lost)"

    def expire(self, now_ns: int) -> None:
        """Account for what has been missing long enough; to be called now and then.

        Args:
            now_ns: by the monotonic clock.
        """
        self.account.expire(now_ns)
        # Once of each stream: what follows is measured on, so nothing else shows it.
        for stream, count in self.account.id_resets.items():
            if count != self._told_resets.get(stream):
                self._told_resets[stream] = count
                self._log.warning("the exchange began the stream's ids anew", stream=stream, resets=count)


class FeedPath(ReceiverPath):
    """A path straight from the exchange.

    Args:
        section: its configuration.
        where: that section, for messages.
        account: as of :class:`ReceiverPath`.
        stamper: makes the stamps.
        rng: for the back-off.
        budget: of attempts to connect, for the whole process.

    Attributes:
        counts: of its feed.
    """

    def __init__(
        self,
        section: FeedPathSection,
        where: str,
        account: PathAccount,
        stamper: Stamper,
        rng: random.Random,
        budget: AttemptBudget,
    ) -> None:
        super().__init__(account)
        self._section, self._where = section, where
        self._stamper, self._rng, self._budget = stamper, rng, budget
        self.counts = FeedCounts()
        self._feed = self._made(section)
        self._start: Start | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, start: Start) -> None:
        self._start = start
        self._task = start(self._feed.run())

    async def adopt(self, section: FeedPathSection | LinkPathSection) -> None:
        assert isinstance(section, FeedPathSection)
        before, self._section = self._section, section
        if before == section:
            return
        if self._feed.adopt(feed_settings(self.name, self._where, section), section.connections):
            self.account.expect(self._feed.streams)
            return
        await self._end()
        self._feed = self._made(section)
        assert self._start is not None
        self.start(self._start)

    async def stop(self) -> None:
        await self._end()
        self.account.finish()

    @property
    def connected(self) -> bool:
        return self.counts.connected

    @property
    def invalid(self) -> Mapping[str, int]:
        return self.counts.invalid

    @property
    def tcp(self) -> TcpAccount:
        return self.counts.tcp

    @property
    def json_streams(self) -> Sequence[str]:
        return self._feed.json_streams

    def expire(self, now_ns: int) -> None:
        super().expire(now_ns)
        streams = self.account.streams
        self._feed.look(now_ns / 1e9, {name: streams[name].events for name in self._feed.streams if name in streams})

    def facts(self) -> ArrivalFacts:
        return ArrivalFacts(self.invalid, self.counts.connections, _nonzero(self.counts.reconnects))

    async def _end(self) -> None:
        if self._task is not None:
            await end([self._task])

    def _made(self, section: FeedPathSection) -> Feed:
        feed = Feed(
            feed_settings(self.name, self._where, section),
            self._stamper,
            self._rng,
            self.account.observe_feed,
            self.account.interrupt,
            connections=section.connections,
            budget=self._budget,
            counts=self.counts,
        )
        self.account.expect(feed.streams)
        return feed


class LinkPath(ReceiverPath):
    """A path through a forwarder.

    Args:
        account: as of :class:`ReceiverPath`.
        index: of its section.
        forwarders: those that come, whose events go to the account.
        listener: keeps them.
        port: lets them in.

    Attributes:
        forwarders, listener, port: the same.
    """

    def __init__(
        self, account: PathAccount, index: int, forwarders: Forwarders, listener: LinkListener, port: LinkPort
    ) -> None:
        super().__init__(account, port.address)
        self._index = index
        self.forwarders = forwarders
        self.listener = listener
        self.port = port

    def start(self, start: Start) -> None:
        """Do nothing: its port is started for all of its paths."""

    async def adopt(self, section: FeedPathSection | LinkPathSection) -> None:
        assert isinstance(section, LinkPathSection)
        # Also where the section is the same: its key file may hold another key.
        where, settings = listener_of(self._index, section)
        self.listener.adopt(settings)
        self.tell_open(where[0])

    async def stop(self) -> None:
        goodbyes = self.listener.close()
        self.forwarders.finish()
        self.account.finish()
        await asyncio.gather(*goodbyes)

    @property
    def connected(self) -> bool:
        return self.listener.counts.peers > 0

    @property
    def invalid(self) -> Mapping[str, int]:
        return {"malformed": self.listener.counts.malformed}

    @property
    def tcp(self) -> TcpAccount:
        return self.listener.counts.tcp

    def know(self, streams: Sequence[str]) -> None:
        self.forwarders.know(streams)

    def on_step(self) -> None:
        super().on_step()
        self.forwarders.on_step()

    def expire(self, now_ns: int) -> None:
        self.forwarders.expire(now_ns)
        super().expire(now_ns)

    def facts(self) -> ArrivalFacts:
        assert self.account.figures is not None
        counts = self.listener.counts
        return ArrivalFacts(
            self.invalid,
            counts.connections,
            dropped_datagrams=self.port.dropped_datagrams,
            refusals=_nonzero(counts.refusals),
            link=self.forwarders.summary(distribution(self.account.figures.rtt)),
        )

    def tell_open(self, host: str) -> None:
        """Say it out loud where whoever reaches the port may add samples: it was asked for, perhaps unawares."""
        settings = self.listener.settings
        if settings.keys or is_loopback(host) or all(network.prefixlen for network in settings.allowed):
            return
        self._log.warning(
            "this path takes events from anybody",
            allowed_sources=[str(network) for network in settings.allowed],
            remedy="give both ends a key, or name narrower networks",
        )


class LinkPorts:
    """Binds the sockets of paths through forwarders, or takes them over; paths of one address share them.

    Args:
        stamper: makes the stamps.
    """

    def __init__(self, stamper: Stamper) -> None:
        self._stamper = stamper
        self._by_address: dict[str, LinkPort] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.ports: list[LinkPort] = []

    def path(
        self,
        index: int,
        section: LinkPathSection,
        account: PathAccount,
        make: Callable[[ListenerSettings], Forwarders],
        activation: Activation,
    ) -> LinkPath:
        """Make a path, and its port unless it is there already.

        Args:
            index: of its section.
            section: its configuration.
            account: the path's.
            make: makes what is known of its forwarders.
            activation: sockets that systemd has handed over.

        Raises:
            ListenError: the address cannot be listened on.
        """
        where, settings = listener_of(index, section)
        if (port := self._by_address.get(section.listen)) is None:
            port = self._bind(where, section, activation)
        forwarders = make(settings)
        path = LinkPath(account, index, forwarders, port.serve(settings, forwarders), port)
        structlog.get_logger("receiver").info(
            "listening", path=path.name, address=path.address, transport=section.transport
        )
        path.tell_open(where[0])
        return path

    def start(self, start: Start) -> None:
        """Begin to let forwarders in."""
        for port in self.ports:
            port.start()
            self._tasks.append(start(port.tend()))

    async def close(self) -> None:
        """Acknowledge what was processed, and close all connections and sockets."""
        goodbyes = [goodbye for port in self.ports for goodbye in port.close()]
        await end(self._tasks)
        await asyncio.gather(*goodbyes)

    def _bind(self, where: Address, section: LinkPathSection, activation: Activation) -> LinkPort:
        stream, datagram = _sockets(where, section, activation)
        for bound in (stream, datagram):
            where = where if bound is None else (where[0], bound.getsockname()[1])
        port = LinkPort(stream, datagram, self._stamper, "{}:{}".format(*where))
        self.ports.append(port)
        # Port 0 is a new one each time.
        if not section.listen.endswith(":0"):
            self._by_address[section.listen] = port
        return port


def _sockets(
    where: Address, section: LinkPathSection, activation: Activation
) -> tuple[socket.socket | None, socket.socket | None]:
    """Bind what a path's transports need, to one port; both where a datagram's forwarder has words to say before."""
    if section.transport == "tcp":
        return _bound(where, socket.SOCK_STREAM, activation), None
    if section.format == "json":
        return None, _bound(where, socket.SOCK_DGRAM, activation)
    if not where[1]:
        return listening_pair(*where)
    return _bound(where, socket.SOCK_STREAM, activation), _bound(where, socket.SOCK_DGRAM, activation)


def _bound(where: Address, kind: socket.SocketKind, activation: Activation) -> socket.socket:
    inherited = activation.take(where, kind)
    if inherited is None:
        return listening_socket(*where, kind)
    prepare_listening(inherited)
    return inherited


_Reason = TypeVar("_Reason", bound=str)


def _nonzero(counts: Mapping[_Reason, int]) -> dict[str, int]:
    return {str(reason): count for reason, count in counts.items() if count}
