"""HTTP/1.1 as the probe needs it, without I/O: h11 on one connection, request after request."""

import h11

from daemons.probe.attempt import AttemptError, Reason, Reconnect
from daemons.probe.http.request import Request
from daemons.probe.http.response import MAX_HEAD_BYTES, Response

__all__ = ["Http1"]

# Of a minor version that is not known more is not asked than of 1.1 (RFC 9110, section 2.5).
_SIGN = b"HTTP/1."
_HEADER_FIELDS_TOO_LARGE = 431
_WITHOUT_ANSWER = "the server closed the connection without an answer"


class Http1:
    """The protocol state of one connection.

    Call :meth:`request`, send what it returns, then give :meth:`receive` what comes until the response is complete.
    """

    version = "1.1"

    def __init__(self, max_body_bytes: int) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._max_body_bytes = max_body_bytes
        self._ended = False
        self._surplus = False
        self.response = Response()

    def request(self, request: Request) -> bytes:
        """Begin a request; return the bytes to send."""
        if self._connection.our_state is h11.DONE:
            self._connection.start_next_cycle()
        self.response = Response()
        headers = [("host", request.authority), *request.headers]
        if request.body or request.method in ("POST", "PUT"):
            headers.append(("content-length", str(len(request.body))))
        head = h11.Request(method=request.method, target=request.target, headers=headers)
        events: list[h11.Event] = [head, h11.Data(data=request.body), h11.EndOfMessage()]
        return b"".join(self._connection.send(event) or b"" for event in events)

    def receive(self, data: bytes) -> bytes:
        """Take received bytes, none for the end of the connection; return bytes to send in answer.

        Raises:
            AttemptError: the response is not HTTP, too large, or cut off.
        """
        response = self.response
        # h11 calls a connection fit for another request whose end was also the end of a body without length.
        self._ended = not data
        if not data and not response.started:
            raise AttemptError(Reason.CLOSED, _WITHOUT_ANSWER)
        response.started = True
        try:
            self._connection.receive_data(data)
            while not response.complete:
                if response.status is None:
                    self._check_beginning()
                event = self._connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._take(event)
        except h11.RemoteProtocolError as error:
            if not data:
                raise AttemptError(
                    Reason.CLOSED, "the server closed the connection before the response was complete"
                ) from error
            if error.error_status_hint == _HEADER_FIELDS_TOO_LARGE:
                raise AttemptError(
                    Reason.TOO_LARGE, f"the head or a trailer of the answer is longer than {MAX_HEAD_BYTES} bytes"
                ) from error
            raise AttemptError(Reason.PROTOCOL, f"the answer is not HTTP/1.1: {error}") from error
        return b""

    def _check_beginning(self) -> None:
        """Refuse what cannot become a status line; h11 looks at no line before its end, which may never come."""
        unread, _ended = self._connection.trailing_data
        if not _SIGN.startswith(unread[: len(_SIGN)]):
            raise AttemptError(Reason.PROTOCOL, f"the answer is not HTTP/1.1: it begins with {unread[:20]!r}")

    def _take(self, event: object) -> None:
        response = self.response
        if isinstance(event, h11.InformationalResponse):
            response.interim += 1
            unread, _ended = self._connection.trailing_data
            response.started = bool(unread)
        elif isinstance(event, h11.Response):
            response.status = event.status_code
            response.location = _header(event, b"location")
        elif isinstance(event, h11.Data):
            response.take(bytes(event.data), self._max_body_bytes)
        elif isinstance(event, h11.EndOfMessage):
            response.complete = True
        elif isinstance(event, h11.ConnectionClosed):
            raise AttemptError(Reason.CLOSED, _WITHOUT_ANSWER)

    def idle(self, data: bytes) -> bytes:
        """Take what came between requests; return bytes to send in answer."""
        # A server has nothing to say unasked, but a complaint before it closes.
        self._surplus = self._surplus or bool(data)
        return b""

    @property
    def lost(self) -> Reconnect | None:
        """Why no other request can be made on this connection; None when one can."""
        if not self.response.complete:
            return Reconnect.FAILED
        unread, _ended = self._connection.trailing_data
        if unread or self._surplus:
            return Reconnect.SURPLUS
        states = (self._connection.our_state, self._connection.their_state)
        return Reconnect.CLOSED if self._ended or states != (h11.DONE, h11.DONE) else None


def _header(response: h11.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key == name), "")
