"""One WebSocket connection to an exchange without I/O: bytes in, events out.

The protocol is the websockets library's own Sans-I/O core (RFC 6455); this module adds what an exchange means by it.
Frames are cut here, by their length fields alone: a whole, unmasked, final text frame, which is what nearly all of them
are, is taken as it stands, and any other goes to the library. That costs a tenth of what the library's parser costs,
and leaves every rule but the cutting to the library.
"""

from collections.abc import Iterable

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from daemons.errors import FeedError
from daemons.feed.binance import Decoder, Invalid, Notice
from daemons.feed.endpoints import is_raw, shown, streams_in
from daemons.feed.sbe import SbeDecoder
from daemons.reasons import FeedReason
from daemons.records import FeedEvent
from daemons.secret import Secret

__all__ = ["FeedSession"]

_END_OF_HEAD = b"\r\n\r\n"
_FINAL_TEXT = 0x80 | Opcode.TEXT
_FINAL_BINARY = 0x80 | Opcode.BINARY
API_KEY_HEADER = "X-MBX-APIKEY"
_MASKED = 0x80
MAX_HEAD_BYTES = 65_536
MAX_SHOWN = 200


class FeedSession:
    """One connection: :meth:`start`, then for every read :meth:`receive_data`.

    When that has ``stirred`` more than events, :meth:`data_to_send` and :meth:`check` come next.

    What ends a connection may come together with its last events: take these first, then see whether it goes on.

    Args:
        url: the full feed URL.
        max_message_bytes: larger messages end the connection.
        user_agent: what to say we are.
        sbe: events come as binary frames in SBE; answers and notices still as JSON text.
        api_key: to send with the handshake.

    Attributes:
        established: the handshake is complete.
        exact: the last read ended with its last event: that event, and it alone, came with the read's last packet.
        stirred: something else than events has come since :meth:`data_to_send`.
        invalid: messages that were no events, by reason.
        notices: words of the exchange that it is about to close the connection.
        pongs: payloads of pongs that have come.
        replies: answers to control requests received; ``refusals`` those that were errors, as text.
    """

    def __init__(
        self,
        url: str,
        *,
        max_message_bytes: int = 4 << 20,
        user_agent: str = "backbone-latency",
        sbe: bool = False,
        api_key: Secret | None = None,
    ) -> None:
        self._shown = shown(url)
        self._max_bytes = max_message_bytes
        # No extensions: per-message compression costs latency on both ends.
        self._protocol = ClientProtocol(parse_uri(url), max_size=max_message_bytes)
        self._user_agent = user_agent
        self._api_key = api_key
        self._sbe = SbeDecoder() if sbe else None
        # What nearly all frames are is cut here, and what is done with it.
        self._usual = _FINAL_BINARY if sbe else _FINAL_TEXT
        self._take_usual = self._take_binary if sbe else self._take
        self._fragment_opcode = Opcode.TEXT
        self._decode = Decoder(streams_in(url) if is_raw(url) else ()).decode
        self._fragments: list[bytes] = []
        self._head_end = b""
        self._head_done = False
        self._partial = bytearray()
        self.exact = False
        self.stirred = True
        self.established = False
        self.invalid = dict.fromkeys(Invalid, 0)
        self.replies = 0
        self.refusals: list[str] = []
        self.notices = 0
        self.pongs: list[bytes] = []
        self._head = bytearray()
        self._refusal: FeedError | None = None

    def start(self) -> None:
        """Begin the handshake."""
        request = self._protocol.connect()
        request.headers["User-Agent"] = self._user_agent
        if self._api_key is not None:
            request.headers[API_KEY_HEADER] = self._api_key.value.decode()
        self._protocol.send_request(request)

    def receive_data(self, data: bytes) -> list[FeedEvent]:
        """Take in received bytes.

        Returns:
            The events that they complete, in order.
        """
        events: list[FeedEvent] = []
        if not self.established:
            data = self._receive_head(data, events)
        if data:
            self._receive_frames(data, events)
        return events

    def check(self) -> None:
        """See whether the connection goes on.

        Raises:
            FeedError: the exchange refused the connection (``http_403``, ``http_429``, ``handshake``), broke the
                protocol (``protocol``, ``too_large``) or closed the connection (``closed``).
        """
        if self._refusal is not None:
            raise self._refusal
        if not self.established:
            self._check_handshake()
        elif self._protocol.state is not State.OPEN:
            self._raise_closed()

    def receive_eof(self) -> FeedError:
        """Take in that the peer closed the TCP connection; return what that means."""
        self._protocol.receive_eof()
        try:
            self._check_handshake()
            self._raise_closed()
        except FeedError as error:
            return error
        return FeedError(FeedReason.CLOSED, f"{self._shown}: closed by the exchange")

    def ping(self, payload: bytes) -> None:
        """Ask the exchange for a pong with this payload, once established."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(payload)

    def data_to_send(self) -> Iterable[bytes]:
        """Return what the protocol wants sent: the handshake, pongs, the closing handshake."""
        self.stirred = False
        return [data for data in self._protocol.data_to_send() if data]

    def _receive_head(self, data: bytes, events: list[FeedEvent]) -> bytes:
        """Hand the handshake's answer to the protocol; return the bytes after it, once it is complete."""
        if not self._head_done:
            seen = len(self._head_end)
            window = self._head_end + data
            self._head += data[: MAX_HEAD_BYTES - len(self._head)]
            found = window.find(_END_OF_HEAD)
            self._head_end = window[-3:]
            if found >= 0:
                # The protocol gets no byte beyond the head, so that it never holds part of a frame.
                self._head_done = True
                stop = found + len(_END_OF_HEAD) - seen
                self._hand_over(data[:stop], events)
                data = data[stop:]
                if self.established:
                    return data
                # The head says it all: a body may be large, or never end.
                self._refusal = self._refused_by(bytes(self._head))
        self._hand_over(data, events)
        return b""

    def _receive_frames(self, data: bytes, events: list[FeedEvent]) -> None:
        """Cut bytes into frames (RFC 6455, section 5.2)."""
        window: bytes | bytearray = data
        if self._partial:
            self._partial += data
            window = self._partial
        at, end = 0, len(window)
        before = len(events)
        while end - at >= 2:
            before = len(events)
            if window[at + 1] & _MASKED:
                # A server must not mask (section 5.1); the protocol says so.
                self._hand_over(bytes(window[at:]), events)
                at = end
                break
            start, size = _payload(window, at, end)
            stop = start + size
            if window[at] == self._usual and stop <= end and size <= self._max_bytes and not self._fragments:
                self._take_usual(bytes(window[start:stop]), events)
            elif stop <= end or (size > self._max_bytes and start <= end):
                # What is too large is refused for its head, without waiting for the rest.
                stop = min(stop, end)
                self._hand_over(bytes(window[at:stop]), events)
                if self._protocol.state is not State.OPEN:
                    stop = end
            else:
                break
            at = stop
        self.exact = at == end and len(events) > before
        if window is self._partial:
            del self._partial[:at]
        elif at < end:
            self._partial = bytearray(window[at:])

    def _hand_over(self, data: bytes, events: list[FeedEvent]) -> None:
        """Let the protocol deal with bytes."""
        self.stirred = True
        self._protocol.receive_data(data)
        for happened in self._protocol.events_received():
            if isinstance(happened, Frame):
                self._take_frame(happened, events)
            elif isinstance(happened, Response):
                self.established = self._protocol.handshake_exc is None

    def _take(self, payload: bytes, events: list[FeedEvent]) -> None:
        decoded = self._decode(payload)
        if isinstance(decoded, FeedEvent):
            events.append(decoded)
            return
        self.stirred = True
        if isinstance(decoded, Invalid):
            self.invalid[decoded] += 1
        elif isinstance(decoded, Notice):
            self.notices += 1
        else:
            self.replies += 1
            if decoded.error is not None:
                self.refusals.append(decoded.error)

    def _take_binary(self, payload: bytes, events: list[FeedEvent]) -> None:
        assert self._sbe is not None
        decoded = self._sbe.decode(payload)
        if isinstance(decoded, Invalid):
            self.stirred = True
            self.invalid[decoded] += 1
        else:
            events += decoded

    def _take_frame(self, frame: Frame, events: list[FeedEvent]) -> None:
        if frame.opcode is Opcode.BINARY and self._sbe is None:
            self.invalid[Invalid.BINARY] += 1
        elif frame.opcode is Opcode.PONG:
            self.pongs.append(bytes(frame.data))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY) or (frame.opcode is Opcode.CONT and self._fragments):
            if frame.opcode is not Opcode.CONT:
                self._fragment_opcode = frame.opcode
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                payload = b"".join(self._fragments)
                self._fragments.clear()
                take = self._take_binary if self._fragment_opcode is Opcode.BINARY else self._take
                take(payload, events)

    def _refused_by(self, head: bytes) -> FeedError | None:
        """Read the refusal out of the head of an answer (RFC 9112, section 4); None when it is none, or unreadable."""
        status, *fields = head.decode("latin-1").split("\r\n")
        words = status.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal() or words[1] == "101":
            return None
        names = {
            name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in fields)
        }
        return _refusal(self._shown, int(words[1]), names.get("retry-after"), names.get("location"))

    def _check_handshake(self) -> None:
        error = self._protocol.handshake_exc
        if error is None:
            return
        if isinstance(error, InvalidStatus):
            status, headers = error.response.status_code, error.response.headers
            raise _refusal(self._shown, status, headers.get("Retry-After"), headers.get("Location")) from error
        raise FeedError(FeedReason.HANDSHAKE, f"{self._shown}: {error}; is this a WebSocket endpoint?") from error

    def _raise_closed(self) -> None:
        error: Exception | None = self._protocol.parser_exc
        if isinstance(error, PayloadTooBig):
            raise FeedError(
                FeedReason.TOO_LARGE, f"{self._shown}: {error}; raise max_message_bytes if it is genuine"
            ) from error
        if isinstance(error, ProtocolError | UnicodeDecodeError | InvalidHandshake):
            raise FeedError(FeedReason.PROTOCOL, f"{self._shown}: broke the WebSocket protocol: {error}") from error
        said = self._protocol.close_rcvd
        why = f" ({said})" if said is not None else ""
        raise FeedError(FeedReason.CLOSED, f"{self._shown}: closed by the exchange{why}; reconnecting")


def _payload(window: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """Return where the payload of the frame at ``at`` starts and its size; a start past ``end`` is not known yet."""
    size = window[at + 1]
    if size < 126:
        return at + 2, size
    start = at + (4 if size == 126 else 10)
    return start, int.from_bytes(window[at + 2 : start]) if start <= end else 0


def _refusal(url: str, status: int, retry_after: str | None, location: str | None) -> FeedError:
    remedy = {
        403: "the address or region is refused by the exchange's firewall",
        418: "this address is banned for repeating 429s: wait",
        429: "too many connection attempts: the back-off will ease them",
        451: "the exchange does not serve this region",
    }.get(status, "check the URL, and the exchange's status page")
    if location is not None and 300 <= status < 400:
        # Not followed: which exchange a feed measures is for its owner to say.
        remedy = f"it points to {shown(location[:MAX_SHOWN])}: if that is meant, write it as the feed's url"
    seconds = _seconds_of(retry_after) if retry_after is not None else None
    asked = f" and asked to stay away for {seconds:g} s" if seconds is not None else ""
    reason = {4: FeedReason.HTTP_4XX, 5: FeedReason.HTTP_5XX}.get(status // 100, FeedReason.HTTP_OTHER)
    detail = f"{url}: answered HTTP {status}{asked}; {remedy}"
    return FeedError(reason, detail, status=status, retry_after_seconds=seconds)


def _seconds_of(retry_after: str) -> float | None:
    """Read a Retry-After header (RFC 9110, section 10.2.3); a date, which exchanges do not send, is not believed."""
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else None
