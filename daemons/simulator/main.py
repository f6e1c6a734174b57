"""latency-simulator: a Binance-compatible exchange for the demo, tests and benchmarks."""

import asyncio
import ssl
import sys
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import click
import structlog

from daemons.errors import ConfigError
from daemons.service.announcing import announce
from daemons.service.command_line import CONTEXT, version_option
from daemons.service.config import Address, address
from daemons.service.lifecycle import die, run
from daemons.service.logs import configure
from daemons.service.numbers import Number
from daemons.service.spans import SPAN, Span
from daemons.simulator.connection import Rules
from daemons.simulator.emission import Emission
from daemons.simulator.endpoint import Endpoint, Policy
from daemons.simulator.exchange import Exchange, FarPath, Outlet
from daemons.simulator.faults import Faults
from daemons.simulator.market import Market
from daemons.simulator.sbe import in_sbe
from daemons.simulator.schedule import Jitter, grid, poisson
from daemons.simulator.streams import KINDS, Stream, parse
from daemons.timing.alarm import Alarm
from daemons.timing.clock import SystemClock

__all__ = ["main"]

DEFAULT_STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All flags, checked; see ``--help`` for their meaning."""

    listen: Address
    sbe_listen: Address | None
    far_listen: Address | None
    far_delay_ms: float
    far_jitter_ms: float
    streams: tuple[Stream, ...]
    rate: float
    poisson: bool
    seed: int
    duration: float | None
    futures: bool
    wait_for_clients: int
    stop_after_events: int | None
    tls: ssl.SSLContext | None
    ping_interval_seconds: float
    ping_timeout_seconds: float
    disconnect_every: float
    silent_after: float | None
    cull: bool
    skip_ids_every: int
    malformed_every: int
    reject_status: int | None
    shutdown_notice: bool


class Simulator:
    """The program, for the lifecycle to run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._joined = asyncio.Event()
        policy = Policy(
            rules=Rules(
                messages_per_second=10 if settings.futures else 5,
                ping_interval_seconds=settings.ping_interval_seconds,
                ping_timeout_seconds=settings.ping_timeout_seconds,
                lifetime_seconds=settings.disconnect_every,
                silent_after_seconds=settings.silent_after,
            ),
            stream_limit=200 if settings.futures else 1024,
            futures=settings.futures,
            reject_status=settings.reject_status,
        )
        self._log = structlog.get_logger("simulator")
        self._near = Endpoint(policy, self._joined.set)
        self._far = Endpoint(policy, self._joined.set) if settings.far_listen else None
        self._sbe = Endpoint(replace(policy, needs_key=True), self._joined.set) if settings.sbe_listen else None
        seed, rate = settings.seed, settings.rate
        self._exchange = Exchange(
            Market(settings.streams, seed, futures=settings.futures),
            Faults(skip_ids_every=settings.skip_ids_every, malformed_every=settings.malformed_every, seed=seed),
            poisson(rate, seed) if settings.poisson else grid(rate),
            self._outlets(),
            self._far_path(),
            SystemClock(),
            settings.stop_after_events,
        )
        self._alarm: Alarm | None = None
        self._ready = False

    async def start(self) -> None:
        """Listen, and say where on standard output."""
        settings = self._settings
        await self._near.start(*settings.listen, settings.tls)
        if self._far and settings.far_listen:
            await self._far.start(*settings.far_listen, settings.tls)
        if self._sbe and settings.sbe_listen:
            await self._sbe.start(*settings.sbe_listen, settings.tls)
        self._ready = True
        addresses = {"near": self._near.address, "far": self._far.address if self._far else None}
        if self._sbe:
            addresses["sbe"] = self._sbe.address
        self._log.info("listening", **addresses)
        announce({"ready": True, **addresses, "streams": [stream.name for stream in settings.streams]})

    async def wait(self) -> None:
        """Emit events until the duration is over."""
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({work}, timeout=self._settings.duration)
            if work.done():
                work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def stop(self) -> None:
        """Close all connections and print the totals."""
        if self._alarm is not None:
            self._alarm.close()
        endpoints = {name: endpoint for name, endpoint in self._endpoints() if endpoint is not None}
        for endpoint in endpoints.values():
            if self._settings.shutdown_notice:
                endpoint.announce_shutdown()
            await endpoint.stop()
        if self._ready:
            totals = self._exchange.totals() | {name: endpoint.totals() for name, endpoint in endpoints.items()}
            self._log.info("totals", **totals)
            announce({"ready": False, **totals})

    def status(self) -> str:
        """Say how many clients are served."""
        clients = ", ".join(f"{endpoint.clients} {name}" for name, endpoint in self._endpoints() if endpoint)
        return f"{clients} clients, {self._exchange.events} events emitted"

    async def reload(self) -> None:
        """Change nothing: the simulator has no configuration file."""

    async def _work(self) -> None:
        while self._clients() < self._settings.wait_for_clients:
            self._joined.clear()
            await self._joined.wait()
        loop = asyncio.get_running_loop()
        self._alarm = Alarm(loop, self._tick)
        self._rest_until(self._exchange.start())
        await loop.create_future()

    def _tick(self) -> None:
        self._rest_until(self._exchange.tick())

    def _rest_until(self, instant_ns: int | None) -> None:
        if instant_ns is not None and self._alarm is not None:
            self._alarm.set(instant_ns)

    def _endpoints(self) -> tuple[tuple[str, Endpoint | None], ...]:
        return (("near", self._near), ("far", self._far), ("sbe", self._sbe))

    def _outlets(self) -> tuple[Outlet, ...]:
        near, sbe = Outlet(self._near.publish, self._near.flush), self._sbe
        if sbe is None:
            return (near,)

        def publish(emission: Emission) -> None:
            if (made := in_sbe(emission, cull=self._settings.cull)) is not None:
                sbe.publish(made)

        return (near, Outlet(publish, sbe.flush))

    def _far_path(self) -> FarPath | None:
        if self._far is None:
            return None
        settings = self._settings
        return FarPath(
            Outlet(self._far.publish, self._far.flush),
            round(settings.far_delay_ms * 1e6),
            Jitter(round(settings.far_jitter_ms * 1e6), settings.seed),
        )

    def _clients(self) -> int:
        return sum(endpoint.clients for _name, endpoint in self._endpoints() if endpoint is not None)


_RATE = Number(0, min_open=True)
_STATUS = click.IntRange(400, 599)
_COUNT = click.IntRange(0)


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.option("--listen", default="127.0.0.1:9443", metavar="HOST:PORT", help="Near endpoint; port 0 for any.")
@click.option("--sbe-listen", metavar="HOST:PORT", help="Endpoint for the same events in SBE; wants an API key.")
@click.option("--far-listen", metavar="HOST:PORT", help="Far endpoint: the same bytes, later.")
@click.option("--far-delay-ms", type=Number(0), default=100.0, help="Mean delay of the far endpoint.")
@click.option(
    "--far-jitter-ms",
    type=Number(0),
    default=0.0,
    help="Standard deviation of the delay; at most half of it.",
)
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME",
    default=DEFAULT_STREAMS,
    help=f"A stream to generate; repeat it or join names by / for more. SYMBOL@KIND, KIND of {', '.join(KINDS)}.",
)
@click.option("--rate", type=_RATE, default=100.0, help="Events per second, all streams together.")
@click.option("--poisson", is_flag=True, help="Events at random instants instead of an even grid.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    help="Ids, prices, choice of streams, jitter and faults follow from it.",
)
@click.option("--duration", type=SPAN, help="End after this long.  [default: never]")
@click.option("--futures", is_flag=True, help="Be USD-M futures: payloads, limits, /public and /market, REST paths.")
@click.option("--wait-for-clients", type=_COUNT, default=0, help="Emit nothing before so many are connected.")
@click.option("--stop-after-events", type=_COUNT, help="Emit so many events, then rest.  [default: no end]")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="PEM file; makes it wss.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file.")
@click.option(
    "--ping-interval-seconds",
    type=Span(minimum=0),
    help="Between pings to a client; 0 for none.  [default: 20; 180 for futures]",
)
@click.option(
    "--ping-timeout-seconds",
    type=SPAN,
    help="Disconnect a client without a pong.  [default: 60; 600 for futures]",
)
@click.option(
    "--disconnect-every",
    type=SPAN,
    default="24h",
    help="Fault: end each connection at this age, every second one without a closing handshake.",
)
@click.option(
    "--silent-after",
    type=SPAN,
    help="Fault: send no more events on a connection of this age, but keep it open.",
)
@click.option("--cull", is_flag=True, help="Fault: in SBE, of best bids and asks that wait, send the newest alone.")
@click.option("--skip-ids-every", type=_COUNT, default=0, metavar="N", help="Fault: every Nth event jumps 1-5 ids.")
@click.option(
    "--malformed-every", type=_COUNT, default=0, metavar="N", help="Fault: nonsense after every Nth event, in turn."
)
@click.option("--reject-status", type=_STATUS, help="Fault: refuse every WebSocket handshake with this HTTP status.")
@click.option("--shutdown-notice", is_flag=True, help="Send the serverShutdown event before ending.")
@click.option("--log-format", type=click.Choice(["json", "console"]), default="json", help="On standard error.")
@version_option()
def main(log_format: Literal["json", "console"], **flags: Any) -> None:
    """Be a Binance-compatible exchange, near and (delayed) far.

    Writes one JSON line to standard output when ready, with the bound addresses, and one with the totals at the end
    (--duration, SIGTERM or SIGINT); at a terminal the log tells them.
    """
    configure(log_format, "info")
    try:
        settings = check(flags)
    except ConfigError as error:
        die(error)
    sys.exit(run(lambda: Simulator(settings)))


def check(flags: dict[str, Any]) -> Settings:
    """Make settings of the flags.

    Raises:
        ConfigError: an address, a stream, a combination or a certificate that cannot be used.
    """
    rest = dict(flags)
    futures = rest["futures"]
    if rest["far_jitter_ms"] * 2 > rest["far_delay_ms"]:
        raise ConfigError(
            "--far-jitter-ms",
            f"{rest['far_jitter_ms']:g} is more than half of the delay, {rest['far_delay_ms']:g}",
            "lower it, or raise --far-delay-ms",
        )
    if rest["ping_interval_seconds"] is None:
        rest["ping_interval_seconds"] = 180.0 if futures else 20.0
    if rest["ping_timeout_seconds"] is None:
        rest["ping_timeout_seconds"] = 600.0 if futures else 60.0
    rest["listen"] = address("--listen", rest["listen"])
    for other in ("far_listen", "sbe_listen"):
        if rest[other] is not None:
            rest[other] = address(f"--{other.replace('_', '-')}", rest[other])
    if futures and rest["sbe_listen"] is not None:
        raise ConfigError("--sbe-listen", "futures have no SBE streams", "leave --futures or it out")
    rest["streams"] = tuple(_stream(name) for name in dict.fromkeys("/".join(rest["streams"]).split("/")))
    try:
        HTTPStatus(rest["reject_status"] or 200)
    except ValueError as error:
        raise ConfigError("--reject-status", str(error), "use a status that exists, such as 429") from error
    return Settings(tls=_tls(rest.pop("tls_certificate"), rest.pop("tls_key")), **rest)


def _stream(name: str) -> Stream:
    stream = parse(name)
    if stream is None:
        raise ConfigError(
            "--stream", f"{name!r} cannot be generated", f"use a lower-case symbol, @, and {', '.join(KINDS)}"
        )
    return stream


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "--tls-certificate" if certificate is None else "--tls-key"
        raise ConfigError(missing, "is missing", "give both or none")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or str(error)
        raise ConfigError(
            "--tls-certificate", f"{certificate} with {key}: {why}", "give PEM files that belong together"
        ) from error
    return context


if __name__ == "__main__":
    main()
