"""What ``experiment watch`` does: it reads all daemons again and again, and shows them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from daemons.configuration.defaults import FORWARDER_METRICS, PROBE_METRICS, RECEIVER_METRICS
from daemons.errors import LatencyError
from daemons.service.console.display import Display
from daemons.service.console.screen import error_line, screen, sentence, wrapped
from experiments.live.figures import Watched, watched
from experiments.live.history import History, PageReading
from experiments.live.prometheus import ask
from experiments.live.scrape import NoPage, PageAnswer, ScrapedPage, SlowError, asked, parse
from experiments.live.targets import ScrapeTarget
from experiments.live.watch_view import fitted, line, tables

__all__ = ["NONE_ANSWERS", "Watch", "go_on", "once"]

NONE_ANSWERS = 1
_USUAL = (
    ScrapeTarget("receiver", RECEIVER_METRICS),
    ScrapeTarget("forwarder", FORWARDER_METRICS),
    ScrapeTarget("probe", PROBE_METRICS),
)
_LINE_SECONDS = 10.0


class Watch:
    """Reads all daemons, and keeps what they said.

    Args:
        targets: to read; none means those of this machine, at their usual places.
        prometheus: asked instead, if given.
        window_seconds: how far back figures reach.
    """

    def __init__(self, targets: Sequence[ScrapeTarget], prometheus: str | None, window_seconds: float) -> None:
        self._prometheus = prometheus
        self._window_seconds = window_seconds
        self._usual = [] if targets or prometheus else list(_USUAL)
        self._histories: dict[ScrapeTarget, History] = {target: History(window_seconds) for target in targets}

    async def read(self) -> Watched:
        """Read everything once.

        Raises:
            LatencyError: Prometheus does not answer.
        """
        found = await (self._from_daemons() if self._prometheus is None else self._from_server(self._prometheus))
        for target, reading in found.items():
            history = self._histories.setdefault(target, History(self._window_seconds))
            if isinstance(reading, PageReading):
                history.add(reading)
            else:
                history.missed(reading)
        for target, history in self._histories.items():
            if target not in found:
                history.missed(NoPage("it is no target of Prometheus any more"))
        return watched(
            datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), time.monotonic(), self._histories
        )

    async def _from_daemons(self) -> dict[ScrapeTarget, PageReading | NoPage]:
        targets = list(dict.fromkeys([*self._histories, *self._usual]))
        # All answers first: parsing one would make the time at which another came seem later.
        answers = await asyncio.gather(*(_answer(target) for target in targets))
        found = {target: _reading(target, answer) for target, answer in zip(targets, answers, strict=True)}
        # Of the usual places only those count where a daemon is, however slow, or was.
        return {
            target: reading
            for target, reading in found.items()
            if isinstance(reading, PageReading) or reading.state == "slow" or target in self._histories
        }

    async def _from_server(self, prometheus: str) -> dict[ScrapeTarget, PageReading | NoPage]:
        found = await asyncio.to_thread(ask, prometheus)
        at, wall = time.monotonic(), time.time()
        return {
            target: PageReading(at, wall, page) if isinstance(page, ScrapedPage) else page
            for target, page in found.items()
        }


async def _answer(target: ScrapeTarget) -> PageAnswer | NoPage:
    try:
        return await asked(target.address)
    except LatencyError as error:
        return _no_page(target, error)


def _reading(target: ScrapeTarget, answer: PageAnswer | NoPage) -> PageReading | NoPage:
    if isinstance(answer, NoPage):
        return answer
    try:
        return PageReading(answer.at, answer.wall, parse(target.address, answer.body))
    except LatencyError as error:
        return _no_page(target, error)


def _no_page(target: ScrapeTarget, error: LatencyError) -> NoPage:
    why = str(error).removeprefix(f"{target.address}: ")
    return NoPage(why, "slow" if isinstance(error, SlowError) else "gone")


async def once(watch: Watch, as_json: bool) -> int:
    """Show one reading; return the exit code: ``NONE_ANSWERS`` where no daemon did."""
    seen = await watch.read()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
    elif seen.daemons:
        console = screen()
        console.print(tables(seen, console.width))
    states = {daemon.state for daemon in seen.daemons}
    if "up" in states:
        return 0
    if "slow" in states:
        error_line("no daemon has answered in time; one is there, so ask again when its host is less busy")
        return NONE_ANSWERS
    error_line("no daemon answers; name where metrics are: HOST:PORT, or --prometheus HOST:PORT")
    return NONE_ANSWERS


async def go_on(watch: Watch, interval: float, duration: float | None, as_json: bool) -> int:
    """Show readings until the time is over or a signal comes, which is how this ends."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    console = screen()
    display = Display(console, own_screen=True)
    moves = display.moves and not as_json
    begun, said = time.monotonic(), -_LINE_SECONDS
    seen: Watched | None = None
    with display if moves else contextlib.nullcontext():
        while not told.is_set() and (duration is None or time.monotonic() - begun < duration):
            due = time.monotonic() + interval
            reading = asyncio.create_task(watch.read())
            await _done_or_told(reading, told)
            if reading.cancelled():
                break
            trouble, seen = "", None
            try:
                seen = reading.result()
            except LatencyError as error:
                trouble = str(error)
            now = time.monotonic()
            if as_json and seen is not None:
                click.echo(msgspec.json.encode(seen).decode())
            elif moves:
                display.update(partial(_shown, seen, trouble, console))
            elif not as_json and now - said >= _LINE_SECONDS:
                said = now
                sentence(console, trouble if seen is None else line(seen))
            if as_json and trouble:
                error_line(trouble)
            end = due if duration is None else min(due, begun + duration)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), max(0.0, end - now))
        if moves and seen is not None:
            # What stays has room for all.
            display.update(lambda: tables(seen, console.width))
    return 0


async def _done_or_told(work: asyncio.Task[Watched], told: asyncio.Event) -> None:
    """Wait for work, and cancel it when we are told to end: a daemon that hangs holds nobody up."""
    ending = asyncio.create_task(told.wait())
    await asyncio.wait({work, ending}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, ending):
        task.cancel()
    await asyncio.wait({work, ending})


def _shown(seen: Watched | None, trouble: str, console: Console) -> RenderableType:
    """Make what a terminal shows: the figures, or why there are none."""
    if seen is not None:
        return fitted(seen, console)
    return Group(*(Text(part, style="bold red") for part in wrapped(trouble, console.width, 2)))
