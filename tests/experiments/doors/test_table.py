"""What a race of doors shows, on whatever screen; and a folder that is not what it should be."""

import io
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from experiments.doors.model import DoorRow, DoorsRun
from experiments.doors.record import COLUMNS, write_run
from experiments.doors.table import line, print_answer, table
from experiments.main import main

DOORS = [
    DoorRow(
        address="192.0.2.1",
        found_by=["system"],
        state="racing",
        blocks=200,
        events=9000,
        first_share=0.71,
        behind_ms=0.0,
        ping_ms=1.234,
    ),
    DoorRow(
        address="2001:db8:1234:5678:9abc:def0:1234:5678",
        found_by=["9.9.9.9", "system"],
        state="racing",
        blocks=198,
        events=8900,
        first_share=0.2,
        behind_ms=0.214,
        behind_low_ms=0.141,
        behind_high_ms=0.287,
    ),
    DoorRow(address="192.0.2.3", found_by=["--address"], state="failing", trouble="[red]refused[/red]", attempts=7),
]


def run(**more: object) -> DoorsRun:
    made = DoorsRun(
        url="wss://stream.example.com/stream",
        streams=["btcusdt@trade"],
        start="2026-11-29T10:00:00.000Z",
        connections=16,
        block_seconds=10.0,
        confidence=0.95,
        margin_ms=0.05,
        blocks=200,
        compared_events=9123,
        attempts=31,
        outcome="best",
        sentence="192.0.2.1 is the best door: ahead of the other by 0.214 ms (0.141 to 0.287) or more",
        leaders=["192.0.2.1"],
        configuration='address = "192.0.2.1"',
        doors=DOORS,
        notes=["the name has no IPv6 address", "192.0.2.3 is failing (7 times): [red]refused[/red]"],
    )
    return msgspec.structs.replace(made, **more)


def console(width: int, height: int = 50) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)


def told(made: Console) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_answer_is_whole_however_narrow_the_screen_is(width: int) -> None:
    screen = console(width)
    print_answer(screen, run())
    words = " ".join(told(screen).split())
    for text in ('address = "192.0.2.1"', "0.141 to 0.287", "1.234", "failing", "[red]refused[/red]", "IPv6"):
        assert text in words
    assert "2001:db8:1234:5678:9abc:def0:1234:5678" in words.replace(" ", "")
    assert max(map(len, told(screen).splitlines())) <= width


def test_a_low_screen_has_the_first_doors_and_says_how_many_there_are_besides() -> None:
    screen = console(120, 9)
    many = [msgspec.structs.replace(DOORS[1], address=f"192.0.2.{number}") for number in range(60)]
    screen.print(table(run(doors=many), screen))
    shown = told(screen)
    assert len(shown.splitlines()) <= 9
    assert "192.0.2.0 " in shown
    assert "more doors; see a higher terminal" in shown
    screen = console(120, 50)
    screen.print(table(run(), screen))
    assert "more doors" not in told(screen)


def test_a_pipe_gets_a_line_with_everything_in_short() -> None:
    counts = "200 blocks, 9,123 events compared, 31 attempts to connect"
    assert line(run(blocks=1)).startswith("1 block, 9,123 events compared")
    assert line(run()).startswith(f"{counts}  |  2 racing, 1 failing  |  192.0.2.1 is the best door")


def reported(folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["report", str(folder)])
    return result.exit_code, result.output


def written(folder: Path, rows: str, **more: object) -> Path:
    write_run(folder, run(**more))
    (folder / "blocks.csv").write_text(",".join(COLUMNS) + "\n" + rows)
    return folder


ROWS = "".join(
    f"{block},2026-11-29T10:00:00.000Z,{door.address},{0.01 * block},50,20\n"
    for block in range(9)
    for door in DOORS[:2]
)


@pytest.mark.process
def test_a_report_draws_what_is_there_and_escapes_what_others_said(tmp_path: Path) -> None:
    # The blocks that a crash left behind the record are not drawn.
    notes = ["an exchange said <script>alert(1)</script>"]
    folder = written(tmp_path, ROWS + f"500,x,{DOORS[0].address},1.0,1,1\n", blocks=9, notes=notes)
    assert reported(folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert "Over time" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "| 192.0.2.3 | – | – | – | 0 | failing |" in (folder / "report.md").read_text()


@pytest.mark.parametrize("doors", [[], DOORS[:1], DOORS[2:]])
@pytest.mark.process
def test_a_race_without_two_doors_is_reported_without_figures(tmp_path: Path, doors: list[DoorRow]) -> None:
    folder = written(tmp_path, "", doors=doors, outcome="nothing", configuration="", sentence="nothing to compare")
    assert reported(folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert "Nothing to compare." in page
    assert "Over time" not in page


@pytest.mark.parametrize(
    ("rows", "line_number"),
    [("1,2\n", 2), (ROWS + "7,x,192.0.2.1,fast,1,1\n", 20), (ROWS + "seven,x,192.0.2.1,1.0,1,1\n", 20)],
)
@pytest.mark.process
def test_a_file_that_is_cut_or_damaged_is_named_with_its_line(tmp_path: Path, rows: str, line_number: int) -> None:
    code, output = reported(written(tmp_path, rows))
    assert code == 2
    assert f"blocks.csv:{line_number}: " in output.replace("\n", "")


@pytest.mark.process
def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "doors.json").write_text('{"format": "other"}')
    code, output = reported(tmp_path)
    assert code == 2
    assert "name the folder of a whole run of experiment doors" in " ".join(output.split())
