"""What changes in place on a terminal while it is watched, and stays there at its end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Self

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, SegmentLines
from rich.text import Text

__all__ = ["Display"]


class Display(contextlib.AbstractContextManager["Display"]):
    """Something that changes in place while it is watched, where the terminal can do that.

    It is drawn again when the terminal gets another size, where an event loop runs. At its end it stays where it was.

    Args:
        console: where it is shown.
        transient: whether it vanishes at its end, for what is printed then; not where an error ends it, for then
            nothing else tells how far it was.

    Attributes:
        moves: whether it can; where not, say something now and then instead. Colours asked for in a pipe
            (``FORCE_COLOR``) make no terminal of it, and one that cannot move its cursor (``TERM=dumb``) is none.
    """

    def __init__(self, console: Console, *, transient: bool = False) -> None:
        self._console = console
        self.moves = console.is_interactive and console.file.isatty()
        self._make: Callable[[], RenderableType] | None = None
        self._drawn = _Drawn(console)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live: Live | None = None
        if self.moves:
            self._live = Live(
                self._drawn,
                console=console,
                auto_refresh=False,
                transient=transient,
                # What others print to this terminal goes above; what goes elsewhere stays there.
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._console.push_render_hook(self._drawn)
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
                self._loop.add_signal_handler(signal.SIGWINCH, self._redraw)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGWINCH)
        if self._live is not None:
            failed = kind is not None and issubclass(kind, Exception)
            vanishes = self._live.transient = self._live.transient and not failed
            self._drawn.whole = not vanishes
            if vanishes:
                self._make = str
            self._redraw()
            self._console.pop_render_hook()
            self._live.stop()

    def above(self, text: str) -> None:
        """Print lines above it, where they stay."""
        self._console.print(Text(text.rstrip("\n")), soft_wrap=True)

    def update(self, make: Callable[[], RenderableType]) -> None:
        """Show this in the place of what was there.

        Args:
            make: makes what is shown, for the size that the terminal has then.
        """
        self._make = make
        self._redraw()

    def _redraw(self) -> None:
        assert self._live is not None
        if self._make is not None:
            self._drawn.shown = self._make()
            self._live.refresh()


class _Drawn(RenderHook):
    """What a display shows, ``whole`` or as far as there is room, and how wide its lines were when drawn last.

    Most terminals break lines that are too long for them when they become narrower. There are more rows to draw over
    then than were drawn. What a terminal has moved to its scrollback meanwhile is out of reach.
    """

    def __init__(self, console: Console) -> None:
        self.shown: RenderableType = ""
        self.whole = False
        self._console = console
        self._widths: list[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as many lines as there is room for, without blanks at their ends: not all terminals break those."""
        lines = [_trimmed(line) for line in console.render_lines(self.shown, options, pad=False)]
        if len(lines) > options.size.height and not self.whole:
            lines[options.size.height - 1 :] = [[Segment("...")]]
        self._widths = [Segment.get_line_length(line) for line in lines]
        yield SegmentLines(lines, new_lines=True)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Rub out as many rows as breaking has added, before :class:`Live` does so with those that were drawn."""
        added = sum(max(0, width - 1) // self._console.width for width in self._widths) if _breaks_lines() else 0
        rubbed = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * added
        return [Control(*rubbed), *renderables]


def _trimmed(line: list[Segment]) -> list[Segment]:
    """Take the blanks off the end of a line."""
    kept = list(line)
    while kept and not kept[-1].text.rstrip():
        kept.pop()
    return [*kept[:-1], kept[-1]._replace(text=kept[-1].text.rstrip())] if kept else []


def _breaks_lines() -> bool:
    """Tell whether the terminal breaks lines when it becomes narrower; xterm and screen cut them off."""
    return "TMUX" in os.environ or not {"XTERM_VERSION", "STY"} & os.environ.keys()
