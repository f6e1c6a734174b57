"""Making a connection: name, address, TCP, TLS; one deadline over all, and one reason when it fails."""

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from aiohappyeyeballs import AddrInfoType, start_connection

from daemons.errors import StreamError
from daemons.reasons import StreamReason
from daemons.stream import stamping
from daemons.stream.descriptors import lacking
from daemons.stream.local_end import ANYWHERE, LocalEnd
from daemons.stream.tls import TlsSession

__all__ = ["Dialled", "dial", "prepare", "reason_of", "resolve"]

NEXT_ADDRESS_SECONDS = 0.25
"""The delay that RFC 8305, section 5, recommends before the next address is tried as well."""

DEAD_SECONDS = 15
"""How long the peer's kernel may leave ours without an answer before the connection counts as dead."""

UNSENT_BYTES = 4096
"""What the kernel may keep that TCP cannot send yet (tcp(7): TCP_NOTSENT_LOWAT), some dozen events; the rest waits with
us, and is known to wait."""

_ERRNO = re.compile(r"\[Errno (\d+)\]")

_REASONS = {
    errno.ECONNREFUSED: (StreamReason.REFUSED, "nothing listens there, or a firewall rejects it"),
    errno.ECONNRESET: (StreamReason.RESET, "the peer or a middle box cut the connection"),
    errno.EPIPE: (StreamReason.RESET, "the peer cut the connection"),
    errno.ETIMEDOUT: (StreamReason.TIMEOUT, "check routes, security groups and the peering connection"),
    errno.EHOSTUNREACH: (StreamReason.UNREACHABLE, "check routes, security groups and the peering connection"),
    errno.ENETUNREACH: (StreamReason.UNREACHABLE, "check this host's routes"),
    errno.EMFILE: (StreamReason.LOCAL, "this process has run out of file descriptors: raise LimitNOFILE"),
    errno.EADDRNOTAVAIL: (
        StreamReason.LOCAL,
        "source_address is none of this host's, or it has no port left for this peer",
    ),
    errno.ENODEV: (StreamReason.LOCAL, "this host has no such interface: see interface, and ip link"),
    errno.ENFILE: (StreamReason.LOCAL, "this host has run out of open files: raise fs.file-max"),
}


@dataclass(slots=True)
class Dialled:
    """A connected, non-blocking socket with kernel stamps on, and its TLS session if there is one.

    ``peer`` is how the peer was named, ``address`` the one of its addresses that answered.
    """

    socket: socket.socket
    tls: TlsSession | None
    peer: str
    address: str


def prepare(sock: socket.socket) -> None:
    """Make a TCP socket fit for events: sent at once, and given up when the peer's host has gone.

    Without the second, a connection that is cut and on which one end only listens would stay for ever, and one on
    which it sends for a quarter of an hour (tcp(7): TCP_KEEPIDLE, TCP_USER_TIMEOUT).
    """
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_SECONDS // 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_SECONDS // 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000)


def reason_of(error: OSError, where: str) -> StreamError:
    """Translate an error of a socket call: a fixed reason and a sentence with the remedy."""
    reason, remedy = _REASONS.get(_number_of(error), (StreamReason.IO, "see the system's error"))
    return StreamError(reason, f"{where}: {error.strerror or error}; {remedy}")


def _number_of(error: OSError) -> int:
    """Return the error's number; of addresses that failed differently the errors come as one text: the last counts."""
    if error.errno:
        return error.errno
    named = _ERRNO.findall(str(error))
    return int(named[-1]) if named else 0


async def dial(
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None = None,
    server_name: str = "",
    addresses: Sequence[str] = (),
    turn: int | None = None,
    local: LocalEnd = ANYWHERE,
    timeout_seconds: float = 10.0,
) -> Dialled:
    """Connect to a name or address, trying its addresses side by side (Happy Eyeballs, RFC 8305).

    An address whose TLS handshake fails is left for the others.

    Args:
        host: name or address.
        port: TCP port.
        context: TLS settings; None for plain TCP.
        server_name: the name to verify and to send as SNI; the host by default.
        addresses: where to connect instead of the host's own addresses.
        turn: which of the addresses, in their own order, to try first, counted on from the last to the first; None for
            the resolver's order.
        local: where the connection leaves this host.
        timeout_seconds: for all of it together.

    Raises:
        StreamError: with reason ``dns``, ``refused``, ``timeout``, ``unreachable``, ``reset``, ``tls``,
            ``certificate``, ``local`` or ``io``.
    """
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout_seconds):
            untried: list[AddrInfoType] = []
            for one in tuple(addresses) or (host,):
                untried += await resolve(one, port, socket.SOCK_STREAM)
            fitting = [info for info in untried if local.fits(info[0])]
            if not fitting:
                raise StreamError(
                    StreamReason.LOCAL, f"{where}: no address of the family of {local}; change source_address"
                )
            return await _dial(_in_turn(fitting, turn), where, context, server_name or host, local)
    except TimeoutError as error:
        raise StreamError(
            StreamReason.TIMEOUT,
            f"{where}: no connection within {timeout_seconds:g} s; check routes, security groups and the peer",
        ) from error


async def resolve(
    host: str, port: int, kind: socket.SocketKind
) -> list[tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]]:
    """Resolve a name without blocking the loop; as ``getaddrinfo``.

    Raises:
        StreamError: with reason ``dns``, or ``local`` without the descriptors that it takes.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    except (OSError, UnicodeError) as error:
        if (lack := lacking()) is not None:
            raise reason_of(lack, f"{host}:{port}") from error
        # UnicodeError: a name that is none, such as one with an empty label.
        why = getattr(error, "strerror", None) or error
        raise StreamError(
            StreamReason.DNS, f"{host}:{port}: name does not resolve: {why}; check the name and the resolver"
        ) from error
    return list(found)


def _in_turn(found: list[AddrInfoType], turn: int | None) -> list[AddrInfoType]:
    """Put another address first for each that takes its turn; resolvers answer in an order that changes."""
    if turn is None:
        return found
    ordered = sorted(found, key=lambda info: (info[0], str(info[4])))
    first = turn % len(ordered)
    return ordered[first:] + ordered[:first]


async def _dial(
    untried: list[AddrInfoType], where: str, context: ssl.SSLContext | None, server_name: str, local: LocalEnd
) -> Dialled:
    loop = asyncio.get_running_loop()
    last: StreamError | None = None
    while untried:
        try:
            # An address that swallows packets costs this delay, not the whole time; the families take turns.
            sock = await start_connection(
                untried,
                happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                interleave=1,
                loop=loop,
                socket_factory=partial(_stamping_socket, local),
            )
        except OSError as error:
            raise last or reason_of(error, where) from error
        target: tuple[object, ...] = ("",)
        try:
            # Fails where the peer has cut the connection already.
            target = sock.getpeername()
            tls = await _handshake(loop, sock, context, server_name, where) if context else None
        except (OSError, StreamError) as error:
            sock.close()
            last = error if isinstance(error, StreamError) else reason_of(error, where)
            fewer = [info for info in untried if info[4] != target]
            # One less in any case, so that this ends.
            untried = fewer if len(fewer) < len(untried) else untried[1:]
        except BaseException:
            sock.close()
            raise
        else:
            return Dialled(sock, tls, where, str(target[0]))
    assert last is not None  # getaddrinfo never answers with nothing
    raise last


def _stamping_socket(local: LocalEnd, address: AddrInfoType) -> socket.socket:
    """Make a socket that leaves from there, and whose stamps are on before its first packet comes."""
    family, kind, protocol, _canonical, _target = address
    sock = socket.socket(family, kind, protocol)
    try:
        prepare(sock)
        stamping.enable(sock)
        local.bind(sock)
    except BaseException:
        sock.close()
        raise
    return sock


async def _handshake(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, context: ssl.SSLContext, server_name: str, where: str
) -> TlsSession:
    session = TlsSession(context, server_name)
    data = b""
    while True:
        try:
            done = session.handshake(data)
        finally:
            # Also after a failure: the alert tells the peer why.
            await loop.sock_sendall(sock, session.data_to_send())
        if done:
            return session
        data = await loop.sock_recv(sock, 65536)
        if not data:
            raise StreamError(StreamReason.TLS, f"{where}: closed during the TLS handshake; is this a TLS port?")
