"""Events as a decoder makes them."""

from daemons.feed.streams import stream_of
from daemons.records import FeedEvent, Numbering

__all__ = ["feed_event"]


def feed_event(
    stream: str,
    event_id: int | None = None,
    previous_id: int | None = None,
    *,
    time_ns: int | None = None,
    symbol: str | None = None,
    payload: bytes = b"{}",
) -> FeedEvent:
    """Make an event of a stream; ids of trades follow each other unless told otherwise."""
    named = stream_of(stream)
    assert named is not None
    if event_id is not None and previous_id is None and named.kind.numbering is Numbering.CONTIGUOUS:
        previous_id = event_id - 1
    return FeedEvent(
        stream, named.symbol if symbol is None else symbol, named.kind, event_id, previous_id, time_ns, payload
    )
