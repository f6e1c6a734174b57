"""A race of doors in the terminal: a table while it goes on, a line for a pipe, and the answer at its end."""

from rich.console import Console, Group, RenderableType
from rich.text import Text

from daemons.service.console.screen import MISSING, Grid, figure, sentence, wrapped
from experiments.doors.model import DoorRow, DoorsRun

__all__ = ["line", "print_answer", "table"]

_TRIES = 5
_STYLES = {"best": "bold green", "none-better": "bold", "undecided": "bold yellow", "nothing": "bold red"}


def table(run: DoorsRun, console: Console) -> RenderableType:
    """Make the live table; where the terminal is too low for all doors, those at the end are counted alone."""
    head = [Text(text, style=_STYLES[run.outcome]) for text in wrapped(run.sentence, console.width, 2)]
    foot = [Text(text, style="dim") for text in wrapped(_progress(run), console.width, 2)]
    shown: RenderableType = Group()
    count = len(run.doors)
    for _try in range(_TRIES):
        more = len(run.doors) - count
        rest = [Text(f"and {more} more doors; see a higher terminal", style="dim")] if more else []
        shown = Group(*head, _grid(run.doors[:count]), *rest, *foot)
        excess = len(console.render_lines(shown, pad=False)) - console.height
        if excess <= 0 or not count:
            break
        # A door has a line at least, and one goes to the word about the others.
        count = max(0, count - excess - (not more))
    return shown


def line(run: DoorsRun) -> str:
    """Make one line for a pipe or a log file."""
    states = [door.state for door in run.doors]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{_progress(run)}  |  {told}  |  {run.sentence}"


def print_answer(console: Console, run: DoorsRun) -> None:
    """Print the answer, the ranking, and what there is to know besides."""
    sentence(console, run.sentence, style=_STYLES[run.outcome])
    if run.configuration:
        sentence(console, "for the feed's section of the configuration:")
        sentence(console, f"  {run.configuration}", style="bold", indent=4)
    console.print()
    console.print(_grid(run.doors))
    sentence(
        console,
        f" intervals hold for all pairs and all looks together at {run.confidence * 100:g} %, of blocks of "
        f"{run.block_seconds:g} s; {_progress(run)}",
        indent=3,
    )
    for note in run.notes:
        sentence(console, f" ! {note}", style="yellow", indent=3)


def _progress(run: DoorsRun) -> str:
    blocks = f"{run.blocks:,} block{'s' * (run.blocks != 1)}"
    return f"{blocks}, {run.compared_events:,} events compared, {run.attempts:,} attempts to connect"


def _grid(doors: list[DoorRow]) -> Grid:
    grid = Grid("", ("door", "state", "behind, ms", "interval", "first in, %", "blocks", "ping, ms"), {"state"})
    for door in doors:
        interval = MISSING
        if door.behind_low_ms is not None and door.behind_high_ms is not None:
            interval = f"{door.behind_low_ms:.3f} to {door.behind_high_ms:.3f}"
        grid.add(
            door.address,
            door.state,
            figure(door.behind_ms, 3),
            interval,
            figure(None if door.first_share is None else door.first_share * 100, 1),
            f"{door.blocks:,}",
            figure(door.ping_ms, 3),
        )
    return grid
