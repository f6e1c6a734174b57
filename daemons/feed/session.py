"""One WebSocket connection to an exchange without I/O: bytes in, events out.

The protocol is the websockets library's own Sans-I/O core (RFC 6455); this module adds what an exchange means by it.
"""

from collections.abc import Iterable

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from daemons.errors import FeedError
from daemons.feed.binance import Decoder, Invalid, Reply, streams_in
from daemons.records import FeedEvent

__all__ = ["FeedSession"]


class FeedSession:
    """One connection: :meth:`start`, then for every read :meth:`receive_data`, :meth:`data_to_send`, :meth:`check`.

    What ends a connection may come together with its last events: take these first, then see whether it goes on.

    Args:
        url: the full feed URL.
        max_message_bytes: larger messages end the connection.
        user_agent: what to say we are.

    Attributes:
        established: the handshake is complete.
        invalid: messages that were no events, by reason.
        replies: answers to control requests received; ``refusals`` those that were errors, as text.
    """

    def __init__(self, url: str, *, max_message_bytes: int = 4 << 20, user_agent: str = "backbone-latency") -> None:
        self._url = url
        # No extensions: per-message compression costs latency on both ends.
        self._protocol = ClientProtocol(parse_uri(url), max_size=max_message_bytes)
        self._user_agent = user_agent
        named = streams_in(url)
        self._decode = Decoder(named[0] if len(named) == 1 and "/ws/" in url else None).decode
        self._fragments: list[bytes] = []
        self.established = False
        self.invalid = dict.fromkeys(Invalid, 0)
        self.replies = 0
        self.refusals: list[str] = []

    def start(self) -> None:
        """Begin the handshake."""
        request = self._protocol.connect()
        request.headers["User-Agent"] = self._user_agent
        self._protocol.send_request(request)

    def receive_data(self, data: bytes) -> list[FeedEvent]:
        """Take in received bytes.

        Returns:
            The events that they complete, in order.
        """
        protocol = self._protocol
        protocol.receive_data(data)
        events: list[FeedEvent] = []
        for happened in protocol.events_received():
            if isinstance(happened, Frame):
                if happened.opcode is Opcode.TEXT and happened.fin:
                    self._take(bytes(happened.data), events)
                else:
                    self._take_unusual(happened, events)
            elif isinstance(happened, Response):
                self.established = protocol.handshake_exc is None
        return events

    def check(self) -> None:
        """See whether the connection goes on.

        Raises:
            FeedError: the exchange refused the connection (``http_403``, ``http_429``, ``handshake``), broke the
                protocol (``protocol``, ``too_large``) or closed the connection (``closed``).
        """
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
        return FeedError("closed", f"{self._url}: closed by the exchange")

    def data_to_send(self) -> Iterable[bytes]:
        """Return what the protocol wants sent: the handshake, pongs, the closing handshake."""
        return [data for data in self._protocol.data_to_send() if data]

    def _take(self, payload: bytes, events: list[FeedEvent]) -> None:
        decoded = self._decode(payload)
        if type(decoded) is FeedEvent:
            events.append(decoded)
        elif isinstance(decoded, Invalid):
            self.invalid[decoded] += 1
        elif isinstance(decoded, Reply):
            self.replies += 1
            if decoded.error is not None:
                self.refusals.append(decoded.error)

    def _take_unusual(self, frame: Frame, events: list[FeedEvent]) -> None:
        if frame.opcode is Opcode.BINARY:
            self.invalid[Invalid.BINARY] += 1
        elif frame.opcode is Opcode.TEXT or (frame.opcode is Opcode.CONT and self._fragments):
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                payload = b"".join(self._fragments)
                self._fragments.clear()
                self._take(payload, events)

    def _check_handshake(self) -> None:
        error = self._protocol.handshake_exc
        if error is None:
            return
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            remedy = {
                403: "the address or region is refused by the exchange's firewall",
                418: "this address is banned for repeating 429s: wait",
                429: "too many connection attempts: the back-off will ease them",
                451: "the exchange does not serve this region",
            }.get(status, "check the URL, and the exchange's status page")
            raise FeedError(f"http_{status}", f"{self._url}: answered HTTP {status}; {remedy}") from error
        raise FeedError("handshake", f"{self._url}: {error}; is this a WebSocket endpoint?") from error

    def _raise_closed(self) -> None:
        error: Exception | None = self._protocol.parser_exc
        if isinstance(error, PayloadTooBig):
            raise FeedError("too_large", f"{self._url}: {error}; raise max_message_bytes if it is genuine") from error
        if isinstance(error, ProtocolError | UnicodeDecodeError | InvalidHandshake):
            raise FeedError("protocol", f"{self._url}: broke the WebSocket protocol: {error}") from error
        said = self._protocol.close_rcvd
        why = f" ({said})" if said is not None else ""
        raise FeedError("closed", f"{self._url}: closed by the exchange{why}; reconnecting")
