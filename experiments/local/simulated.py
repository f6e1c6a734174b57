"""A simulated exchange and the distances to it, all on this machine: what is injected is what must be found.

The exchange has a near endpoint, which the forwarder reads, and a far one, which stands for the public internet.
Between forwarder and receiver lies a relay that stands for the backbone.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from daemons.errors import LatencyError
from experiments.live.scrape import fetch
from experiments.local.defaults import EVENTS_PER_SECOND
from experiments.local.programs import ProgramError, RunningProgram

__all__ = ["STREAMS", "Injected", "Simulated"]

FAR_DELAY_MS = 125.0
FAR_JITTER_MS = 4.0
LINK_DELAY_MS = 105.0
LINK_SECONDS = 60.0
POLL_SECONDS = 0.05
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")


@dataclass(frozen=True, slots=True)
class Injected:
    """What is put in, in milliseconds; ``lead_ms`` is what a race should find."""

    far_delay_ms: float = FAR_DELAY_MS
    far_jitter_ms: float = FAR_JITTER_MS
    link_delay_ms: float = LINK_DELAY_MS
    rate: float = EVENTS_PER_SECOND
    seed: int = 1

    @property
    def lead_ms(self) -> float:
        return self.far_delay_ms - self.link_delay_ms


class Simulated:
    """Exchange, relay and forwarder as processes; the receiver between them is the caller's.

    Args:
        injected: delays and rate.
        feed: whether the receiver reads the far endpoint.
        link: whether a forwarder brings the near one's events.

    Attributes:
        forwarder_metrics: address of the forwarder's page, once it runs.
        forwarder_totals: what it counted, once it has ended.
    """

    def __init__(self, injected: Injected, *, feed: bool = True, link: bool = True) -> None:
        self._injected = injected
        self._feed = feed
        self._link = link
        self._exchange: RunningProgram | None = None
        self._relay: RunningProgram | None = None
        self._forwarder: RunningProgram | None = None
        self._last_client: ClientConnection | None = None
        self.forwarder_metrics = ""
        self.forwarder_totals: dict[str, Any] = {}
        self._near = ""

    @property
    def programs(self) -> tuple[RunningProgram, ...]:
        """What has been started and not been told to end, the forwarder first."""
        return tuple(one for one in (self._forwarder, self._relay, self._exchange) if one is not None)

    async def start(self) -> list[str]:
        """Start the exchange, which waits for its clients; returns the receiver's arguments for its paths."""
        injected = self._injected
        self._exchange = RunningProgram(
            "daemons.simulator.main",
            *("--listen", "127.0.0.1:0", "--far-listen", "127.0.0.1:0"),
            *("--far-delay-ms", str(injected.far_delay_ms), "--far-jitter-ms", str(injected.far_jitter_ms)),
            *("--rate", str(injected.rate), "--seed", str(injected.seed)),
            # With a link one client more, ourselves: an exchange that began before the link is up would make the
            # forwarder keep the first events back, and every run would warn of its own beginning.
            *("--wait-for-clients", str(int(self._feed) + 2 * int(self._link))),
            *_streams(),
        )
        ready = await self._exchange.start()
        self._near = ready["near"]
        arguments = ["--listen", "127.0.0.1:0"] if self._link else []
        if self._feed:
            arguments += ["--feed-url", f"ws://{ready['far']}", *_streams()]
        return arguments

    async def connect(self, listening: str) -> None:
        """Bring the link up to where the receiver listens."""
        if not self._link:
            return
        self._relay = RunningProgram("experiments.local.relay", listening, str(self._injected.link_delay_ms))
        near_end = await self._relay.start()
        self._forwarder = RunningProgram(
            "daemons.forwarder.main",
            *("--feed-url", f"ws://{self._near}", "--destination", near_end["address"], "--path-name", "backbone"),
            *("--metrics", "127.0.0.1:0"),
            *_streams(),
        )
        self.forwarder_metrics = (await self._forwarder.start())["metrics"]
        await self._link_up()
        # It asks for no stream, and is counted all the same.
        self._last_client = await connect(f"ws://{self._near}/ws", compression=None)

    async def _link_up(self) -> None:
        """Wait until the forwarder's page says that it has reached the receiver.

        Raises:
            ProgramError: it has not, in time.
        """
        assert self._forwarder is not None
        limit = time.monotonic() + LINK_SECONDS
        while time.monotonic() < limit:
            if self._forwarder.exit_code is not None:
                raise ProgramError(f"the forwarder ended; its last words: {self._forwarder.last_words()}")
            # On a machine that is busy with other work a page may not come in time; the forwarder lives.
            with contextlib.suppress(LatencyError):
                page = await fetch(self.forwarder_metrics)
                if page.total("latency_forwarder_link_connected"):
                    return
            await asyncio.sleep(POLL_SECONDS)
        raise ProgramError(f"the forwarder did not reach the receiver within {LINK_SECONDS:g} s")

    async def end_forwarder(self) -> None:
        """End the forwarder alone: what it has received it still delivers."""
        if self._forwarder is not None:
            await self._forwarder.stop()
            self.forwarder_totals = self._forwarder.totals
            self._forwarder = None

    async def end(self) -> None:
        """End what still runs, in the order in which events flow."""
        await self.end_forwarder()
        if self._last_client is not None:
            await self._last_client.close()
            self._last_client = None
        for program in (self._relay, self._exchange):
            if program is not None:
                await program.stop()
        self._relay = self._exchange = None

    async def abort(self) -> None:
        """End everything at once, after trouble."""
        if self._last_client is not None:
            self._last_client.transport.abort()
            self._last_client = None
        programs = self.programs
        for program in programs:
            program.kill()
        for program in programs:
            with contextlib.suppress(ProgramError):
                await program.stop()


def _streams() -> list[str]:
    return [word for name in STREAMS for word in ("--stream", name)]
