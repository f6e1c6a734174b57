"""How a destination is set, and what its sender needs to know beside that."""

from dataclasses import dataclass, field
from typing import Literal

from daemons.link.messages import Transport
from daemons.link.sending.buffer import BufferLimits
from daemons.secret import Secret
from daemons.sections import Count, Dscp, Seconds, Section
from daemons.stream.local_end import ANYWHERE, LocalEnd

__all__ = ["DestinationSection", "LinkSettings"]


class DestinationSection(Section, frozen=True):
    """``[[destination]]``: one receiver.

    Attributes:
        address: the receiver's, as ``HOST:PORT``.
        path_name: the path's name, which must be the receiver's for it; empty for whatever that is.
        source_address: an address of this host that the link leaves from; without it the routes choose.
        interface: the only interface that the link may use.
        dscp: the class of its packets, such as 46 for expedited forwarding; without it the system's.
        transport: what carries the events.
        format: ours, or the JSON of the original Rust programs.
        key_file: the secret that the receiver has too; ``credential:NAME`` for one that systemd hands over.
        buffer_events: events kept while the receiver is out of reach; the oldest give way.
        buffer_bytes: memory for them, within ``buffer_total_bytes``.
        buffer_seconds: an event that waited longer is dropped.
        reconnect_max_seconds: the longest wait between attempts.
    """

    address: str
    path_name: str = ""
    source_address: str | None = None
    interface: str | None = None
    dscp: Dscp | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    format: Literal["binary", "json"] = "binary"
    key_file: str | None = None
    buffer_events: Count = 100_000
    buffer_bytes: Count = 64 << 20
    buffer_seconds: Seconds = 60.0
    reconnect_max_seconds: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What a link's sender needs to know.

    Attributes:
        section: the destination's, whose address is the link's name in metrics and logs.
        host, port: the receiver.
        local: where the link leaves this host.
        key: shared secret, or None.
        limits: bounds of the buffer, in the memory that all destinations have together.
    """

    section: DestinationSection
    host: str
    port: int
    local: LocalEnd = ANYWHERE
    key: Secret | None = None
    limits: BufferLimits = field(default_factory=BufferLimits)

    @property
    def label(self) -> str:
        """The link's name in metrics and logs."""
        return self.section.address

    @property
    def transport(self) -> Transport:
        """What carries the events."""
        return Transport[self.section.transport.upper()]
