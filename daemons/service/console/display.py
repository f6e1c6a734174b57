"""What changes in place on a terminal while it is watched, and stays there at its end."""

import asyncio
import contextlib
import io
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
    Stopped by Ctrl-Z it gives the terminal back, and begins below what was said meanwhile.

    Args:
        console: where it is shown.
        transient: whether it vanishes at its end, for what is printed then; not where an error ends it, for then
            nothing else tells how far it was.
        own_screen: whether it fills the terminal's other screen, as ``top`` and ``mtr`` do: for what has no end of its
            own. What was shown last is printed at its end, and then what was said meanwhile.

    Attributes:
        moves: whether it can; where not, say something now and then instead. Colours asked for in a pipe
            (``FORCE_COLOR``) make no terminal of it, and one that cannot move its cursor (``TERM=dumb``) is none.
    """

    def __init__(self, console: Console, *, transient: bool = False, own_screen: bool = False) -> None:
        self._console = console
        self._transient = transient
        self._own_screen = own_screen
        self.moves = console.is_interactive and console.file.isatty()
        self._make: Callable[[], RenderableType] | None = None
        self._drawn = _Drawn(console)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shown = contextlib.ExitStack()
        self._live: Live | None = None
        self._aside = io.StringIO()

    def __enter__(self) -> Self:
        if self.moves:
            self._begin()
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
                self._loop.add_signal_handler(signal.SIGWINCH, self._redraw)
                self._loop.add_signal_handler(signal.SIGTSTP, self._pause)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGWINCH)
            self._loop.remove_signal_handler(signal.SIGTSTP)
        if self.moves:
            failed = kind is not None and issubclass(kind, Exception)
            self._end(vanishes=self._transient and not failed)

    def above(self, text: str) -> None:
        """Print lines above it, where they stay."""
        if self._own_screen:
            self._aside.write(text.rstrip("\n") + "\n")
        else:
            self._console.print(Text(text.rstrip("\n")), soft_wrap=True)

    def update(self, make: Callable[[], RenderableType]) -> None:
        """Show this in the place of what was there.

        Args:
            make: makes what is shown, for the size that the terminal has then.
        """
        self._make = make
        self._redraw()

    def _begin(self) -> None:
        """Take the terminal."""
        self._drawn.begin()
        # What others print to this terminal goes above, or waits for the end; what goes elsewhere stays there.
        self._live = Live(
            self._drawn,
            console=self._console,
            auto_refresh=False,
            screen=self._own_screen,
            redirect_stdout=sys.stdout.isatty() and not self._own_screen,
            redirect_stderr=sys.stderr.isatty() and not self._own_screen,
        )
        if self._own_screen and sys.stderr.isatty():
            self._shown.enter_context(contextlib.redirect_stderr(self._aside))
        self._live.start()
        if not self._own_screen:
            self._console.push_render_hook(self._drawn)
        self._redraw()

    def _end(self, *, vanishes: bool) -> None:
        """Give the terminal back, with what was shown last in its scrollback, or without."""
        assert self._live is not None
        if self._own_screen:
            self._live.stop()
            self._shown.close()
            if self._make is not None and not vanishes:
                self._console.print(self._make())
            self._console.file.flush()
            sys.stderr.write(self._aside.getvalue())
            self._aside = io.StringIO()
            return
        self._live.transient = vanishes
        self._drawn.whole = not vanishes
        if vanishes:
            self._drawn.shown = ""
            self._live.refresh()
        else:
            self._redraw()
        self._console.pop_render_hook()
        self._live.stop()

    def _pause(self) -> None:
        """Stop as Ctrl-Z asks for, without the terminal."""
        assert self._loop is not None
        self._end(vanishes=self._own_screen)
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._loop.add_signal_handler(signal.SIGTSTP, self._pause)
        self._begin()

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

    def begin(self) -> None:
        """Forget what was drawn: it is out of reach."""
        self.whole = False
        self._widths = []

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
