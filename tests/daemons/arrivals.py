"""A model of what a socket's reads tell: it knows of every byte which packet brought it, and when."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

from daemons.records import KERNEL, Stamp, StampKind, inexact, shared

__all__ = ["Arrivals", "arrivals", "judge"]


@dataclass(frozen=True)
class Arrivals:
    """A stream of bytes, cut into packets, and these into reads as the kernel does: a read takes whole packets.

    Attributes:
        data: the bytes.
        packets: where each packet ends.
        reads: where each read ends; some of the packets' ends, the last among them.
    """

    data: bytes
    packets: list[int]
    reads: list[int]

    def arrival_ns(self, end: int) -> int:
        """Tell when the byte before ``end`` came."""
        return 1_000 * (1 + bisect_right(self.packets, end - 1))

    def __iter__(self) -> Iterator[tuple[bytes, Stamp]]:
        begin = 0
        for end in self.reads:
            ns = self.arrival_ns(end)
            yield self.data[begin:end], Stamp(ns, KERNEL, ns, ns)
            begin = end


@st.composite
def arrivals(draw: st.DrawFn, data: bytes) -> Arrivals:
    """Cut bytes into packets and reads, in every way."""
    size = len(data)
    packets = [*sorted(draw(st.sets(st.integers(1, size - 1), max_size=12))), size]
    reads = sorted(draw(st.sets(st.sampled_from(packets)))) if draw(st.booleans()) else list(packets)
    return Arrivals(data, packets, reads if reads and reads[-1] == size else [*reads, size])


def judge(came: Arrivals, ends: list[int], batches: list[tuple[int, Stamp, bool]]) -> list[StampKind]:
    """Compare the stamps that events were given with when they came.

    Args:
        came: how the bytes came.
        ends: where in the bytes each event is complete.
        batches: of each read that completed events: how many, its stamp, and whether the decoder called it exact.

    Returns:
        The kind of each event's stamp.
    """
    kinds: list[StampKind] = []
    for count, stamp, exact in batches:
        given = stamp if exact else inexact(stamp)
        for index in range(count):
            kind = given.kind if index == count - 1 else shared(given.kind)
            end = ends[len(kinds)]
            truth = came.arrival_ns(end)
            assert stamp.ns >= truth, "a stamp is never early"
            assert kind is not KERNEL or stamp.ns == truth, f"event {len(kinds)} is called exact and is not"
            # And what can be known is not given away.
            assert kind is KERNEL or end not in came.reads, f"event {len(kinds)} ended a read and is not called exact"
            kinds.append(kind)
    assert len(kinds) == len(ends), "every event came out once"
    return kinds
