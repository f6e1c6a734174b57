"""Other recorders' files, as their users describe them, against exact arithmetic that is not the engine's."""

import csv
import gzip
import random
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experiments.main import main
from experiments.results.rows import load_rows

FACTOR = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
EARLIEST_NS, LATEST_NS = 10**18, 2**63 - 1 - 3_600_000_000_000


def take_in(file: Path, *options: str) -> Result:
    output = file.with_name("taken.csv")
    return CliRunner().invoke(main, ["import", str(file), str(output), *options], catch_exceptions=False)


def rows(file: Path) -> list[dict[str, str]]:
    with file.with_name("taken.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def texts_of(ns: int) -> list[str]:
    """Write a time in each way that recorders write it."""
    seconds, rest = divmod(ns, 10**9)
    utc = datetime.fromtimestamp(seconds, UTC)
    east = utc.astimezone(timezone(timedelta(hours=5, minutes=30)))
    numbers = [format(Decimal(ns) / factor, "f") for factor in FACTOR.values()]
    return [
        *numbers,
        f"{utc:%Y-%m-%dT%H:%M:%S}.{rest:09}Z",
        f"{utc:%Y-%m-%d %H:%M:%S}.{rest:09}",
        f"{east:%Y-%m-%dT%H:%M:%S}.{rest:09}+05:30",
    ]


@settings(max_examples=40)
@example([(EARLIEST_NS, 0, random.Random(seed)) for seed in range(40)])
@given(
    st.lists(
        st.tuples(st.integers(EARLIEST_NS, LATEST_NS), st.integers(0, 3_600_000_000_000), st.randoms()), min_size=1
    )
)
def test_times_are_exact_however_they_are_written(drawn: list[tuple[int, int, object]]) -> None:
    expected = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "recorded.csv")
        with file.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(["Timestamp", "LOCAL_TIMESTAMP", "id"])
            for number, (event_ns, took_ns, chance) in enumerate(drawn, 1):
                assert hasattr(chance, "choice")
                writer.writerow(
                    [chance.choice(texts_of(event_ns)), chance.choice(texts_of(event_ns + took_ns)), number]
                )
                expected.append((str(event_ns + took_ns), str(event_ns), str(number)))
        done = take_in(
            file, "--arrival", "local_timestamp", "--event-time", "timestamp", "--event-id", "ID", "--stream", "x@trade"
        )
        assert done.exit_code == 0, done.output
        found = [(row["frankfurt_time"], row["event_time_ns"], row["event_id"]) for row in rows(file)]
        assert sorted(found) == sorted(expected)
        assert [int(row[0]) for row in found] == sorted(int(row[0]) for row in expected)
        # What we write we can read.
        assert len(load_rows(file.with_name("taken.csv"), "x")["recorded"]) == len(drawn)


@pytest.mark.parametrize("unit", FACTOR)
def test_a_named_unit_is_believed(tmp_path: Path, unit: str) -> None:
    file = tmp_path / "r.csv"
    ns = 1_735_689_600_123_456_789
    file.write_text(f"recv\n{format(Decimal(ns) / FACTOR[unit], 'f')}\n")
    assert take_in(file, "--arrival", f"recv:{unit}").exit_code == 0
    assert rows(file)[0]["frankfurt_time"] == str(ns)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", b"\xef\xbb\xbfRECV,ID\r\n1735689600.5,1\r\n"),
        ("semicolons.csv", b"recv;id\n1735689600,5;1\n"),
        ("tabs.csv", b"recv\tid\n1735689600.5\t1\n"),
        ("quoted.csv", b'"recv","id"\n"1735689600.5","1"\n'),
        ("packed.csv.gz", gzip.compress(b"recv,id\n1735689600.5,1\n", mtime=0)),
    ],
)
def test_files_are_read_as_programs_and_spreadsheets_save_them(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    done = take_in(file, "--arrival", "recv", "--event-id", "id")
    assert done.exit_code == 0, done.output
    (row,) = rows(file)
    assert (row["frankfurt_time"], row["event_id"], row["validity"]) == (
        "1735689600500000000",
        "1",
        "without_event_time",
    )
    assert row["path"] == name.partition(".")[0]


def test_events_ahead_of_the_recorder_s_clock_are_marked_not_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("t,recv\n1735689600.5,1735689600.4\n1735689600,1735689600.25\n1735689600,1735693200.1\n")
    assert take_in(file, "--arrival", "recv", "--event-time", "t").exit_code == 0
    assert [(row["validity"], row["end_to_end_latency_ms"]) for row in rows(file)] == [
        ("ok", "250.000000"),
        ("negative", ""),
        ("absurd", ""),
    ]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"t,recv\n1,x\n", ["--arrival", "recv"], "r.csv:2: recv 'x' is no epoch time in s, ms, us or ns"),
        (b"t,recv\n1,1735689600\n1,\n", ["--arrival", "recv"], "r.csv:3: recv '' is no epoch time"),
        (b"recv\n1735689600\n", ["--arrival", "recv:ms"], "recv '1735689600' is no epoch time in ms"),
        (b"recv\n1735689600\n", ["--arrival", "recv:h"], "'h' is no unit; write COLUMN:UNIT with one of s, ms, us, ns"),
        (b"recv\n1735689600\n", ["--arrival", "time"], "r.csv:1: no column 'time'; there are recv"),
        (b"recv,Recv\n1,2\n", ["--arrival", "recv"], "column recv stands twice"),
        (b"recv,id\n1735689600,1.5\n", ["--arrival", "recv", "--event-id", "id"], "id '1.5' is no whole number"),
        # What a spreadsheet leaves of long numbers, a number beyond 64 bits, a byte that ends texts in C.
        (b"recv,id\n1735689600,1.7E+18\n", ["--arrival", "recv", "--event-id", "id"], "; name another column, or mend"),
        (b"recv,id\n1735689600,9223372036854775808\n", ["--arrival", "recv", "--event-id", "id"], "number below 2^63"),
        (b"recv\n1.70467E+12\n", ["--arrival", "recv"], "'1.70467E+12' is no epoch time"),
        (b"recv\n17356\x0089600\n", ["--arrival", "recv"], "is no epoch time"),
        (b"recv,id\n1735689600,1,2\n", ["--arrival", "recv"], "not CSV of 2 columns"),
        (b"\xff\xfer\x00e\x00\n\x00", ["--arrival", "re"], "not UTF-8 text"),
        (b"", ["--arrival", "recv"], "no header"),
        (b"recv\n", ["--arrival", "recv"], "no rows"),
        (b"recv\n1\n", [], "name OUTPUT, and the column of arrivals"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_row(
    tmp_path: Path, content: bytes, options: list[str], message: str
) -> None:
    file = tmp_path / "r.csv"
    file.write_bytes(content)
    done = take_in(file, *options)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not file.with_name("taken.csv").exists()


def test_two_recorders_of_the_same_events_can_be_compared(tmp_path: Path) -> None:
    for name, delay_ns in (("near", 5_000_000), ("far", 9_000_000)):
        starts = [1_735_689_600_000 + number * 10 for number in range(400)]
        lines = [f"{start_ms},{start_ms * 1_000_000 + delay_ns + start_ms % 7}" for start_ms in starts]
        file = tmp_path / f"{name}.csv"
        file.write_text("\n".join(["T,R", *lines]) + "\n")
        assert take_in(file, "--arrival", "r", "--event-time", "t").exit_code == 0
        file.with_name("taken.csv").rename(tmp_path / f"{name}-run.csv")
    told = CliRunner().invoke(
        main, ["compare", str(tmp_path / "near-run.csv"), str(tmp_path / "far-run.csv"), "--json"]
    )
    assert '"difference": 4.0' in told.stdout
