"""The simulator as a program: its endpoints, its market, and the alarm that makes it emit."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from daemons.service.announcing import announce
from daemons.simulator.connection import Rules
from daemons.simulator.emission import Emission
from daemons.simulator.endpoint import Endpoint, Policy
from daemons.simulator.exchange import Exchange, FarPath, Outlet
from daemons.simulator.faults import Faults
from daemons.simulator.market import Market
from daemons.simulator.sbe import in_sbe
from daemons.simulator.schedule import Drift, Jitter, grid, poisson
from daemons.simulator.settings import Settings
from daemons.timing.alarm import Alarm
from daemons.timing.clock import SystemClock

__all__ = ["Simulator"]


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
        self._doors = [Endpoint(policy, self._joined.set) for _door in settings.doors]
        seed, rate = settings.seed, settings.rate
        self._exchange = Exchange(
            Market(settings.streams, seed, futures=settings.futures),
            Faults(skip_ids_every=settings.skip_ids_every, malformed_every=settings.malformed_every, seed=seed),
            poisson(rate, seed) if settings.poisson else grid(rate),
            self._outlets(),
            self._far_paths(),
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
        for door, endpoint in zip(settings.doors, self._doors, strict=True):
            await endpoint.start(*door.listen, settings.tls)
        self._ready = True
        addresses: dict[str, Any] = {"near": self._near.address, "far": self._far.address if self._far else None}
        if self._sbe:
            addresses["sbe"] = self._sbe.address
        if self._doors:
            addresses["doors"] = [endpoint.address for endpoint in self._doors]
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
        doors = ((f"door {number}", endpoint) for number, endpoint in enumerate(self._doors, start=1))
        return (("near", self._near), ("far", self._far), ("sbe", self._sbe), *doors)

    def _outlets(self) -> tuple[Outlet, ...]:
        near, sbe = Outlet(self._near.publish, self._near.flush), self._sbe
        if sbe is None:
            return (near,)

        def publish(emission: Emission) -> None:
            if (made := in_sbe(emission, cull=self._settings.cull)) is not None:
                sbe.publish(made)

        return (near, Outlet(publish, sbe.flush))

    def _far_paths(self) -> Sequence[FarPath]:
        settings = self._settings
        paths = []
        if self._far is not None:
            jitter = Jitter(round(settings.far_jitter_ms * 1e6), settings.seed)
            paths.append(
                FarPath(Outlet(self._far.publish, self._far.flush), round(settings.far_delay_ms * 1e6), jitter)
            )
        for number, (door, endpoint) in enumerate(zip(settings.doors, self._doors, strict=True), start=1):
            # Jitter and drift of each door are its own.
            seed = settings.seed + 1_000_003 * number
            outlet = Outlet(endpoint.publish, endpoint.flush)
            jitter, drift = Jitter(round(door.jitter * 1e9), seed), Drift(round(door.drift * 1e9), seed)
            paths.append(FarPath(outlet, round(door.delay * 1e9), jitter, drift))
        return paths

    def _clients(self) -> int:
        return sum(endpoint.clients for _name, endpoint in self._endpoints() if endpoint is not None)
