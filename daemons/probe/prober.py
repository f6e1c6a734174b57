"""Making one attempt: resolve, connect, tunnel, handshake, ask, check; one address, one try, every instant kept."""

import asyncio
import contextlib
from dataclasses import dataclass

from daemons.probe.attempt import (
    Attempt,
    AttemptError,
    ConnectionKind,
    Instants,
    Judge,
    Reason,
    Reconnect,
    UnprocessedError,
)
from daemons.probe.faults import Faults
from daemons.probe.http.certificate import CertificateError, expiry_seconds
from daemons.probe.http.channel import Channel
from daemons.probe.http.http1 import Http1
from daemons.probe.http.http2 import Http2
from daemons.probe.http.resolve import Resolved, Resolver
from daemons.probe.http.tunnel import Tunnel
from daemons.probe.target import Target
from daemons.stream.stamping import Stamper
from daemons.stream.tls import TlsSession, unverified_context
from daemons.timing.clock import Clock

__all__ = ["Prober", "Wire"]


@dataclass(slots=True)
class Wire:
    """A connection that has answered a request: what warm attempts are made on."""

    channel: Channel
    protocol: Http1 | Http2
    first: Attempt
    ended: bool = False

    def watch(self) -> None:
        """Answer at once what the server says while nothing is asked, until :meth:`lost` is: some close without."""
        self.channel.watch(self._heard)

    def _heard(self) -> None:
        self.ended = True
        came = self.channel.idle()
        if came is not None:
            answer = self.protocol.idle(came)
            self.ended = self.protocol.lost is not None or not self.channel.answer(answer)
        if self.ended:
            self.channel.unwatch()

    async def lost(self) -> Reconnect | None:
        """Say why it serves no other request, as far as this host has been told; None when it may."""
        self.channel.unwatch()
        came = None if self.ended else self.channel.idle()
        if came is None:
            return self.protocol.lost or Reconnect.CLOSED
        answer = self.protocol.idle(came)
        if self.protocol.lost is None:
            try:
                await self.channel.send(answer)
            except AttemptError:
                return Reconnect.CLOSED
        return self.protocol.lost

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()


MAX_RETRIES = 5
"""How often a request is made again that a server did nothing for; as curl."""


class Prober:
    """Makes attempts.

    Args:
        stamper: gives reads their kernel stamps, and has the clock for all others.
        resolver: turns names into addresses.

    Attributes:
        clock: by which instants are taken.
        faults: of attempts, by target.
    """

    def __init__(self, stamper: Stamper, resolver: Resolver) -> None:
        self._stamper = stamper
        self.clock: Clock = stamper.clock
        self._resolver = resolver
        self._unverified = unverified_context()
        self.faults = Faults("prober")

    async def attempt(
        self,
        target: Target,
        intended_ns: int,
        wire: Wire | None = None,
        *,
        keep: bool = False,
        judge: Judge | None = None,
    ) -> tuple[Attempt, Wire | None]:
        """Make one attempt; whatever goes wrong is in the record that it returns.

        Args:
            target: whom to ask.
            intended_ns: when the schedule wanted it, by the monotonic clock.
            wire: the connection of a warm attempt; None to make one, for a cold attempt.
            keep: leave the connection open when it can serve another request.
            judge: has the last word on an answer that is as the target expects it.

        Returns:
            The record, and the connection if it was kept.
        """
        attempt = self._begun(target, ConnectionKind.COLD if wire is None else ConnectionKind.WARM, intended_ns)
        if wire is not None:
            _copy_negotiated(wire.first, attempt)
        used: Wire | None = None
        kept = False
        try:
            async with asyncio.timeout(target.section.timeout_seconds):
                used = await self._answered(target, wire, attempt)
            attempt.lost = used.protocol.lost
            kept = keep and attempt.lost is None
            response = used.protocol.response
            assert response.status is not None  # a complete response has one
            body = bytes(response.body)
            _check_passed_on(target, response.status)
            target.expectation.check(response.status, response.location, body)
            if judge is not None:
                judge(attempt, body)
        except TimeoutError:
            attempt.fail(
                attempt.instants.timeout_reason(),
                f"{attempt.address or target.peer[0]}: not done within {target.section.timeout_seconds:g} s; "
                "check the path and the server, or raise timeout_seconds",
            )
        except AttemptError as error:
            attempt.fail(error.reason, str(error))
        except Exception as error:  # noqa: BLE001 a fault of ours must not end the measurement of all other targets
            attempt.fail(Reason.INTERNAL, self.faults.note(error, target.name))
        finally:
            attempt.instants.end = self.clock.monotonic_ns()
            # A server may say in its answer what it was asked with.
            attempt.detail = target.secrets.hide(attempt.detail)
            if used is not None and not kept:
                used.close()
        return attempt, used if kept else None

    def broken(self, target: Target, kind: ConnectionKind, intended_ns: int, error: Exception) -> Attempt:
        """Make the record of an attempt of which nothing is known but what broke it off."""
        attempt = self._begun(target, kind, intended_ns)
        attempt.instants.end = attempt.instants.start
        attempt.fail(Reason.INTERNAL, target.secrets.hide(self.faults.note(error, target.name)))
        return attempt

    async def inspect(self, target: Target) -> int | None:
        """Find out when a certificate that was refused expires, on a connection that verifies nothing and asks nothing.

        Returns:
            Unix time in seconds; None when it cannot be had.
        """
        try:
            async with asyncio.timeout(target.section.timeout_seconds):
                unseen = Attempt(target.name, ConnectionKind.COLD, Instants(0, 0), 0)
                channel, early = await self._reach(target, unseen)
                try:
                    session = await channel.handshake(self._unverified, target.host, early)
                    return expiry_seconds(session.certificate)
                finally:
                    channel.close()
        except (TimeoutError, AttemptError, CertificateError):
            return None
        except Exception as error:  # noqa: BLE001 as for an attempt
            self.faults.note(error, target.name)
            return None

    def _begun(self, target: Target, kind: ConnectionKind, intended_ns: int) -> Attempt:
        instants = Instants(intended=intended_ns, start=self.clock.monotonic_ns())
        return Attempt(target=target.name, connection=kind, instants=instants, wall_ns=self.clock.wall_ns())

    async def _answered(self, target: Target, wire: Wire | None, attempt: Attempt) -> Wire:
        """Ask on this connection or a new one, and again where the server did nothing; return the one that answered.

        Raises:
            AttemptError: there is no answer; then no connection is left open.
        """
        while True:
            if wire is None:
                wire = await self._open(target, attempt)
            try:
                await self._ask(target, wire, attempt)
            except BaseException as error:
                wire.close()
                attempt.lost = wire.protocol.lost
                if not isinstance(error, UnprocessedError) or len(attempt.retried) == MAX_RETRIES:
                    raise
                attempt.begin_again(error.reconnect)
                wire = None
            else:
                return wire

    async def _open(self, target: Target, attempt: Attempt) -> Wire:
        instants = attempt.instants
        channel, early = await self._reach(target, attempt)
        try:
            if target.context is not None:
                instants.tls_start = self.clock.monotonic_ns()
                session = await channel.handshake(target.context, target.host, early)
                instants.tls_done = self.clock.monotonic_ns()
                _record_negotiated(session, attempt)
                if target.http2:
                    _check_http2(session, target.host)
            protocol = (Http2 if target.http2 else Http1)(target.section.max_body_bytes)
            attempt.http_version = protocol.version
            return Wire(channel, protocol, attempt)
        except BaseException:
            channel.close()
            raise

    async def _reach(self, target: Target, attempt: Attempt) -> tuple[Channel, bytes]:
        """Connect to the target, or to its proxy and by a tunnel of that; return also what came too early to be asked.

        Raises:
            AttemptError: there is no way.
        """
        instants = attempt.instants
        host, port = target.peer
        resolved = await self._resolve(target, instants)
        attempt.address = str(resolved.address[0])
        where = f"{host} ({attempt.address}:{port})"
        if target.proxy is not None:
            where = f"{target.host} by proxy {where}"
        channel = Channel(resolved.family, self._stamper, where)
        try:
            channel.bind(target.section.source_address, target.section.interface, target.section.dscp)
            instants.connect_start = self.clock.monotonic_ns()
            instants.connect_done = await channel.connect(resolved.address)
            attempt.source = channel.source
            if target.proxy is None or not target.tunnel:
                return channel, b""
            tunnel = Tunnel(target.proxy, target.tunnel)
            # The instant before the call stands while it waits, so that time running out in it has its name.
            instants.tunnel_start = self.clock.monotonic_ns()
            instants.tunnel_start = await channel.send(tunnel.request())
            while True:
                data, arrival_ns = await channel.receive()
                if tunnel.receive(data):
                    break
            instants.tunnel_done = max(arrival_ns, instants.tunnel_start)
        except BaseException:
            channel.close()
            raise
        return channel, tunnel.surplus

    async def _resolve(self, target: Target, instants: Instants) -> Resolved:
        if target.pinned is not None:
            family, address = target.pinned
            return Resolved(family, address, 0)
        instants.dns_start = self.clock.monotonic_ns()
        resolved = await self._resolver.resolve(*target.peer, target.family)
        instants.dns_done = resolved.done_ns
        return resolved

    async def _ask(self, target: Target, wire: Wire, attempt: Attempt) -> None:
        channel, protocol, instants = wire.channel, wire.protocol, attempt.instants
        instants.request_sent = await channel.send(protocol.request(target.request))
        response = protocol.response
        try:
            while True:
                data, arrival_ns = await channel.receive()
                # A stamp older than the request is that of bytes which came before it.
                if arrival_ns < instants.request_sent:
                    arrival_ns = self.clock.monotonic_ns()
                interim = response.interim
                answer = protocol.receive(data)
                if response.interim > interim:
                    # What came first was not the answer.
                    instants.first_interim = instants.first_interim or instants.first_byte or arrival_ns
                    instants.first_byte = None
                if response.started and instants.first_byte is None:
                    instants.first_byte = arrival_ns
                    attempt.host_delay_ns = channel.host_delay_ns
                if response.complete:
                    instants.last_byte = max(arrival_ns, instants.first_byte or arrival_ns)
                    # What becomes of the acknowledgement is the next request's concern.
                    with contextlib.suppress(AttemptError):
                        await channel.send(answer)
                    return
                await channel.send(answer)
        finally:
            attempt.status = response.status
            attempt.interim_responses = response.interim
            attempt.body_bytes = len(response.body)


def _check_passed_on(target: Target, status: int) -> None:
    """Refuse a proxy's own answer to a request in absolute form; others than 407 cannot be told from the server's."""
    if target.request.through_proxy and status == 407:
        raise AttemptError(
            Reason.PROXY_AUTHENTICATION,
            f"proxy {target.peer[0]}: answers with 407; give the right user and password by proxy_credentials_file",
        )


def _check_http2(session: TlsSession, host: str) -> None:
    if session.application_protocol != "h2":
        raise AttemptError(
            Reason.HTTP_VERSION,
            f'{host}: does not agree to HTTP/2 by ALPN; write http = "1.1", or switch it on at the server',
        )


def _record_negotiated(session: TlsSession, attempt: Attempt) -> None:
    attempt.tls_version = session.version
    attempt.cipher = session.cipher
    with contextlib.suppress(CertificateError):
        attempt.certificate_expiry_seconds = expiry_seconds(session.certificate)


def _copy_negotiated(first: Attempt, attempt: Attempt) -> None:
    attempt.address = first.address
    attempt.source = first.source
    attempt.tls_version = first.tls_version
    attempt.cipher = first.cipher
    attempt.http_version = first.http_version
    attempt.certificate_expiry_seconds = first.certificate_expiry_seconds
