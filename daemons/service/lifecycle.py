"""The life of a daemon: event loop, signals, watchdog, exit codes.

A program is an object with three coroutines' worth of life: ``start`` until it serves, ``wait`` until it is done by
itself (a timed run) or told to stop, and ``stop`` to put everything away.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Collection
from typing import NoReturn, Protocol

import structlog
import uvloop

from daemons.errors import LatencyError
from daemons.service.notify import Notifier

__all__ = ["Program", "die", "run", "supervise"]

STATUS_SECONDS = 1.0
INTERRUPTED = 130


class Program(Protocol):
    """What the lifecycle runs."""

    async def start(self) -> None:
        """Bring everything up; return when the daemon serves."""

    async def wait(self) -> None:
        """Return when the work is done by itself; forever otherwise."""

    async def stop(self) -> None:
        """Put everything away, flushing what must survive; called once, also after a failed start."""

    def status(self) -> str:
        """Say in one line what the daemon is doing now."""

    async def reload(self) -> None:
        """Read the configuration again; keep the old one when the new one is bad."""


def run(make: Callable[[], Program], *, notifier: Notifier | None = None) -> int:
    """Run a program on uvloop until it is done, or SIGTERM or SIGINT arrives.

    Args:
        make: builds the program inside the loop.
        notifier: the service manager's socket; from the environment by default.

    Returns:
        The exit code: 0, or the ``exit_code`` of the error that ended it, which is logged.
    """
    try:
        return uvloop.run(_live(make, notifier or Notifier()))
    except LatencyError as error:
        structlog.get_logger("lifecycle").error("cannot go on", error=str(error), exit_code=error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


async def _live(make: Callable[[], Program], notifier: Notifier) -> int:
    loop = asyncio.get_running_loop()
    log = structlog.get_logger("lifecycle")
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    program = make()
    beat: asyncio.Task[None] | None = None
    work: asyncio.Task[None] | None = None
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        notifier.reloading()
        try:
            await program.reload()
        finally:
            notifier.ready(program.status())

    def on_hangup() -> None:
        task = loop.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    order = loop.create_task(told.wait())
    try:
        begin = loop.create_task(program.start())
        await asyncio.wait({begin, order}, return_when=asyncio.FIRST_COMPLETED)
        if not begin.done():
            begin.cancel()
            await asyncio.gather(begin, return_exceptions=True)
            return 0
        begin.result()
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
        # What exists now lives as long as the process: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        notifier.ready(program.status())
        log.info("serving", status=program.status())
        beat = loop.create_task(_heartbeat(program, notifier))
        work = loop.create_task(program.wait())
        await asyncio.wait({work, order, beat}, return_when=asyncio.FIRST_COMPLETED)
        if beat.done():
            beat.result()
        if work.done():
            work.result()
        return 0
    finally:
        notifier.stopping("stopping")
        leftovers = [task for task in (work, beat, order, *reloads) if task is not None]
        for task in leftovers:
            task.cancel()
        await asyncio.gather(*leftovers, return_exceptions=True)
        await program.stop()
        log.info("stopped")


async def _heartbeat(program: Program, notifier: Notifier) -> None:
    """Feed the watchdog and the status line from the loop itself: a loop that hangs stops doing so."""
    period = STATUS_SECONDS
    if notifier.watchdog_seconds:
        period = min(period, notifier.watchdog_seconds / 3)
    while True:
        notifier.watchdog()
        notifier.status(program.status())
        await asyncio.sleep(period)


async def supervise(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Wait until one of a daemon's tasks fails, and raise what it raised; a cancelled wait leaves the tasks running."""
    done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


def die(error: LatencyError) -> NoReturn:
    """End a program before its loop ran: the message on standard error, the error's exit code."""
    sys.stderr.write(f"error: {error}\n")
    sys.exit(error.exit_code)
