"""HTTP/2 as the probe needs it, without I/O: h2 on one connection, one stream after another (RFC 9113)."""

from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes

from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.response import Response
from daemons.probe.target import Request

__all__ = ["Http2"]


class Http2:
    """The protocol state of one connection; used as :class:`daemons.probe.http1.Http1`."""

    version = "2"

    def __init__(self, max_body_bytes: int) -> None:
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._max_body_bytes = max_body_bytes
        self._stream: int | None = None
        self._unsent = memoryview(b"")
        self._going_away = False
        self._begun = False
        self.response = Response()

    def request(self, request: Request) -> bytes:
        """Begin a request; return the bytes to send, on a new connection the preface before it."""
        connection = self._connection
        if not self._begun:
            connection.local_settings.update({SettingCodes.ENABLE_PUSH: 0})
            connection.initiate_connection()
            self._begun = True
        self.response = Response()
        self._stream = connection.get_next_available_stream_id()
        head = [
            (":method", request.method),
            (":scheme", request.scheme),
            (":authority", request.authority),
            (":path", request.path),
            *request.headers,
        ]
        if request.body:
            head.append(("content-length", str(len(request.body))))
        connection.send_headers(self._stream, head, end_stream=not request.body)
        self._unsent = memoryview(request.body)
        self._send_body()
        return connection.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """Take received bytes, none for the end of the connection; return bytes to send in answer.

        Raises:
            AttemptError: the response is not HTTP/2, refused, too large, or cut off.
        """
        if not data:
            raise AttemptError(Reason.CLOSED, "the server closed the connection before the response was complete")
        try:
            for event in self._events(data):
                self._take(event)
            self._send_body()
        except H2Error as error:
            if self._going_away:
                # h2 takes nothing after GOAWAY, not even the end of a stream that the server still serves.
                raise AttemptError(Reason.CLOSED, "the server went away before the response was complete") from error
            raise AttemptError(Reason.PROTOCOL, f"the answer is not HTTP/2: {error}") from error
        return self._connection.data_to_send()

    def idle(self, data: bytes) -> bytes | None:
        """Take what came between requests; return bytes to send, or None when the connection is of no more use."""
        try:
            for _event in self._events(data):
                # Pings and settings are answered by h2 itself.
                pass
        except H2Error:
            return None
        return None if self._going_away else self._connection.data_to_send()

    @property
    def reusable(self) -> bool:
        """Whether another request can be made on this connection."""
        return self._begun and not self._going_away and self.response.complete

    def _events(self, data: bytes) -> Iterable[Event]:
        events = self._connection.receive_data(data) if data else []
        self._going_away = self._going_away or any(isinstance(event, ConnectionTerminated) for event in events)
        return events

    def _take(self, event: Event) -> None:
        response = self.response
        if isinstance(event, ConnectionTerminated):
            # A server may finish the streams it has begun (RFC 9113, section 6.8).
            if (event.last_stream_id or 0) < (self._stream or 0):
                raise AttemptError(Reason.CLOSED, f"the server went away with error code {event.error_code}")
            return
        if getattr(event, "stream_id", None) != self._stream:
            return
        if isinstance(event, InformationalResponseReceived):
            response.started = True
        elif isinstance(event, ResponseReceived):
            response.started = True
            headers = {bytes(name): bytes(value) for name, value in event.headers}
            response.status = int(headers[b":status"])
            response.location = headers.get(b"location", b"").decode("latin-1")
        elif isinstance(event, DataReceived):
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            response.take(event.data, self._max_body_bytes)
        elif isinstance(event, StreamEnded):
            response.complete = True
        elif isinstance(event, StreamReset):
            raise AttemptError(Reason.RESET, f"the server reset the stream with error code {event.error_code}")

    def _send_body(self) -> None:
        """Hand out as much of the request's body as the peer's flow control allows (RFC 9113, section 5.2)."""
        while self._unsent and self._stream is not None:
            window = self._connection.local_flow_control_window(self._stream)
            size = min(window, self._connection.max_outbound_frame_size, len(self._unsent))
            if size <= 0:
                return
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            self._connection.send_data(self._stream, bytes(piece), end_stream=not self._unsent)
