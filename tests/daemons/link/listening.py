"""A receiver's port in the test's own loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from daemons.link.messages import Ack
from daemons.link.receiving.port import LinkPort
from daemons.link.receiving.settings import LinkPathSection, ListenerSettings, Network
from daemons.link.receiving.sink import LinkSink, SessionKey
from daemons.records import LinkEvent, Stamp
from daemons.secret import Secret
from daemons.stream.datagram import listening_pair
from daemons.stream.stamping import Stamper

__all__ = ["Here", "Sink", "listener_settings"]


def listener_settings(
    name: str = "backbone", *, keys: Sequence[Secret] = (), allowed: Sequence[Network] = (), **section: Any
) -> ListenerSettings:
    """A path's, by both transports unless told otherwise."""
    return ListenerSettings(LinkPathSection(name=name, **{"transport": "udp", **section}), tuple(keys), tuple(allowed))


class Sink:
    """Notes the events of each session; processes all of them, or none at all."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.sequences: list[int] = []
        self._acknowledges = acknowledges

    def on_link_events(
        self, _key: SessionKey, events: list[LinkEvent], _stamp: Stamp, *, together: bool, left_ns: int = 0
    ) -> None:
        assert isinstance(together, bool)
        assert isinstance(left_ns, int)
        self.sequences += [event.sequence for event in events]

    def progress(self, _key: SessionKey) -> Ack:
        highest = max(self.sequences, default=0)
        return Ack(highest, len(self.sequences), 0) if self._acknowledges else Ack(0, 0, 0)

    def __getattr__(self, name: str) -> Callable[..., None]:
        assert name in ("on_hello", "on_leave", "on_heartbeat", "on_gave_up", "on_departures", "on_bye", "on_time")
        return lambda *_arguments: None


class Here:
    """A receiver's port in this loop."""

    def __init__(self, stamper: Stamper, sink: LinkSink, settings: ListenerSettings) -> None:
        stream, datagram = listening_pair("127.0.0.1", 0)
        self.port = stream.getsockname()[1]
        self.link_port = LinkPort(stream, datagram, stamper, f"127.0.0.1:{self.port}")
        self.listener = self.link_port.serve(settings, sink)
        self.link_port.start()
        self.tending = asyncio.ensure_future(self.link_port.tend())

    async def close(self) -> None:
        self.tending.cancel()
        await asyncio.gather(self.tending, return_exceptions=True)
        await asyncio.gather(*self.link_port.close())
