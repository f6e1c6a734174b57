"""What one request was: raw instants, where it went, and how it ended. Pure: stamps come in, phases come out."""

from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from daemons.errors import LatencyError

__all__ = [
    "Attempt",
    "AttemptError",
    "ConnectionKind",
    "Instants",
    "Judge",
    "Phase",
    "Reason",
    "Reconnect",
    "UnprocessedError",
]


class ConnectionKind(StrEnum):
    """On what kind of connection a request was made."""

    COLD = "cold"
    """On a connection made for it: name, connect and TLS are part of its latency."""
    WARM = "warm"
    """On a connection that had already answered a request."""


class Phase(StrEnum):
    """The parts of a request, in their order."""

    DNS = "dns"
    CONNECT = "connect"
    TUNNEL = "tunnel"
    """From the call that hands CONNECT to the kernel to the proxy's answer."""
    TLS = "tls"
    PROCESSING = "processing"
    """From the last byte of the request handed to the kernel to the first byte of the final response."""
    TRANSFER = "transfer"
    """From the first byte of the final response to the last."""


class Reason(StrEnum):
    """Why an attempt failed: the values of the metrics' ``reason`` label."""

    DNS = "dns"
    DNS_TIMEOUT = "dns_timeout"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_UNREACHABLE = "connect_unreachable"
    CONNECT = "connect"
    """Connecting failed in a way that has no word of its own; the detail names it."""
    LOCAL = "local"
    """This host's own doing: the source address is not ours, descriptors or threads have run out."""
    TUNNEL_TIMEOUT = "tunnel_timeout"
    """The proxy was asked for a tunnel and did not answer."""
    PROXY_DENIED = "proxy_denied"
    """The proxy answered 403: its rules forbid the client or the target."""
    PROXY_AUTHENTICATION = "proxy_authentication"
    """The proxy answered 407: it wants user and password, or others."""
    PROXY_UNAVAILABLE = "proxy_unavailable"
    """The proxy answered 5xx: it does not reach the target, or is overloaded."""
    PROXY_REFUSED = "proxy_refused"
    """The proxy answered CONNECT with any other status than 2xx; the detail names it."""
    TLS = "tls"
    TLS_TIMEOUT = "tls_timeout"
    CERTIFICATE = "certificate"
    HTTP_VERSION = "http_version"
    """The server does not speak the HTTP version asked for."""
    TIMEOUT = "timeout"
    """The request was sent and no byte of a response came."""
    TRANSFER_TIMEOUT = "transfer_timeout"
    """The response began and did not end."""
    RESET = "reset"
    CLOSED = "closed"
    """The peer closed in order, but before the response was complete."""
    PROTOCOL = "protocol"
    """What came is not HTTP."""
    REDIRECT = "redirect"
    """The answer points elsewhere; a probe does not follow, since it would measure another place."""
    STATUS = "status"
    BODY = "body"
    TOO_LARGE = "too_large"
    INTERNAL = "internal"
    """A fault of the probe itself; the log has the traceback."""


class Reconnect(StrEnum):
    """Why a connection could not serve another request: the values of the ``reason`` label of reconnects."""

    CLOSED = "closed"
    """The server closed it, or said that it would."""
    GOAWAY = "goaway"
    """The server retires it (HTTP/2), before the request or while that was on its way."""
    REFUSED = "refused"
    """The server does not take the stream (HTTP/2), or no streams at all."""
    SURPLUS = "surplus"
    """Bytes came that no request had asked for: what is read next could be anybody's answer."""
    FAILED = "failed"
    """The request before failed, and left it in the middle of an answer."""


class AttemptError(LatencyError):
    """An attempt failed.

    Args:
        reason: the word for the metric label.
        detail: the sentence: offending value, why, remedy.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class UnprocessedError(AttemptError):
    """The server says that it has done nothing for the request, which can be made again on another connection.

    Args:
        reason: if it is not made again.
        reconnect: why another connection is needed.
        detail: the sentence.
    """

    def __init__(self, reason: Reason, reconnect: Reconnect, detail: str) -> None:
        super().__init__(reason, detail)
        self.reconnect = reconnect


class Instants(msgspec.Struct):
    """Raw instants of the monotonic clock in nanoseconds; None for what was not reached.

    Attributes:
        intended: when the schedule wanted the attempt to start.
        start: when it started.
        dns_start: the name was handed to the resolver; stays None when the address is pinned or written in the URL.
        dns_done: the address was known.
        connect_start: connect(2) was called.
        connect_done: the connection stood.
        tunnel_start: the call that handed CONNECT for a proxy to the kernel began; stays None without a tunnel.
        tunnel_done: the proxy's answer had arrived.
        tls_start: the handshake began.
        tls_done: the handshake was complete on our side.
        request_sent: the call that handed the end of the request to the kernel began.
        first_interim: the first byte of the first interim response (RFC 9110, section 15.2) arrived, if there was one.
        first_byte: the first byte of the final response arrived.
        last_byte: the last byte of the response arrived.
        end: the attempt was over, whatever came of it.
    """

    intended: int
    start: int
    dns_start: int | None = None
    dns_done: int | None = None
    connect_start: int | None = None
    connect_done: int | None = None
    tunnel_start: int | None = None
    tunnel_done: int | None = None
    tls_start: int | None = None
    tls_done: int | None = None
    request_sent: int | None = None
    first_interim: int | None = None
    first_byte: int | None = None
    last_byte: int | None = None
    end: int | None = None

    def phases(self) -> Iterator[tuple[Phase, int]]:
        """Yield each phase that was completed and its duration in nanoseconds."""
        for phase, since, until in (
            (Phase.DNS, self.dns_start, self.dns_done),
            (Phase.CONNECT, self.connect_start, self.connect_done),
            (Phase.TUNNEL, self.tunnel_start, self.tunnel_done),
            (Phase.TLS, self.tls_start, self.tls_done),
            (Phase.PROCESSING, self.request_sent, self.first_byte),
            (Phase.TRANSFER, self.first_byte, self.last_byte),
        ):
            if since is not None and until is not None:
                yield phase, until - since

    @property
    def interim_ns(self) -> int | None:
        """From the request to the first byte of the first interim response; None without one. Part of processing."""
        if self.request_sent is None or self.first_interim is None:
            return None
        return self.first_interim - self.request_sent

    @property
    def total_ns(self) -> int | None:
        """From the actual start to the last byte of the response; None when that did not come."""
        return None if self.last_byte is None else self.last_byte - self.start

    @property
    def scheduled_total_ns(self) -> int | None:
        """From the intended start to the last byte: what a client on the fixed schedule would have waited."""
        return None if self.last_byte is None else self.last_byte - self.intended

    @property
    def lag_ns(self) -> int:
        """How much later than intended the attempt started: the prober's own fault, never the target's."""
        return self.start - self.intended

    def timeout_reason(self) -> Reason:
        """Name the phase that the attempt was in, when its time ran out."""
        if self.first_byte is not None:
            return Reason.TRANSFER_TIMEOUT
        if self.request_sent is not None:
            return Reason.TIMEOUT
        if self.tls_start is not None and self.tls_done is None:
            return Reason.TLS_TIMEOUT
        if self.tunnel_start is not None and self.tunnel_done is None:
            return Reason.TUNNEL_TIMEOUT
        if self.connect_start is not None and self.connect_done is None:
            return Reason.CONNECT_TIMEOUT
        if self.dns_start is not None and self.dns_done is None:
            return Reason.DNS_TIMEOUT
        return Reason.TIMEOUT


class Attempt(msgspec.Struct):
    """One request and all that is known of it.

    Attributes:
        target: the target's name.
        connection: cold or warm.
        instants: the raw stamps.
        wall_ns: the wall clock at the actual start, to place it in time; durations never come from it.
        reason: why it failed; None for success.
        detail: the same as a sentence.
        address: the one address that was tried; with a proxy, the proxy's.
        source: our own address and port on that connection.
        tls_version: as negotiated.
        cipher: as negotiated.
        http_version: as negotiated.
        certificate_expiry_seconds: notAfter of the server's own certificate, Unix time.
        status: of the response.
        body_bytes: received of the response's body.
        interim_responses: how many preceded the final one.
        host_delay_ns: from the kernel's stamp on the response's first byte to our reading it; None without a stamp.
        retried: why the request was made again on another connection, each time; total counts from the first try, all
            else is of the last.
        lost: why its connection serves no other request; None when it does, or none was made.
    """

    target: str
    connection: ConnectionKind
    instants: Instants
    wall_ns: int
    reason: Reason | None = None
    detail: str = ""
    address: str = ""
    source: str = ""
    tls_version: str = ""
    cipher: str = ""
    http_version: str = ""
    certificate_expiry_seconds: int | None = None
    status: int | None = None
    body_bytes: int = 0
    interim_responses: int = 0
    host_delay_ns: int | None = None
    retried: tuple[Reconnect, ...] = ()
    lost: Reconnect | None = None

    def begin_again(self, why: Reconnect) -> None:
        """Forget what was on a connection that has to be given up: the attempt is now one that connects."""
        self.retried += (why,)
        self.connection = ConnectionKind.COLD
        self.instants = Instants(self.instants.intended, self.instants.start)

    def fail(self, reason: Reason, detail: str) -> None:
        """Mark the attempt as failed."""
        self.reason = reason
        self.detail = detail

    @property
    def succeeded(self) -> bool:
        """Whether the response came and was what the target is expected to answer."""
        return self.reason is None


Judge = Callable[[Attempt, bytes], None]
"""Looks at an attempt and its body that are otherwise good; raises AttemptError for what it does not accept."""
