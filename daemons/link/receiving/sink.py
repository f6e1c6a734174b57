"""What a link brings, and who is told of it."""

from typing import Protocol

from daemons.link.messages import Ack, Departures, GaveUp, Heartbeat, Hello
from daemons.link.session import TimeReport
from daemons.records import LinkEvent, Stamp

__all__ = ["LinkSink", "SessionKey"]

SessionKey = int | str
"""A forwarder's session: its random number, or, in the JSON format that has none, where it sends from."""


class LinkSink(Protocol):
    """Who is told what a link brings."""

    def on_hello(self, key: SessionKey, acknowledged: int, hello: Hello | None) -> None:
        """A forwarder has connected; nothing up to ``acknowledged`` that has not come is this account's business."""

    def on_leave(self, key: SessionKey) -> None:
        """A forwarder's connection has ended."""

    def on_link_events(
        self, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool, left_ns: int = 0
    ) -> None:
        """Take in events of one read.

        Args:
            key: the forwarder's session.
            events: they.
            stamp: of the read's last packet.
            together: that packet had them all.
            left_ns: when what the read brought after them left the forwarder, by its clock; 0 where that was nothing,
                or is not known.
        """

    def on_heartbeat(self, key: SessionKey, beat: Heartbeat, stamp: Stamp) -> None:
        """The forwarder has said what it has sent."""

    def on_gave_up(self, key: SessionKey, gave_up: GaveUp, stamp: Stamp) -> None:
        """The forwarder has said which numbers it never sent."""

    def on_departures(self, key: SessionKey, departures: Departures) -> None:
        """The forwarder has said when its kernel sent events that were marked as sampled."""

    def on_bye(self, key: SessionKey, highest: int, stamp: Stamp) -> None:
        """The forwarder has ended its session."""

    def on_time(self, key: SessionKey, report: TimeReport) -> None:
        """A clock exchange has ended."""

    def progress(self, key: SessionKey) -> Ack:
        """Say what of a session has been processed."""
