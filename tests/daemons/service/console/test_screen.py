import io
import itertools
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from daemons.service.console.screen import Grid, Prose, figure, screen, sentence, wrapped

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=30)
FIGURES = st.floats(-1e6, 1e6).map(figure) | st.just("–") | st.just("")


def rendered(shown: Grid, width: int, *, terminal: bool = True) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None, highlight=False)
    console.print(shown)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def grid(columns: int, rows: int) -> Grid:
    made = Grid("title", ["path", *(f"p{number} ms" for number in range(columns))])
    for row in range(rows):
        made.add(f"path-{row}", *(f"{1000 * row + number}.25" for number in range(columns)))
    return made


@pytest.mark.parametrize("width", [20, 40, 60, 80, 140])
@pytest.mark.parametrize("columns", [1, 4, 9])
@pytest.mark.parametrize("rows", [1, 2, 10])
def test_nothing_is_cut_and_no_line_is_too_long(width: int, columns: int, rows: int) -> None:
    lines = rendered(grid(columns, rows), width)
    assert max(map(cell_len, lines)) <= width
    for row in range(rows):
        for number in range(columns):
            assert re.search(rf"(?<![\d.]){1000 * row + number}\.25(?!\d)", "\n".join(lines))


def test_wide_upright_narrower_on_its_side_and_at_last_a_paragraph_a_row() -> None:
    two = grid(8, 2)
    assert rendered(two, 120)[1].split() == ["path", *(word for n in range(8) for word in (f"p{n}", "ms"))]
    assert rendered(two, 40)[1].split() == ["path", "path-0", "path-1"]
    assert rendered(two, 20)[1:3] == ["path-0", "  p0 ms: 0.25"]


@pytest.mark.parametrize("width", [30, 60, 140])
def test_a_title_may_be_wider_than_its_table(width: int) -> None:
    made = Grid("block 1 of 1, race, 8 of 8 s", ["path", "p50"])
    made.add("one", "1.0")
    assert rendered(made, width)[0] == "block 1 of 1, race, 8 of 8 s"


@given(st.data(), st.integers(30, 150))
def test_every_cell_is_found_again(data: st.DataObject, width: int) -> None:
    columns = data.draw(st.lists(NAMES, min_size=2, max_size=8, unique=True))
    made = Grid("", columns)
    rows = data.draw(st.lists(st.tuples(NAMES, *(FIGURES for _ in columns[1:])), min_size=1, max_size=4))
    for row in rows:
        made.add(*row)
    lines = rendered(made, width)
    text = "\n".join(lines)
    assert max(map(cell_len, lines)) <= width
    # Markup in a name is printed, not obeyed; names longer than the line go on in the next one.
    run_on = re.sub(r"\s", "", text)
    for row in rows:
        for cell in row:
            assert cell in text or (cell_len(cell) + 20 > width and re.sub(r"\s", "", cell) in run_on)
    assert "…" not in text or any("…" in name for name in (*columns, *(row[0] for row in rows)))


@given(
    st.text(st.characters(categories=["L", "N"]) | st.sampled_from(" -%/."), max_size=300),
    st.integers(20, 150),
    st.integers(0, 8),
)
def test_no_word_is_broken(text: str, width: int, indent: int) -> None:
    lines = wrapped(text, width, indent)
    assert " ".join(lines).split() == text.split()
    for line in lines:
        assert len(line) <= width or len(line.split()) == 1 or re.search(r"\d (%|s|h|B)\b|\d %", line)


def test_a_number_stays_with_its_unit() -> None:
    text = (
        "jitter (standard deviation) 63 % lower, and so on to the end of the line at 20.4 ms, ± 3 s for 0.01 USD/h * a"
    )
    for width in range(20, 100):
        for line in wrapped(text, width):
            assert not re.search(r"\d$", line)
            assert not re.match(r"\s*(%|ms|USD|\*)", line)


@pytest.mark.parametrize("width", range(12, 90))
def test_sentences_among_tables_break_as_sentences_do(width: int) -> None:
    text = "backbone leads by 19.64 ms (median); link RTT 38.02 ms; 62 events buffered"
    console = Console(file=io.StringIO(), width=width)
    console.print(Prose(text))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == wrapped(text, width)


def test_into_a_pipe_a_table_is_upright_and_a_sentence_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    console = screen()
    long = "a sentence of many words " * 20
    sentence(console, long)
    console.print(grid(30, 2))
    lines = file.getvalue().splitlines()
    assert lines[0] == long.strip()
    assert lines[2].split()[-2:] == ["p29", "ms"]
    assert max(len(line.rstrip()) for line in lines[1:]) < 1000


@pytest.mark.parametrize("width", [30, 60, 140])
@pytest.mark.parametrize(
    "name", ["フォワーダー経由の専用線", "🚀 東京リージョン ap-northeast-1a", "e\u0301te\u0301 sans fin"], ids=str
)
def test_letters_that_take_two_cells_or_none_leave_no_line_too_wide_or_too_narrow(name: str, width: int) -> None:
    text = f"{name} leads {name} by far, and {name} is not far behind either of them"
    lines = wrapped(text, width, 2)
    assert " ".join(line.strip() for line in lines) == text
    assert max(map(cell_len, lines)) <= width
    for line, after in itertools.pairwise(lines):
        assert cell_len(line) + 1 + cell_len(after.split()[0]) > width
