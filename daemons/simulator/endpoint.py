"""One listening address of the exchange: HTTP answers, opening handshakes, and who gets which message."""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from daemons.errors import ListenError
from daemons.reasons import ExchangeReason
from daemons.simulator.connection import Client, Rules
from daemons.simulator.control import MICROSECOND_NS, MILLISECOND_NS, BadRequestError, open_path
from daemons.simulator.emission import Emission
from daemons.simulator.market import envelope

__all__ = ["Endpoint", "Policy"]

CLOSE_SECONDS = 2.0
RETRY_AFTER_STATUSES = (418, 429, 503)


@dataclass(frozen=True, slots=True)
class Policy:
    """What an endpoint admits.

    Attributes:
        rules: for every connection.
        stream_limit: streams per connection.
        futures: be USD-M futures: its REST paths, and no time units.
        reject_status: refuse every opening handshake with this HTTP status; None to accept.
        needs_key: refuse a handshake without an API key, as SBE's is; any will do.
    """

    rules: Rules
    stream_limit: int
    futures: bool = False
    reject_status: int | None = None
    needs_key: bool = False


class Endpoint:
    """Serves clients at one address.

    Args:
        policy: what is admitted.
        joined: called whenever a client has opened a connection.

    Attributes:
        clients: how many are connected now.
        served: how many opened a connection so far.
        rejected: handshakes refused, by HTTP status.
        ended: connections that the exchange ended, by reason.
        messages_sent: events and malformed messages handed to clients' sockets.
        culled: outdated events left out.
    """

    def __init__(self, policy: Policy, joined: Callable[[], None]) -> None:
        self.clients = 0
        self.served = 0
        self.rejected: Counter[int] = Counter()
        self.ended: Counter[ExchangeReason] = Counter()
        self.messages_sent = 0
        self.culled = 0
        self._policy = policy
        self._joined = joined
        self._server: Server | None = None
        # Ordered, unlike sets, so that clients are served in the same order in every run.
        self._listeners: dict[str, dict[Client, None]] = {}
        self._pending: dict[Client, None] = {}

    @property
    def address(self) -> str:
        """The bound ``HOST:PORT``; only after :meth:`start`."""
        assert self._server is not None
        host, port, *_ = self._server.sockets[0].getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen.

        Raises:
            ListenError: the address is in use, not ours, or not permitted.
        """
        try:
            self._server = await serve(
                self._receive,
                host,
                port,
                ssl=tls,
                process_request=self._admit,
                create_connection=Client,
                # Pings are ours, since the library's own wait for a pong before the next ping.
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
                # Frames are shared between clients, which compression would undo.
                compression=None,
                # Write through at once: events carry the time at which they are written. Under TLS, uvloop may pause
                # the handshake's first write at this limit and never resume it, so there the library's own holds.
                write_limit=0 if tls is None else 32768,
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise ListenError(f"{host}:{port}", f"cannot listen: {why}", "choose another address") from error

    async def stop(self) -> None:
        """Close all connections with code 1001 and the listening socket."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def totals(self) -> dict[str, Any]:
        """Return the counts of this endpoint so far."""
        return {
            "clients": self.served,
            "messages_sent": self.messages_sent,
            **({"culled": self.culled} if self._policy.needs_key else {}),
            "rejected": {str(status): count for status, count in self.rejected.items()},
            "ended": dict(self.ended),
        }

    def publish(self, emission: Emission) -> None:
        """Queue a message for everyone who listens to its stream."""
        for client in self._listeners.get(emission.stream, ()):
            if not client.silent:
                wanted = client.subscriptions
                frame = emission.frame(wanted.unit_ns, wanted.combined)
                client.queue(frame, emission.stream if emission.culled else None)
                self._pending[client] = None

    def flush(self) -> None:
        """Write what is queued, one write per client."""
        for client in self._pending:
            self.messages_sent += client.flush()
            self.culled += client.culled
            client.culled = 0
        self._pending.clear()

    def announce_shutdown(self) -> None:
        """Send every client the ``serverShutdown`` event, on which real clients should reconnect."""
        notice = Emission(_Shutdown(), time.time_ns())
        for client in dict.fromkeys(client for listeners in self._listeners.values() for client in listeners):
            client.queue(notice.frame(client.subscriptions.unit_ns, client.subscriptions.combined))
            client.flush()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP requests, and opening handshakes that are refused; None accepts."""
        assert isinstance(connection, Client)
        path = request.path.partition("?")[0]
        base = "/fapi/v1" if self._policy.futures else "/api/v3"
        if path == f"{base}/ping":
            return _json(connection, 200, "{}")
        if path == f"{base}/time":
            # Spot's REST interface takes the unit from a header.
            micro = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
            unit_ns = MICROSECOND_NS if micro and not self._policy.futures else MILLISECOND_NS
            return _json(connection, 200, json.dumps({"serverTime": time.time_ns() // unit_ns}))
        status = self._policy.reject_status
        if status is not None:
            return self._reject(connection, status, '{"code":0,"msg":"refused on request"}')
        if self._policy.needs_key and not request.headers.get("X-MBX-APIKEY"):
            return self._reject(connection, 401, '{"code":-2014,"msg":"API-key format invalid."}')
        try:
            subscriptions = open_path(request.path, limit=self._policy.stream_limit, futures=self._policy.futures)
        except BadRequestError as error:
            return self._reject(connection, 400, error.body())
        if subscriptions is None:
            return self._reject(connection, 404, '{"code":-1,"msg":"nothing at this path"}')
        connection.admit(subscriptions, self._policy.rules)
        return None

    def _reject(self, connection: Client, status: int, body: str) -> Response:
        self.rejected[status] += 1
        response = _json(connection, status, body)
        if status in RETRY_AFTER_STATUSES:
            response.headers["Retry-After"] = "1"
        return response

    async def _receive(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Client)
        client = connection
        self.served += 1
        self.clients += 1
        self._listen(client, client.subscriptions.names)
        life = asyncio.create_task(client.live(self.served))
        self._joined()
        try:
            async for message in client:
                answer = client.subscriptions.answer(message)
                # No event of a stream before the answer that starts it, nor after the one that stops it.
                self._ignore(client, answer.removed)
                await client.send(answer.text)
                self._listen(client, answer.added)
        except ConnectionClosed:
            # How it ended is in end_reason, when the exchange ended it; clients may leave as they like.
            pass
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            self.clients -= 1
            self._ignore(client, client.subscriptions.names)
            if client.end_reason is not None:
                self.ended[client.end_reason] += 1

    def _listen(self, client: Client, names: tuple[str, ...] | dict[str, None]) -> None:
        for name in names:
            if client.subscriptions.brings(name):
                self._listeners.setdefault(name, {})[client] = None

    def _ignore(self, client: Client, names: tuple[str, ...] | dict[str, None]) -> None:
        for name in names:
            listeners = self._listeners.get(name, {})
            listeners.pop(client, None)
            if not listeners:
                self._listeners.pop(name, None)


class _Shutdown:
    stream = "!serverShutdown"
    binary = False

    def render(self, emitted_ns: int, unit_ns: int, *, combined: bool) -> bytes:
        payload = b'{"e":"serverShutdown","E":%d}' % (emitted_ns // unit_ns)
        return envelope(self.stream, payload) if combined else payload


def _json(connection: Client, status: int, body: str) -> Response:
    response = connection.respond(status, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json;charset=UTF-8"
    return response
