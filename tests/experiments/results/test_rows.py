import asyncio
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.formats.rows import Row
from daemons.receiver.rows import RowWriter
from daemons.records import StampKind, Validity
from experiments.errors import InputError
from experiments.results.foreign import imported
from experiments.results.mapping import Mapping, TimeColumn
from experiments.results.rows import load_rows
from experiments.results.run import find_runs
from tests.experiments.made import HEADER, SEED_HEADER, arrivals, rows, write_race, write_rows

SEED_ROWS = [
    "1,1704672345123,1704672345234000000,1704672345456000000,333.0,222.0",
    "2,1704672345234,1704672345345000000,1704672345567000000,333.0,222.0",
]
OUR_ROW = (
    "1,1704672345123,1704672345234000000,1704672345456000000,333.0,222.0,"
    "backbone,btcusdt@trade,7,1704672345123000000,1704672345234100000,kernel,ok,0"
)


def test_reads_the_six_columns_of_the_programs_it_replaces(tmp_path: Path) -> None:
    series = load_rows(write_rows(tmp_path / "r.csv", SEED_ROWS, SEED_HEADER), "aws-backbone")
    assert list(series) == ["aws-backbone"]
    one = series["aws-backbone"]
    assert one.samples("end_to_end_ms").tolist() == [333.0, 333.0]
    assert one.samples("backbone_ms").tolist() == [222.0, 222.0]
    assert one.sequence.tolist() == [1, 2]
    assert one.streams == ("",)


def test_reads_a_race_of_many_chunks_path_by_path(tmp_path: Path) -> None:
    delay = np.linspace(100, 120, 4321)
    file = write_race(tmp_path / "r.csv", arrivals(delay + 15), arrivals(delay))
    series = load_rows(file, "unused")
    assert series["direct"].is_feed
    assert not series["backbone"].is_feed
    assert np.allclose(series["direct"].samples("end_to_end_ms"), delay + 15, atol=1e-6)
    assert np.allclose(series["backbone"].samples("backbone_ms"), delay - 2, atol=1e-6)
    assert series["backbone"].sequence.tolist() == list(range(1, 4322))
    assert (np.diff(series["direct"].arrival_ns) > 0).all()


def test_events_without_time_have_no_end_to_end_sample(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "r.csv", rows(arrivals(np.full(5, 100.0)), path="x", link=True, timed=False))
    series = load_rows(file, "x")["x"]
    assert len(series) == 5
    assert len(series.samples("end_to_end_ms")) == 0
    assert len(series.samples("backbone_ms")) == 5


def test_invalid_and_delayed_rows_are_counted_and_are_no_samples(tmp_path: Path) -> None:
    lines = [
        OUR_ROW,
        OUR_ROW.replace(",ok,0", ",ok,1"),
        OUR_ROW.replace(",ok,0", ",negative,0"),
        OUR_ROW.replace(",ok,0", ",clock_step,0"),
        OUR_ROW.replace(",ok,0", ",delayed,1"),
    ]
    series = load_rows(write_rows(tmp_path / "r.csv", lines), "x")["backbone"]
    assert (len(series), len(series.samples("end_to_end_ms"))) == (5, 1)
    assert series.invalid == {"negative": 1, "clock_step": 1}
    assert series.delayed == 2


def test_a_row_whose_clocks_disagree_may_race_but_one_with_a_wrong_stamp_may_not(tmp_path: Path) -> None:
    lines = [OUR_ROW.replace(",ok,0", f",{validity},0") for validity in ("ok", "negative", "absurd", "clock_step")]
    series = load_rows(write_rows(tmp_path / "r.csv", lines), "x")["backbone"]
    assert series.live.tolist() == [True, True, True, False]


def test_an_event_without_time_still_has_a_backbone_latency(tmp_path: Path) -> None:
    row = OUR_ROW.replace(",ok,0", ",without_event_time,0").replace(",333.0,", ",,")
    series = load_rows(write_rows(tmp_path / "r.csv", [row]), "x")["backbone"]
    assert series.samples("backbone_ms").tolist() == [222.0]
    assert series.invalid == {}


def test_an_id_that_is_no_number_still_identifies(tmp_path: Path) -> None:
    lines = [OUR_ROW.replace(",7,", f",{name},") for name in ("10-12", "13-15", "10-12")]
    ids = load_rows(write_rows(tmp_path / "r.csv", lines), "x")["backbone"].event_id.tolist()
    assert ids[0] == ids[2] != ids[1]
    assert min(ids) > 0


def original(*lines: str) -> str:
    return "\n".join([SEED_HEADER, *lines]) + "\n"


GOOD, _ = SEED_ROWS


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty"),
        (SEED_HEADER + "\n", 1, "no rows"),
        ("a,b,c\n1,2,3\n", 1, "no column sequence_id, binance_time"),
        (original(GOOD).replace(",", ";"), 1, "save it with commas between the cells"),
        (original(GOOD, GOOD.replace("1704672345456000000", "1.704672345456e18")), 3, "'1.704672345456e18' is not a"),
        (original(GOOD, GOOD.replace("1704672345456000000", "1704672345456000000.5")), 3, "is not a number"),
        (original(GOOD, GOOD.replace("1,", "0x1,", 1)), 3, "sequence_id '0x1' is not a number"),
        (original(GOOD, '"1"x' + GOOD[1:]), 3, "not CSV in or before this line"),
        (SEED_HEADER + ",tokyo_time\n" + GOOD + "\n", 1, "column tokyo_time stands twice"),
        (original(GOOD, GOOD, GOOD[:30]), 4, "3 fields where the header names 6: the last row is cut off"),
        (original(GOOD, GOOD)[:-1], 3, "the last row is cut off: no end of line"),
        (original(GOOD, "2,oops" + GOOD[15:]), 3, "binance_time 'oops' is not a number"),
        (original(GOOD, GOOD.replace("333.0", "inf")), 3, "end_to_end_latency_ms 'inf' is not finite"),
        (original(GOOD, GOOD.replace("1704672345456000000", "1704672345456")), 3, "looks like milliseconds"),
        (original(GOOD, GOOD.replace("1704672345123,", "1704672345123000,")), 3, "looks like microseconds"),
        (original(GOOD, GOOD.replace("333.0", "0.333")), 3, "contradicts the times in its row, which are 333.000 ms"),
        (original(GOOD, GOOD.replace("222.0", "222000")), 3, "backbone_latency_ms 222000 contradicts"),
        (original(GOOD, GOOD.replace("1,", "9" * 25 + ",", 1)), 3, "is not a number"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    file = tmp_path / "r.csv"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_rows(file, "x")
    assert caught.value.line == line
    assert message in str(caught.value)


def test_the_line_is_right_far_into_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text(original(*[GOOD] * 4999, "broken"))
    with pytest.raises(InputError, match=r"r\.csv:5001: 1 fields where the header names 6"):
        load_rows(file, "x")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", original(GOOD).encode("utf-16"), original(GOOD).encode() + b"1,\xff,3,4,5,6\n"],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read: not UTF-8 text .*save it as UTF-8"):
        load_rows(tmp_path / "r.csv", "x")


def test_a_file_whose_name_is_a_pattern_is_that_file_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run[1]*?'"
    folder.mkdir()
    write_rows(tmp_path / "run1.csv", SEED_ROWS, SEED_HEADER)
    assert len(load_rows(write_rows(folder / "r*.csv", SEED_ROWS[:1], SEED_HEADER), "x")["x"]) == 1


def test_quotes_blank_lines_and_the_order_of_columns_make_no_difference(tmp_path: Path) -> None:
    names = [f'"{name}"' for name in reversed(SEED_HEADER.split(","))]
    lines = [",".join(f'"{cell}"' for cell in reversed(row.split(","))) for row in SEED_ROWS]
    series = load_rows(write_rows(tmp_path / "r.csv", [lines[0], "", lines[1]], ",".join(names)), "x")["x"]
    assert series.samples("end_to_end_ms").tolist() == [333.0, 333.0]
    assert series.sequence.tolist() == [1, 2]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80), max_size=6))
def test_whatever_stands_in_a_file_it_is_read_or_refused_with_a_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    file = tmp_path_factory.mktemp("any") / "r.csv"
    file.write_text("\n".join([HEADER, OUR_ROW, *lines]) + "\n", newline="")
    try:
        series = load_rows(file, "x")
    except InputError as error:
        assert error.line is not None  # noqa: PT017 - either outcome is right, each with its own promise
    else:
        assert sum(len(one) for one in series.values()) >= 1


def test_rows_of_a_clock_that_stood_at_1970_are_counted_and_the_file_is_read(tmp_path: Path) -> None:
    marked = (
        "1,1704672345123,5000000000,1704672345456000000,333.0,1704672340456.0,"
        "backbone,btcusdt@trade,7,1704672345123000000,5000100000,kernel,absurd,0"
    )
    lines = [marked, OUR_ROW]
    series = load_rows(write_rows(tmp_path / "r.csv", lines), "x")["backbone"]
    assert series.invalid == {"absurd": 1}
    assert series.samples("backbone_ms").tolist() == [222.0]
    assert series.live.tolist() == [True, True]


def test_the_original_programs_own_column_name_is_known(tmp_path: Path) -> None:
    header = SEED_HEADER.replace("end_to_end_latency_ms", "latency_ms")
    series = load_rows(write_rows(tmp_path / "r.csv", SEED_ROWS, header), "x")["x"]
    assert series.samples("end_to_end_ms").tolist() == [333.0, 333.0]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "r.csv", SEED_ROWS, SEED_HEADER)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(load_rows(file, "x")["x"]) == 2


@pytest.mark.parametrize("header", [SEED_HEADER.upper(), SEED_HEADER.title(), " , ".join(SEED_HEADER.split(","))])
def test_names_of_columns_may_be_in_capitals(tmp_path: Path, header: str) -> None:
    series = load_rows(write_rows(tmp_path / "r.csv", SEED_ROWS, header), "x")["x"]
    assert series.samples("end_to_end_ms").tolist() == [333.0, 333.0]
    assert find_runs(tmp_path) == [tmp_path / "r.csv"]


def test_a_name_in_both_cases_is_a_column_that_stands_twice(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "r.csv", ["1,2,3,4,5,6,7"], SEED_HEADER + ",Tokyo_Time")
    with pytest.raises(InputError, match="column tokyo_time stands twice"):
        load_rows(file, "x")


INT64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
MARKED = st.sampled_from(sorted(set(Validity) - {Validity.OK, Validity.WITHOUT_EVENT_TIME}))


@given(
    st.lists(
        st.builds(
            Row,
            path=NAMES,
            stream=NAMES,
            sequence=INT64,
            event_id=st.none() | st.integers(-(2**70), 2**70),
            event_time_ns=st.none() | INT64,
            forwarder_ns=st.none() | INT64,
            departure_ns=st.none() | INT64,
            arrival_ns=INT64,
            end_to_end_ns=st.none() | INT64,
            backbone_ns=st.none() | INT64,
            stamp=st.sampled_from(StampKind),
            validity=MARKED.map(str),
            delayed=st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_the_wire_brought_is_read_back_and_counted(written: list[Row]) -> None:
    """Times of other hosts, ids and names can be anything: the receiver marks such rows, and they stay readable."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "r.csv"

        async def write() -> None:
            writer = RowWriter(file)
            writer.open()
            for row in written:
                writer.add(row)
            await writer.close()
            assert (writer.written, writer.lost) == (len(written), 0)

        asyncio.run(write())
        series = load_rows(file, "x")
    assert sorted(series) == sorted({row.path for row in written})
    for name, one in series.items():
        mine = [row for row in written if row.path == name]
        assert len(one) == len(mine) == one.delayed + sum(one.invalid.values())
        assert one.sequence.tolist() == [row.sequence for row in mine]
        assert one.arrival_ns.tolist() == [row.arrival_ns for row in mine]
        assert np.isnan(one.end_to_end_ms).all()


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (("\r\n", "\n", "\n"), ":2: it ends otherwise than those before: in LF or in CR LF; save the file with one of"),
        (("\n", "\n", "\r\n"), ":3: it ends otherwise than those before"),
        (("\r", "\r", "\r"), ": its lines end in CR alone; save it with lines that end in LF"),
    ],
)
def test_lines_that_end_in_several_ways_are_told(tmp_path: Path, ends: tuple[str, ...], message: str) -> None:
    """Two files put together, a header that an editor saved, an old spreadsheet."""
    file = tmp_path / "r.csv"
    file.write_bytes(
        "".join(f"{line}{end}" for line, end in zip((SEED_HEADER, *SEED_ROWS), ends, strict=True)).encode()
    )
    with pytest.raises(InputError) as refused:
        load_rows(file, "x")
    assert f"{file}{message}" in str(refused.value)
    mapping = Mapping("x", TimeColumn("frankfurt_time"))
    if set(ends) == {"\r"}:
        # Others' recordings are taken as they come.
        with imported(file, mapping) as connection:
            assert connection.execute("SELECT count(*) FROM rows").fetchone() == (2,)
        return
    with pytest.raises(InputError, match=r"ends otherwise than those before"), imported(file, mapping):
        pass


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_as_everywhere(tmp_path: Path, end: str) -> None:
    file = tmp_path / "r.csv"
    file.write_bytes("".join(f"{line}{end}" for line in ("\ufeff" + SEED_HEADER, *SEED_ROWS)).encode())
    assert load_rows(file, "x")["x"].samples("end_to_end_ms").tolist() == [333.0, 333.0]
