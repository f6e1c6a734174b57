"""Why an event is in its path's tail: one cause for each, from evidence alone; docs/measurement.md explains the rules.

A part of the delay is the cause if it is at least half of what the event took more than usual: then no other part is a
larger one. The causes are tried in the order in which they invalidate each other: of an event whose clocks are wrong
nothing else can be said, and the network has what nothing of ours explains.
"""

from enum import StrEnum
from typing import Final

import msgspec

__all__ = ["MEANINGS", "Cause", "TailEvidence", "judge"]


class Cause(StrEnum):
    """What put an event into the tail, in the order in which they are tried."""

    CLOCK = "clock"
    RECONNECT = "reconnect"
    OWN_QUEUE = "own_queue"
    FORWARDER_BUSY = "forwarder_busy"
    RECEIVER_BUSY = "receiver_busy"
    RETRANSMISSION = "retransmission"
    BEHIND_RETRANSMISSION = "behind_retransmission"
    NETWORK = "network"


MEANINGS: Final = {
    Cause.CLOCK: "a clock was stepped, or the two hosts' clocks do not fit together",
    Cause.RECONNECT: "it waited for the connection, or came within a second of a new one",
    Cause.OWN_QUEUE: "it waited in the forwarder's buffer while the link was up",
    Cause.FORWARDER_BUSY: "the forwarder was late to read it, or held it",
    Cause.RECEIVER_BUSY: "this host was late to read it, and it has the stamp of a later packet",
    Cause.RETRANSMISSION: "its packet was lost or overtaken on the way here, and TCP waited for it",
    Cause.BEHIND_RETRANSMISSION: "it lay behind such a packet",
    Cause.NETWORK: "nothing of ours explains it",
}


class TailEvidence(msgspec.Struct, frozen=True, gc=False):
    """What is known of an event in the tail; times in nanoseconds, 0 where there is none.

    Attributes:
        excess_ns: by how much its delay is above the usual one.
        suspect: the clocks of its path are not to be believed.
        renewed: it waited for its connection, or that is new.
        queued: it waited in the forwarder's buffer.
        hold_ns: how much longer than usual the forwarder held it.
        forwarder_late_ns: how long it had waited at the forwarder's socket by the stamp that it has there.
        receiver_late_ns: the same here.
        held_ns: how long it lay, or was waited for, where a packet was missing.
        first: it is the first of what the missing packet set free.
    """

    excess_ns: int
    suspect: bool = False
    renewed: bool = False
    queued: bool = False
    hold_ns: int = 0
    forwarder_late_ns: int = 0
    receiver_late_ns: int = 0
    held_ns: int = 0
    first: bool = False


def judge(evidence: TailEvidence) -> Cause:
    """Give the cause."""
    if evidence.suspect:
        return Cause.CLOCK
    if evidence.renewed:
        return Cause.RECONNECT
    half_ns = evidence.excess_ns / 2
    if evidence.hold_ns >= half_ns:
        return Cause.OWN_QUEUE if evidence.queued else Cause.FORWARDER_BUSY
    # A forwarder that was away reads late and holds what it reads: both are its own.
    late_ns = evidence.hold_ns + evidence.forwarder_late_ns
    if late_ns >= half_ns:
        return Cause.FORWARDER_BUSY
    if evidence.receiver_late_ns >= half_ns:
        return Cause.RECEIVER_BUSY
    if evidence.held_ns and evidence.held_ns >= half_ns:
        return Cause.RETRANSMISSION if evidence.first else Cause.BEHIND_RETRANSMISSION
    return Cause.NETWORK
