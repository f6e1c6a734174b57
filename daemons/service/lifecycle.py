"""The life of a daemon: event loop, signals, watchdog, exit codes.

A program is an object with three coroutines' worth of life: ``start`` until it serves, ``wait`` until it is done by
itself (a timed run) or told to stop, and ``stop`` to put everything away.
"""

import asyncio
import gc
import signal
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

import structlog
import uvloop

from daemons.errors import LatencyError
from daemons.service.log import logs
from daemons.service.notify import Notifier

__all__ = ["Program", "Rate", "Tasks", "end", "run"]

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


def run(make: Callable[[], Program], *, notifier: Notifier | None = None, busy_poll: bool = False) -> int:
    """Run a program on uvloop until it is done, or SIGTERM or SIGINT arrives.

    Args:
        make: builds the program inside the loop.
        notifier: the service manager's socket; from the environment by default.
        busy_poll: never sleep while serving, so that no event waits for the process to be woken; takes a whole core.

    Returns:
        The exit code: 0, or the ``exit_code`` of the error that ended it, which is logged.
    """
    try:
        return uvloop.run(_live(make, notifier or Notifier(), busy_poll=busy_poll))
    except LatencyError as error:
        return _told_why(error)
    except KeyboardInterrupt:
        return INTERRUPTED


async def _live(make: Callable[[], Program], notifier: Notifier, *, busy_poll: bool) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_exception)
    log = structlog.get_logger("lifecycle")
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    program = make()
    beat: asyncio.Task[None] | None = None
    work: asyncio.Task[None] | None = None
    reloads = _Reloads(program, notifier)
    # From the first moment, for without a handler it ends the process: what is asked for early is done after the start.
    loop.add_signal_handler(signal.SIGHUP, reloads.ask)
    order = loop.create_task(_told(told))
    try:
        begin = loop.create_task(program.start())
        await asyncio.wait({begin, order}, return_when=asyncio.FIRST_COMPLETED)
        if not begin.done():
            await end([begin])
            return 0
        begin.result()
        reloads.start()
        # What exists now lives as long as the process: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        notifier.ready(program.status())
        log.info("serving", status=program.status())
        if busy_poll:
            _spin(loop)
        beat = loop.create_task(_heartbeat(program, notifier))
        work = loop.create_task(program.wait())
        await asyncio.wait({work, order, beat}, return_when=asyncio.FIRST_COMPLETED)
        if beat.done():
            beat.result()
        if work.done():
            work.result()
    except LatencyError as error:
        # Before the stop, which speaks too: what happened first is told first.
        return _told_why(error)
    else:
        return 0
    finally:
        await reloads.close()
        notifier.stopping("stopping")
        await end([task for task in (work, beat, order) if task is not None])
        await program.stop()
        log.info("stopped")


def _told_why(error: LatencyError) -> int:
    structlog.get_logger("lifecycle").error("cannot go on", error=str(error), exit_code=error.exit_code)
    return error.exit_code


class _Reloads:
    """Reloads one after the other, and none beside the stop: each leaves a program that the next can build on.

    Signals that come during a reload are one more reload after it, which reads what all of them were sent for.
    """

    def __init__(self, program: Program, notifier: Notifier) -> None:
        self._program = program
        self._notifier = notifier
        self._asked = asyncio.Event()
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve requests."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def ask(self) -> None:
        """Request a reload."""
        self._asked.set()

    async def close(self) -> None:
        """Wait for the reload under way, and begin no other."""
        await self._busy.acquire()
        if self._task is not None:
            await end([self._task])

    async def _serve(self) -> None:
        while True:
            await self._asked.wait()
            async with self._busy:
                self._asked.clear()
                self._notifier.reloading()
                try:
                    await self._program.reload()
                except Exception as error:  # noqa: BLE001 a reload that fails must not take the daemon with it
                    logs.unexpected(error, "reload; restart the daemon to be sure of its configuration")
                finally:
                    self._notifier.ready(self._program.status())


def _on_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Give a home to what a callback of the loop, or a task that nobody waits for, has raised."""
    error = context.get("exception")
    logs.unexpected(error if error is not None else RuntimeError("without an exception"), str(context.get("message")))


async def _told(event: asyncio.Event) -> None:
    await event.wait()


def _spin(loop: asyncio.AbstractEventLoop) -> None:
    """Keep something to do in every turn of the loop, which then asks for events without waiting for them."""

    def turn() -> None:
        loop.call_soon(turn)

    turn()


async def _heartbeat(program: Program, notifier: Notifier) -> None:
    """Feed the watchdog and the status line from the loop itself: a loop that hangs stops doing so."""
    period = STATUS_SECONDS
    if notifier.watchdog_seconds:
        period = min(period, notifier.watchdog_seconds / 3)
    while True:
        notifier.watchdog()
        notifier.status(program.status())
        await asyncio.sleep(period)


class Rate:
    """How fast a count grows, from one status line to the next."""

    def __init__(self) -> None:
        self._then, self._before = 0.0, 0

    def of(self, count: int, now: float) -> float:
        """Return the growth a second since the last call; 0 at the first.

        Args:
            count: as it is now.
            now: seconds on any steady scale.
        """
        rate = (count - self._before) / (now - self._then) if self._then and now > self._then else 0.0
        self._then, self._before = now, count
        return rate


class Tasks:
    """A daemon's background tasks: if any of them fails, the daemon must not go on as if nothing had happened."""

    def __init__(self) -> None:
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run in the background."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._on_done)
        return task

    async def failure(self) -> None:
        """Wait, for ever if need be, until a task fails, and raise what it raised."""
        await asyncio.shield(self._failure)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failure.done():
            self._failure.set_exception(error)


async def end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
