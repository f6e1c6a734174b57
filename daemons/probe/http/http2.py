"""HTTP/2 as the probe needs it, without I/O: h2 on one connection, one stream after another (RFC 9113)."""

import contextlib
import re
import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import DenialOfServiceError, H2Error, StreamClosedError, TooManyStreamsError
from h2.settings import SettingCodes, Settings

from daemons.probe.attempt import AttemptError, Reason, Reconnect, UnprocessedError
from daemons.probe.http.request import Request
from daemons.probe.http.response import MAX_HEAD_BYTES, Response

__all__ = ["Http2"]


_FRAME_HEADER_BYTES = 9
_GOAWAY = 0x7
_GOAWAY_FIELDS = struct.Struct("!II")
_WITHOUT_BODY = (204, 304)
"""Statuses whose content-length is no length of a body (RFC 9110, section 8.6)."""
_STREAM_MASK = 0x7FFFFFFF
"""The highest bit of a stream's number is reserved (RFC 9113, section 4.1)."""


_SETTINGS = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES}
"""What we tell the server first: nothing is to be pushed, which would take from the answer's bandwidth."""


class Http2:
    """The protocol state of one connection; used as :class:`daemons.probe.http.http1.Http1`.

    GOAWAY is read here and not by h2, which takes nothing after it, not even the end of a stream that the server still
    serves (RFC 9113, section 6.8).
    """

    version = "2"

    def __init__(self, max_body_bytes: int) -> None:
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        # Those of an update are not in force before the server's acknowledgement, and not in the first frame.
        self._connection.local_settings = Settings(client=True, initial_values=_SETTINGS)
        self._connection.decoder.max_header_list_size = MAX_HEAD_BYTES
        self._max_body_bytes = max_body_bytes
        self._stream: int | None = None
        self._unsent = memoryview(b"")
        self._head = False
        self._length: int | None = None
        self._frames = bytearray()
        self._last_stream: int | None = None
        self._begun = False
        self._broken = False
        self.response = Response()

    def request(self, request: Request) -> bytes:
        """Begin a request; return the bytes to send, on a new connection the preface before it.

        Raises:
            UnprocessedError: the server takes no streams on this connection.
        """
        connection = self._connection
        if not self._begun:
            connection.initiate_connection()
            self._begun = True
        self.response = Response()
        self._head = request.method == "HEAD"
        self._length = None
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
        try:
            connection.send_headers(self._stream, head, end_stream=not request.body)
        except TooManyStreamsError as error:
            raise UnprocessedError(Reason.RESET, Reconnect.REFUSED, "the server takes no streams") from error
        self._unsent = memoryview(request.body)
        self._send_body()
        return connection.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """Take received bytes, none for the end of the connection; return bytes to send in answer.

        Raises:
            UnprocessedError: the server has done nothing for the request, and says so.
            AttemptError: the response is not HTTP/2, refused, too large, or cut off.
        """
        if not data:
            raise AttemptError(Reason.CLOSED, "the server closed the connection before the response was complete")
        try:
            self._receive(data)
            if self.response.complete:
                self._give_up_body()
            else:
                self._send_body()
        except (H2Error, AttemptError) as error:
            # What follows a complete answer is no fault of that, but the end of the connection.
            if not self.response.complete:
                raise _translated(error) from error
            self._broken = True
        return self._connection.data_to_send()

    def idle(self, data: bytes) -> bytes:
        """Take what came between requests; return bytes to send in answer."""
        # Pings and settings are answered by h2 itself.
        return self.receive(data) if data else b""

    @property
    def lost(self) -> Reconnect | None:
        """Why no other request can be made on this connection; None when one can."""
        if self._last_stream is not None:
            return Reconnect.GOAWAY
        if self._broken:
            return Reconnect.SURPLUS
        if not self.response.complete:
            return Reconnect.FAILED
        # Such a server may take streams again, but does not say when (RFC 9113, section 6.5.2).
        return Reconnect.REFUSED if self._connection.remote_settings.max_concurrent_streams < 1 else None

    def _receive(self, data: bytes) -> None:
        """Take frames in their order, GOAWAY ourselves, all others by h2."""
        self._frames += data
        while len(self._frames) >= _FRAME_HEADER_BYTES:
            length = int.from_bytes(self._frames[:3], "big")
            if length > self._connection.max_inbound_frame_size:
                # Here and not by h2, which waits for all of it first: another protocol's text is a frame of megabytes.
                raise AttemptError(Reason.PROTOCOL, f"the answer is not HTTP/2: a frame of {length} bytes")
            end = _FRAME_HEADER_BYTES + length
            if end > len(self._frames):
                return
            frame = bytes(self._frames[:end])
            del self._frames[:end]
            if frame[3] == _GOAWAY:
                self._go_away(frame)
                continue
            for event in self._connection.receive_data(frame):
                self._take(event)

    def _go_away(self, frame: bytes) -> None:
        if len(frame) < _FRAME_HEADER_BYTES + _GOAWAY_FIELDS.size or int.from_bytes(frame[5:9], "big") & _STREAM_MASK:
            raise AttemptError(Reason.PROTOCOL, "the answer is not HTTP/2: a GOAWAY frame of the wrong form")
        last, code = _GOAWAY_FIELDS.unpack_from(frame, _FRAME_HEADER_BYTES)
        self._last_stream = last & _STREAM_MASK
        if not self.response.complete and self._last_stream < (self._stream or 0):
            raise UnprocessedError(
                Reason.CLOSED, Reconnect.GOAWAY, f"the server went away with error code {code}, without an answer"
            )

    def _take(self, event: Event) -> None:
        response = self.response
        if getattr(event, "stream_id", None) != self._stream or response.complete:
            return
        if isinstance(event, InformationalResponseReceived):
            response.interim += 1
        elif isinstance(event, ResponseReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            response.take(event.data, self._max_body_bytes)
        elif isinstance(event, StreamEnded):
            self._check_length()
            response.complete = True
        elif isinstance(event, StreamReset):
            raise _reset(event.error_code)

    def _begin(self, event: ResponseReceived) -> None:
        """Take the head of the final response."""
        response = self.response
        response.started = True
        headers = {bytes(name): bytes(value) for name, value in event.headers}
        # Three digits, and not below 100 (RFC 9110, section 15).
        if not re.fullmatch(rb"[1-9][0-9]{2}", headers[b":status"]):
            raise AttemptError(Reason.PROTOCOL, f"the answer is not HTTP/2: status {headers[b':status'][:20]!r}")
        response.status = int(headers[b":status"])
        response.location = headers.get(b"location", b"").decode("latin-1")
        if b"content-length" in headers and not self._head and response.status not in _WITHOUT_BODY:
            self._length = int(headers[b"content-length"])

    def _check_length(self) -> None:
        """Refuse a body of another length than announced (RFC 9113, section 8.1.1), which h2 forgets at trailers."""
        came = len(self.response.body)
        if self._length not in (None, came):
            raise AttemptError(Reason.PROTOCOL, f"the body ends after {came} bytes instead of {self._length}")

    def _give_up_body(self) -> None:
        """Let the server know that the rest of the request does not come: it has answered without (section 8.1)."""
        if self._unsent and self._stream is not None:
            self._unsent = memoryview(b"")
            with contextlib.suppress(StreamClosedError):
                self._connection.reset_stream(self._stream, ErrorCodes.CANCEL)

    def _send_body(self) -> None:
        """Hand out as much of the request's body as the peer's flow control allows (RFC 9113, section 5.2)."""
        while self._unsent and self._stream is not None:
            window = self._connection.local_flow_control_window(self._stream)
            size = min(window, self._connection.max_outbound_frame_size, len(self._unsent))
            if size <= 0:
                return
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            self._connection.send_data(self._stream, bytes(piece), end_stream=not self._unsent)


def _reset(code: ErrorCodes | int | None) -> AttemptError:
    """Say what a stream's error code means (RFC 9113, section 7)."""
    if code == ErrorCodes.REFUSED_STREAM:
        # Nothing was done for the request (section 8.7).
        return UnprocessedError(Reason.RESET, Reconnect.REFUSED, "the server refuses the stream")
    if code == ErrorCodes.HTTP_1_1_REQUIRED:
        return AttemptError(Reason.HTTP_VERSION, 'the server answers this by HTTP/1.1 alone; set http = "1.1"')
    return AttemptError(Reason.RESET, f"the server reset the stream with error code {code}")


def _translated(error: H2Error | AttemptError) -> AttemptError:
    if isinstance(error, AttemptError):
        return error
    if isinstance(error, DenialOfServiceError):
        return AttemptError(Reason.TOO_LARGE, f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes: {error}")
    return AttemptError(Reason.PROTOCOL, f"the answer is not HTTP/2: {error}")
