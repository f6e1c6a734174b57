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
from experiments.live.scrape import ScrapedPage, fetch
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
        targets: to read; none means those of this machine that answer.
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
        found = await (self._from_daemons() if self._prometheus is None else asyncio.to_thread(ask, self._prometheus))
        at, wall = time.monotonic(), time.time()
        for target, page in found.items():
            history = self._histories.setdefault(target, History(self._window_seconds))
            if isinstance(page, ScrapedPage):
                history.add(PageReading(at, wall, page))
            else:
                history.missed(page)
        for target, history in self._histories.items():
            if target not in found:
                history.missed("it is no target of Prometheus any more")
        return watched(datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), at, self._histories)

    async def _from_daemons(self) -> dict[ScrapeTarget, ScrapedPage | str]:
        targets = list(dict.fromkeys([*self._histories, *self._usual]))
        pages = await asyncio.gather(*(_page(target) for target in targets))
        found = dict(zip(targets, pages, strict=True))
        # Of the usual places only those count where a daemon is, or was.
        return {
            target: page for target, page in found.items() if isinstance(page, ScrapedPage) or target in self._histories
        }


async def _page(target: ScrapeTarget) -> ScrapedPage | str:
    try:
        return await fetch(target.address)
    except LatencyError as error:
        return str(error).removeprefix(f"{target.address}: ")


async def once(watch: Watch, as_json: bool) -> int:
    """Show one reading; return the exit code: ``NONE_ANSWERS`` where no daemon did."""
    seen = await watch.read()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
    elif seen.daemons:
        console = screen()
        console.print(tables(seen, console.width))
    if any(daemon.state == "up" for daemon in seen.daemons):
        return 0
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
            trouble, seen = "", None
            try:
                seen = await watch.read()
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


def _shown(seen: Watched | None, trouble: str, console: Console) -> RenderableType:
    """Make what a terminal shows: the figures, or why there are none."""
    if seen is not None:
        return fitted(seen, console)
    return Group(*(Text(part, style="bold red") for part in wrapped(trouble, console.width, 2)))
