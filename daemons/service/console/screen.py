"""What our commands print for people: tables that cut nothing, and sentences that break between words.

A terminal may be 40 columns wide or 200, and a pipe has no width at all. A figure whose end is missing is worse than no
figure, so a table too wide is turned on its side, and, where that is too wide too, written as a paragraph a row.
"""

import codecs
import io
import re
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

__all__ = ["MISSING", "NOT_CONFIGURED", "Grid", "Prose", "error_line", "figure", "screen", "sentence", "wrapped"]

MISSING = "–"
"""Stands where there is no figure."""
NOT_CONFIGURED = "not configured"
"""Stands where nothing was asked for, and so nothing is missing."""

_WITHOUT_END = 100_000
_TOGETHER = re.compile(
    r"(?<=\d) (?=(?:%|ns|µs|ms|s|h|B|kB|MB|GB|TB|USD|UTC|events|samples)(?:\W|$))"
    r"|(?<=[±<>≤≥≈]) (?=\d)| (?=\*(?:\s|$))"
)
"""Spaces at which no line may end: a number stays with its unit, and a mark with what it marks."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in letters that every one has."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_LETTERS.get(letter, "?") for letter in letters), error.end


_PLAIN = "backbone-latency-plain"
_LETTERS = {"–": "-", "…": "...", "±": "+-", "µ": "u", "→": "->", "─": "-", "\xa0": " "}
codecs.register_error(_PLAIN, _plainly)


def screen(*, errors: bool = False) -> Console:
    """Make the console to print on: as wide as the terminal, and without an end into a pipe or a file.

    Args:
        errors: standard error instead of standard output.
    """
    stream = sys.stderr if errors else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # Under LANG=C, say, a dash that cannot be written is no reason to end.
        stream.reconfigure(errors=_PLAIN)
    console = Console(stderr=errors, highlight=False)
    return console if console.is_terminal else Console(stderr=errors, highlight=False, width=_WITHOUT_END)


def figure(value: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """Write a figure, or what stands for none.

    >>> figure(1.234), figure(None), figure(-0.5, 1, signed=True)
    ('1.23', '–', '-0.5')
    """
    return MISSING if value is None else f"{value:{'+' if signed else ''}.{decimals}f}"


def sentence(console: Console, text: str, *, style: StyleType = "", indent: int = 2) -> None:
    """Print sentences: a terminal's lines end between words, and a pipe gets one line for each.

    Args:
        console: where to.
        text: whatever it holds is printed as it is.
        style: of all of it.
        indent: of the second line and those that follow.
    """
    for line in wrapped(text, console.width if console.is_terminal else _WITHOUT_END, indent):
        # A word longer than the line, such as a path, is left to the terminal, from which it can be copied whole.
        console.print(Text(line, style=style), soft_wrap=True)


def error_line(text: object) -> None:
    """Print what went wrong on standard error."""
    sentence(screen(errors=True), f"error: {text}")


class _Cells(str):
    """A piece of text, as long as it is wide: some letters take two cells of a terminal, some none."""

    __slots__ = ()

    def __len__(self) -> int:
        return cell_len(str(self))


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines by cells."""

    def _split(self, text: str) -> list[str]:
        return [_Cells(piece) for piece in super()._split(text)]


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """Break text between words; a number stays with its unit, and a word longer than the width stays whole."""
    wrapper = _Wrapper(
        max(width, 2 * indent, 1),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    lines: list[str] = []
    for line in text.split("\n"):
        lines += wrapper.wrap(_TOGETHER.sub("\xa0", line)) or [""]
    return [line.replace("\xa0", " ") for line in lines]


class Prose:
    """Sentences among tables, which break as :func:`wrapped` says, in as much room as there is when they are drawn.

    Args:
        text: the sentences.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield from map(Text, wrapped(self._text, options.max_width))


class Grid:
    """A table of figures in the one style that we have, which cuts nothing however narrow the terminal is.

    Args:
        title: above it; may be empty.
        columns: their names; the first has the names of the rows.
        words: the names of the columns that hold words, which stand on the left; the others hold figures.
    """

    def __init__(self, title: str, columns: Sequence[str], words: Collection[str] = ()) -> None:
        self._title = title
        self._columns = tuple(columns)
        self._words = {self._columns[0], *words}
        self._rows: list[tuple[Text, ...]] = []

    def add(self, *cells: str | Text) -> None:
        """Add a row; nothing in it is taken for markup."""
        assert len(cells) == len(self._columns)
        self._rows.append(tuple(cell if isinstance(cell, Text) else Text(cell) for cell in cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the widest of the three forms that fits, below the title, which may be wider than they are."""
        if self._title:
            yield from (Text(line, style="italic") for line in wrapped(self._title, options.max_width))
        for table in (self._upright(), self._on_its_side()):
            if _width(console, options, table) <= options.max_width:
                yield table
                return
        yield Group(*self._paragraphs(options.max_width))

    def _upright(self) -> Table:
        table = _table()
        for name in self._columns:
            table.add_column(
                Text(name),
                style="bold" if name == self._columns[0] else "",
                justify="left" if name in self._words else "right",
                no_wrap=True,
            )
        for row in self._rows:
            table.add_row(*row)
        return table

    def _on_its_side(self) -> Table:
        table = _table()
        table.add_column(Text(self._columns[0]), style="bold", no_wrap=True)
        for row in self._rows:
            table.add_column(row[0], justify="right", no_wrap=True)
        for number, name in enumerate(self._columns[1:], start=1):
            table.add_row(Text(name), *(row[number] for row in self._rows))
        return table

    def _paragraphs(self, width: int) -> Iterator[RenderableType]:
        for first, *others in self._rows:
            # What is longer than a line goes on in the next: nothing is lost.
            yield Text(first.plain, style="bold", overflow="fold")
            line = ""
            for name, cell in zip(self._columns[1:], others, strict=True):
                if not cell.plain.strip():
                    continue
                entry = f"{name}: {cell.plain}" if name else cell.plain
                if line and cell_len(line) + 3 + cell_len(entry) > width:
                    yield Text(line, overflow="fold")
                    line = ""
                line = f"{line}   {entry}" if line else f"  {entry}"
            if line:
                yield Text(line, overflow="fold")


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _width(console: Console, options: ConsoleOptions, table: Table) -> int:
    """Give the width that a table needs to be whole."""
    return Measurement.get(console, options.update(max_width=_WITHOUT_END), table).maximum
