"""The demo: the whole thing on one machine, with the distances put in by us, so that the answer is known.

A simulated exchange has a near endpoint, which the forwarder reads, and a far one, which stands for the public
internet. Between forwarder and receiver lies a relay that stands for the backbone. The receiver races both. Besides,
a probe asks an HTTPS endpoint for the time, through such a relay too, on cold and on warm connections.
"""

import asyncio
import contextlib
import signal
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from daemons.errors import LatencyError
from daemons.formats.summary import RunSummary
from daemons.service.console.display import Display
from daemons.service.console.screen import sentence
from experiments.live.scrape import ScrapedPage, fetch
from experiments.local.certificates import certificates
from experiments.local.programs import ProgramError, RunningProgram
from experiments.local.simulated import Injected, Simulated
from experiments.local.view import Snapshot, line, probe_line, summary_table, table

__all__ = ["Demo", "run_demo"]

PROBE_DELAY_MS = 36.0
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
SETTLE_SECONDS = 1.0


class Demo:
    """All the processes of the demo.

    Args:
        injected: delays and rate.
        folder: where results go.
    """

    def __init__(self, injected: Injected, folder: Path) -> None:
        self._folder = folder
        self._world = Simulated(injected)
        self._receiver: RunningProgram | None = None
        self._https: list[RunningProgram] = []
        self._pages: dict[str, ScrapedPage] = {}
        self._certificates = tempfile.TemporaryDirectory(prefix="backbone-latency-demo-")
        self.probe_metrics = ""
        self.receiver_metrics = ""

    @property
    def forwarder_metrics(self) -> str:
        """Address of the forwarder's page."""
        return self._world.forwarder_metrics

    @property
    def forwarder_totals(self) -> dict[str, Any]:
        """What the forwarder counted, once it has ended."""
        return self._world.forwarder_totals

    async def start(self) -> None:
        """Bring everything up, receiver first, so that no event passes it by."""
        paths = await self._world.start()
        self._receiver = RunningProgram(
            "daemons.receiver.main",
            *("--mode", "race", *paths),
            *("--output", str(self._folder / "results.json"), "--csv-output", str(self._folder / "results.csv")),
            *("--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock"),
        )
        ready = await self._receiver.start()
        self.receiver_metrics = ready["metrics"]
        (listening,) = ready["listening"].values()
        await self._world.connect(listening)
        await self._start_probe()

    async def _start_probe(self) -> None:
        authority, chain, key = certificates(Path(self._certificates.name))
        api = await self._run("experiments.local.https_server", str(chain), str(key))
        relay = await self._run("experiments.local.relay", api["address"], str(PROBE_DELAY_MS))
        probe = await self._run(
            "daemons.probe.main",
            *("--target", f"https://{relay['address']}/api/v3/time", "--ca-file", str(authority)),
            *("--interval", "0.5", "--timeout", "2", "--metrics", "127.0.0.1:0"),
        )
        self.probe_metrics = probe["metrics"]

    async def snapshot(self) -> Snapshot:
        """Read all metrics pages; one that does not come in time is what it was before, for its program lives.

        Raises:
            ProgramError: a program has ended by itself.
        """
        receiver = [] if self._receiver is None else [self._receiver]
        for program in (*self._world.programs, *receiver, *self._https):
            program.check_alive()
        addresses = (self.forwarder_metrics, self.receiver_metrics, self.probe_metrics)
        return Snapshot(*await asyncio.gather(*map(self._page, addresses)))

    async def _page(self, address: str) -> ScrapedPage:
        with contextlib.suppress(LatencyError):
            self._pages[address] = await fetch(address)
        return self._pages.get(address, ScrapedPage({}))

    async def stop(self) -> None:
        """End everything, in the order in which events flow, so that what is under way arrives."""
        for program in reversed(self._https):
            await program.stop()
        self._https.clear()
        await self._world.end_forwarder()
        # What the far endpoint still holds back has the same right to arrive.
        await asyncio.sleep(SETTLE_SECONDS)
        if self._receiver is not None:
            await self._receiver.stop()
            self._receiver = None
        await self._world.end()
        self._certificates.cleanup()

    async def abort(self) -> None:
        """End everything at once, after trouble."""
        programs = [*self._https, *([] if self._receiver is None else [self._receiver])]
        for program in programs:
            program.kill()
        for program in programs:
            with contextlib.suppress(ProgramError):
                await program.stop()
        await self._world.abort()
        self._certificates.cleanup()

    async def _run(self, module: str, *arguments: str) -> dict[str, Any]:
        program = RunningProgram(module, *arguments)
        self._https.append(program)
        return await program.start()


async def run_demo(console: Console, injected: Injected, folder: Path, duration_seconds: float | None) -> int:
    """Run the demo until its time is over or a signal comes; returns the exit code.

    Args:
        console: where to show it.
        injected: delays and rate.
        folder: where results go.
        duration_seconds: None means until a signal comes.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    demo = Demo(injected, folder)
    try:
        await demo.start()
        sentence(
            console,
            f"Exchange near and far ({injected.far_delay_ms:g} ± {injected.far_jitter_ms:g} ms away), backbone "
            f"{injected.link_delay_ms:g} ms, {injected.rate:g} events/s.\n"
            f"HTTPS endpoint {PROBE_DELAY_MS:g} ms away, asked on cold and warm connections.\n"
            f"Live metrics: http://{demo.receiver_metrics}/metrics (receiver), "
            f"http://{demo.forwarder_metrics}/metrics (forwarder), http://{demo.probe_metrics}/metrics (probe)\n",
        )
        last = await _watch(console, demo, told, duration_seconds)
        sentence(console, "Stopping: waiting for events that are still on their way")
        await demo.stop()
    except BaseException:
        await demo.abort()
        raise
    return _conclude(console, injected, folder, demo.forwarder_totals, last)


async def _watch(console: Console, demo: Demo, told: asyncio.Event, duration: float | None) -> Snapshot:
    begun = time.monotonic()
    end = None if duration is None else begun + duration
    # A terminal gets one table that changes; a pipe or a log file gets a line now and then.
    display = Display(console)
    pause = REFRESH_SECONDS if display.moves else LINE_SECONDS
    snapshot = await demo.snapshot()
    with display:
        while not told.is_set() and (end is None or time.monotonic() < end):
            wait = pause if end is None else min(pause, end - time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), max(0.0, wait))
            snapshot = await demo.snapshot()
            elapsed = time.monotonic() - begun
            if display.moves:
                display.update(partial(table, snapshot, elapsed))
            else:
                sentence(console, line(snapshot, elapsed))
    return snapshot


def _conclude(console: Console, injected: Injected, folder: Path, totals: dict[str, Any], last: Snapshot) -> int:
    results = msgspec.json.decode((folder / "results.json").read_bytes(), type=RunSummary)
    (race,) = results.race
    link = results.paths["backbone"]
    (forwarded,) = totals["links"].values()
    # Every event that the forwarder received has arrived, or was dropped for a reason, or is known to be missing.
    unaccounted = totals["received"] - (link.unique or 0) - (link.events_lost or 0) - sum(forwarded["dropped"].values())
    console.print(summary_table(results))
    sentence(console, probe_line(last))
    lead = race.lead_ms.median
    if lead is None:
        sentence(console, "No event came by both paths.", style="bold red")
        return 1
    sentence(
        console,
        f"Injected: backbone leads by {injected.lead_ms:.1f} ms. Measured: median lead {lead:.2f} ms "
        f"over {race.pairs} events ({lead - injected.lead_ms:+.2f} ms), "
        f"{race.wins} wins to {race.reference_wins}; events unaccounted for: {unaccounted}.",
    )
    sentence(console, f"Results: {folder / 'results.json'} and {folder / 'results.csv'}")
    return 1 if unaccounted else 0
