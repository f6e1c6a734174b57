"""The ForwardedEvent of the original Rust programs: a JSON object a datagram or line, so that either end may be theirs.

It has four fields, no session, no signature and no departure stamp; ``binance_event_time`` is in milliseconds, 0 when
the event has none, and ``tokyo_receive_timestamp`` in nanoseconds.
"""

from typing import Annotated, Final

import msgspec

from daemons.decoding import UNDECODABLE
from daemons.errors import WireError
from daemons.reasons import LinkReason
from daemons.records import LinkEvent, StampKind

__all__ = ["LineDecoder", "decode_forwarded", "encode_forwarded"]

MAX_LINE: Final = 8 << 20


_INT64: Final = (1 << 63) - 1
"""The largest number that any field, or a time made of it in nanoseconds, may have: what follows counts in int64."""


class _Forwarded(msgspec.Struct, gc=False):
    sequence_id: Annotated[int, msgspec.Meta(ge=0, le=_INT64)]
    tokyo_receive_timestamp: Annotated[int, msgspec.Meta(ge=0, le=_INT64)]
    binance_event_time: Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64)]
    event_data: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Forwarded).decode


def encode_forwarded(sequence: int, receive_ns: int, event_time_ns: int | None, payload: bytes) -> bytes:
    """Return the JSON object, without a line end."""
    time_ms = 0 if event_time_ns is None else event_time_ns // 1_000_000
    return _encode(_Forwarded(sequence, receive_ns, time_ms, payload.decode()))


def decode_forwarded(data: bytes) -> LinkEvent:
    """Read one JSON object; stream and event id are not in it and stay empty.

    Raises:
        WireError: with reason ``garbage``.
    """
    try:
        found = _decode(data)
    except UNDECODABLE as error:
        raise WireError(LinkReason.GARBAGE, f"not a ForwardedEvent: {error}") from error
    time = found.binance_event_time
    # 13 digits are milliseconds, 16 microseconds, as the exchange was asked for.
    time_ns = None if time <= 0 else time * (1_000_000 if time < 10**14 else 1_000)
    if time_ns is not None and time_ns > _INT64:
        raise WireError(LinkReason.GARBAGE, f"binance_event_time {time} is out of range")
    return LinkEvent(
        found.sequence_id,
        found.tokyo_receive_timestamp,
        StampKind.USER,
        time_ns,
        None,
        None,
        "",
        False,
        found.event_data.encode(),
    )


class LineDecoder:
    """Cuts a byte stream into lines of ForwardedEvents.

    Attributes:
        exact: the last read ended with the line of its last event.
    """

    def __init__(self) -> None:
        self.exact = False
        self._rest = bytearray()

    def feed(self, data: bytes) -> tuple[list[LinkEvent], int]:
        """Take in received bytes; return the events that they complete, and how many lines were none.

        Raises:
            WireError: with reason ``too_large`` for a line without end.
        """
        rest = self._rest
        lines = data.split(b"\n")
        if rest and len(lines) > 1:
            # A long line that comes in small pieces is put together once, not with each of them.
            rest += lines[0]
            lines[0] = bytes(rest)
            rest.clear()
        rest += lines.pop()
        if len(rest) > MAX_LINE:
            raise WireError(LinkReason.TOO_LARGE, f"line of more than {MAX_LINE} bytes")
        events: list[LinkEvent] = []
        bad = 0
        ends_with_event = False
        for line in lines:
            ends_with_event = False
            if not line.strip():
                continue
            try:
                events.append(decode_forwarded(line))
                ends_with_event = True
            except WireError:
                bad += 1
        self.exact = ends_with_event and not rest
        return events, bad
