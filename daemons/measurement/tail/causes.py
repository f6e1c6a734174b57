"""Why an event is in its path's tail: one cause for each, from evidence alone; docs/measurement.md explains the rules.

What an event took more than usual is a sum: of parts that something of ours, or TCP's waiting, is known to have made,
and of the rest, which is the network's. The cause is the largest of them. Of an event whose clocks are wrong nothing
can be said; and a connection that is merely new is blamed only for what is else the network's.
"""

from enum import StrEnum
from typing import Final

import msgspec

__all__ = ["MEANINGS", "Cause", "TailEvidence", "judge"]


class Cause(StrEnum):
    """What put an event into the tail; of parts that are alike the earlier is named."""

    CLOCK = "clock"
    RECONNECT = "reconnect"
    OWN_QUEUE = "own_queue"
    FORWARDER_BUSY = "forwarder_busy"
    RECEIVER_BUSY = "receiver_busy"
    RETRANSMISSION = "retransmission"
    BEHIND_RETRANSMISSION = "behind_retransmission"
    FEED_RETRANSMISSION = "feed_retransmission"
    FEED_RECONNECT = "feed_reconnect"
    NETWORK = "network"


MEANINGS: Final = {
    Cause.CLOCK: "a clock was stepped, or the two hosts' clocks do not fit together",
    Cause.RECONNECT: "it waited for the connection, or was late on a new one and nothing else explains it",
    Cause.OWN_QUEUE: "it waited in the forwarder's buffer while the link was up",
    Cause.FORWARDER_BUSY: "the forwarder was late to read it, or held it",
    Cause.RECEIVER_BUSY: "this host was late to read it, and it has the stamp of a later packet",
    Cause.RETRANSMISSION: "its packet was lost or overtaken on the way here, and TCP waited for it",
    Cause.BEHIND_RETRANSMISSION: "it lay behind such a packet",
    Cause.FEED_RETRANSMISSION: "its packet, or one before it, was lost or overtaken on the way to the forwarder",
    Cause.FEED_RECONNECT: "it was late at the forwarder on a new connection, and nothing else explains it",
    Cause.NETWORK: "nothing of ours explains it",
}


class TailEvidence(msgspec.Struct, frozen=True, gc=False):
    """What is known of an event in the tail; times in nanoseconds, 0 where there is none.

    Attributes:
        excess_ns: by how much its delay is above the usual one.
        far: by more than the chance that usual delays show.
        suspect: the clocks of its path are not to be believed.
        unconnected: it waited for its connection, or behind such events.
        renewed: its connection is new.
        queued: it waited in the forwarder's buffer.
        hold_ns: how much longer than usual the forwarder held it.
        forwarder_late_ns: how long it had waited at the forwarder's socket by the stamp that it has there.
        receiver_late_ns: the same here.
        held_ns: how long it lay, or was waited for, where a packet was missing.
        first: it is the first of what the missing packet set free.
        feed_ns: how much longer than usual it took to the forwarder.
        feed_held: a packet was missing there.
        feed_renewed: the forwarder's feed has a new connection.
    """

    excess_ns: int
    far: bool = False
    suspect: bool = False
    unconnected: bool = False
    renewed: bool = False
    queued: bool = False
    hold_ns: int = 0
    forwarder_late_ns: int = 0
    receiver_late_ns: int = 0
    held_ns: int = 0
    first: bool = False
    feed_ns: int = 0
    feed_held: bool = False
    feed_renewed: bool = False


def judge(evidence: TailEvidence) -> Cause:
    """Give the cause."""
    if evidence.suspect:
        return Cause.CLOCK
    waited = evidence.unconnected or evidence.queued
    slow_start = evidence.feed_renewed and evidence.far and not evidence.feed_held
    # A forwarder that was away reads late and holds what it reads: both are its own.
    busy_ns = evidence.forwarder_late_ns + (0 if waited else evidence.hold_ns)
    parts_ns = {
        Cause.RECONNECT: evidence.hold_ns if evidence.unconnected else 0,
        Cause.OWN_QUEUE: evidence.hold_ns if evidence.queued and not evidence.unconnected else 0,
        Cause.FORWARDER_BUSY: busy_ns,
        Cause.RECEIVER_BUSY: evidence.receiver_late_ns,
        Cause.RETRANSMISSION if evidence.first else Cause.BEHIND_RETRANSMISSION: evidence.held_ns,
        Cause.FEED_RETRANSMISSION: evidence.feed_ns if evidence.feed_held else 0,
        Cause.FEED_RECONNECT: evidence.feed_ns if slow_start else 0,
    }
    largest = max(parts_ns, key=lambda cause: parts_ns[cause])
    if parts_ns[largest] > 0 and parts_ns[largest] >= evidence.excess_ns - sum(parts_ns.values()):
        return largest
    # One event in a hundred is in the tail while a connection is new as well, and for no reason of its own.
    return Cause.RECONNECT if evidence.renewed and evidence.far else Cause.NETWORK
