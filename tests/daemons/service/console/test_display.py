import io
import os
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from daemons.service.console.display import Display, _Drawn
from tests.processes import until
from tests.terminal import on_terminal
from tests.tmux import in_tmux

ROOT = Path(__file__).parents[4]

SCRIPT = """
from daemons.service.console.display import Display
from daemons.service.console.screen import screen
console = screen()
with Display(console) as display:
    print(display.moves)
"""

WATCHED = """
import asyncio, signal, sys
from rich.console import Group
from rich.text import Text
from daemons.service.console.display import Display
from daemons.service.console.screen import Grid, screen

console = screen()
console.print("said before")

def shown():
    grid = Grid(f"for {console.width} columns", ("path", "events", "p50 ms", "p99 ms", "jitter ms", "lost", "wins"))
    grid.add("direct (public internet)", "1725", "126.65", "137.75", "3.80", "0", "0")
    grid.add("backbone (forwarder and backbone)", "1728", "106.53", "116.13", "3.30", "0", "1729")
    return Group(grid, Text("the end of it"))

async def main():
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, told.set)
    with Display(console, transient="transient" in sys.argv, own_screen="own" in sys.argv) as display:
        display.update(shown)
        if "own" in sys.argv:
            display.above("news")
            print("a warning", file=sys.stderr)
        await told.wait()
        if "fault" in sys.argv:
            raise OSError("a fault")

asyncio.run(main())
print("said afterwards")
"""


def watched(*how: str) -> list[str]:
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", WATCHED, *how]


@pytest.mark.process
@pytest.mark.parametrize("sizes", [[60], [45, 140], [80, 60, 120, 50], [70, 60, 50, 45]], ids=str)
def test_the_window_shows_one_whole_table_whatever_size_it_gets(tmp_path: Path, sizes: list[int]) -> None:
    with in_tmux(tmp_path, watched(), 100) as window:
        window.wait_for("the end of it")
        for columns in sizes:
            window.resize(columns, 40)
            lines = window.wait_for(f"for {columns} columns")
            assert [line for line in lines if "columns" in line] == [f"for {columns} columns"]
            assert lines[-1] == "the end of it"
            for figure in ("126.65", "106.53", "1729"):
                assert sum(figure in line for line in lines) == 1
        window.press("C-c")
        left = window.end()
    # Nothing that stood above is lost, and the last table stays.
    assert left.count("said before") == 1
    assert left[-2:] == ["the end of it", "said afterwards"]
    assert f"for {sizes[-1]} columns" in left


@pytest.mark.process
@pytest.mark.parametrize(
    ("how", "stays"), [((), True), (("transient",), False), (("transient", "fault"), True)], ids=str
)
def test_the_last_table_stays_unless_another_is_printed_for_it(
    tmp_path: Path, how: tuple[str, ...], stays: bool
) -> None:
    # Also what is higher than the terminal is whole in the scrollback.
    with in_tmux(tmp_path, watched(*how), 100, 4) as window:
        window.wait_for("for 100 columns")
        window.press("C-c")
        left = window.end()
    assert left[0] == "said before"
    assert ("the end of it" in left) == stays
    assert sum("126.65" in line for line in left) == stays


@pytest.mark.process
@pytest.mark.parametrize("how", [("own",), ("own", "fault")], ids=str)
def test_on_its_own_screen_it_leaves_one_table_whatever_size_the_window_had(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    with in_tmux(tmp_path, watched(*how), 100, 5) as window:
        for columns, rows in ((60, 4), (140, 30), (45, 3), (80, 20)):
            window.resize(columns, rows)
            lines = window.wait_for(f"for {columns} columns")
            assert [line for line in lines if "columns" in line] == [f"for {columns} columns"]
            # What others say meanwhile does not spoil it, and what stood before is hidden.
            assert not {"said before", "news", "a warning"} & set(lines)
        window.press("C-c")
        left = window.end()
    assert left[0] == "said before"
    assert [line for line in left if "columns" in line] == ["for 80 columns"]
    assert sum("126.65" in line for line in left) == 1
    ended = left.index("the end of it")
    assert left[ended + 1 : ended + 3] == ["news", "a warning"]
    assert ("said afterwards" in left) == ("fault" not in how)
    assert (left[-1] == "OSError: a fault") == ("fault" in how)


@pytest.mark.process
@pytest.mark.parametrize(("how", "tables"), [((), 2), (("own",), 1)], ids=str)
def test_stopped_by_the_keyboard_it_gives_the_terminal_back(tmp_path: Path, how: tuple[str, ...], tables: int) -> None:
    shell = f"{shlex.join(watched(*how))}; echo the shell has it; read -r _go; fg"
    with in_tmux(tmp_path, ["sh", "-mc", shell]) as window:
        window.wait_for("the end of it")
        window.press("C-z")
        stopped = window.wait_for("the shell has it")
        assert stopped[0] == "said before"
        assert ("the end of it" in stopped) == (not how)
        assert window.cursor_is_seen()
        window.press("Enter")
        until(lambda: not window.cursor_is_seen(), "it goes on")
        # Above, the tables of before may still stand, and what the shell says is below them until these are drawn.
        until(lambda: window.seen()[-1:] == ["the end of it"], "it is drawn below what the shell said")
        window.press("C-c")
        left = window.end()
    # What the shell said stands where it was said.
    assert left[0] == "said before"
    assert left.count("the end of it") == tables
    assert left.index("the shell has it") < len(left) - 1 - left[::-1].index("the end of it")
    assert left[-1] == "said afterwards"


def test_a_terminal_that_cuts_lines_off_loses_none_above(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMUX", "STY", "XTERM_VERSION"):
        monkeypatch.delenv(name, raising=False)
    console = Console(file=io.StringIO(), width=40, force_terminal=True)
    drawn = _Drawn(console)
    drawn.shown = f"{'x' * 35}\nshort\n{'y' * 20}"
    console.print(drawn)
    console.width = 15
    rubbed = drawn.process_renderables([])[0]
    assert str(rubbed).count("\x1b[1A") == 3
    monkeypatch.setenv("XTERM_VERSION", "XTerm(379)")
    assert not str(drawn.process_renderables([])[0])
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    assert str(drawn.process_renderables([])[0]) == str(rubbed)


@pytest.mark.parametrize(
    ("setting", "moves"), [({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, True)], ids=str
)
def test_a_display_moves_where_the_terminal_can(setting: dict[str, str], moves: bool) -> None:
    settings = [f"{name}={value}" for name, value in setting.items()]
    shown = on_terminal(["env", *settings, sys.executable, "-c", SCRIPT], 80, cwd=ROOT)
    assert shown.text.split() == [str(moves)]


def test_colours_asked_for_make_no_terminal_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file, os.fdopen(reading):
        monkeypatch.setattr(sys, "stdout", file)
        assert Console().is_terminal
        assert not Display(Console()).moves
