"""What docs/archive.md says to ask of other engines, asked of one that is not ours, of files that an archiver wrote."""

import csv
import io
import random
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import sqlglot
from click.testing import CliRunner

from daemons.formats.archive.columns import COLUMNS
from experiments.main import main
from tests.daemons.archiver.desk import DAY, Desk, row

_DOCUMENT = Path(__file__).parents[3] / "docs" / "archive.md"
_EVENTS = 500
# A process of its own: its allocator and those of the other engines need not get along.
_ASK = """
import sys
from chdb.session import Session
session = Session(sys.argv[1])
for question in sys.stdin.read().split(";"):
    sys.stdout.write(str(session.query(question, "CSVWithNames")))
"""


def questions(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def written(folder: Path) -> dict[str, dict[int, int]]:
    """Write an archive of two paths; give the arrival of each event on each."""
    desk, chance = Desk(folder, "direct", "backbone"), random.Random(1)
    arrived: dict[str, dict[int, int]] = {"direct": {}, "backbone": {}}
    for number in range(1, _EVENTS + 1):
        event_ns = DAY + number * 5_000_000_000
        for path, delay_ns in (("direct", 215_000_000), ("backbone", 100_000_000)):
            arrival_ns = event_ns + delay_ns + chance.randrange(9_000_000)
            took_ns = arrival_ns - event_ns
            desk.give(row(arrival_ns, number, path, event_id=number, event_time_ns=event_ns, end_to_end_ns=took_ns))
            arrived[path][number] = arrival_ns
    desk.end()
    return arrived


def test_arrow_s_own_ways_to_open_a_folder_read_every_row(tmp_path: Path) -> None:
    written(tmp_path)
    assert pq.read_table(tmp_path).num_rows == 2 * _EVENTS
    table = ds.dataset(tmp_path, format="parquet").to_table()
    assert (table.num_rows, table.column_names) == (2 * _EVENTS, [column.name for column in COLUMNS])


@pytest.mark.process
def test_clickhouse_reads_the_archive_and_agrees_with_what_was_written(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    arrived = written(archive)
    asked = ";".join(questions("clickhouse")).replace("/var/lib/latency/archive", str(archive))
    command = [sys.executable, "-c", _ASK, str(tmp_path / "clickhouse")]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    rows = [line for line in csv.reader(io.StringIO(done.stdout)) if line]
    assert len(rows) == 5, done.stdout
    # Its exact quantile is an element: of an even number the upper one of the middle two.
    medians = {
        path: statistics.median_high(ns - DAY - number * 5_000_000_000 for number, ns in its.items()) / 1e6
        for path, its in arrived.items()
    }
    assert rows[0] == ["path", "events", "median_ms"]
    assert [(name, int(count)) for name, count, _median in rows[1:3]] == [("backbone", _EVENTS), ("direct", _EVENTS)]
    for name, _count, median in rows[1:3]:
        assert float(median) == pytest.approx(medians[name])
    leads = [arrived["direct"][number] - arrived["backbone"][number] for number in arrived["direct"]]
    assert rows[4] == ["backbone", rows[4][1]]
    assert float(rows[4][1]) == pytest.approx(statistics.median_high(leads) / 1e6)


def test_a_query_of_ours_agrees_too(tmp_path: Path) -> None:
    arrived = written(tmp_path / "archive")
    asked = (
        "SELECT median(a.arrival_ns - b.arrival_ns) / 1e6 AS lead_ms FROM rows a JOIN rows b USING (stream, event_id) "
        "WHERE a.path = 'direct' AND b.path = 'backbone'"
    )
    result = CliRunner().invoke(main, ["query", str(tmp_path / "archive"), asked, "--csv"], catch_exceptions=False)
    leads = [arrived["direct"][number] - arrived["backbone"][number] for number in arrived["direct"]]
    assert float(result.stdout.splitlines()[1]) == pytest.approx(statistics.median(leads) / 1e6)


def test_what_cannot_be_run_here_is_at_least_a_sentence_of_its_language() -> None:
    for language, count in {"athena": 2, "trino": 1, "spark": 2, "clickhouse": 3}.items():
        found = questions(language)
        assert len(found) == count
        for question in found:
            # What the parser does not know it would take for a command, whose words mean nothing to it.
            (parsed,) = sqlglot.parse(question, read=language, error_level=sqlglot.ErrorLevel.RAISE)
            assert isinstance(parsed, sqlglot.exp.Create | sqlglot.exp.Select)
            assert not list(parsed.find_all(sqlglot.exp.Command))


@pytest.mark.parametrize("question", ["SELECT path FROM", "SELECT a b c FROM rows", "CREATE TABLE rows (path string,"])
def test_the_parser_refuses_what_is_none(question: str) -> None:
    with pytest.raises(sqlglot.ParseError):
        sqlglot.parse(question, read="athena", error_level=sqlglot.ErrorLevel.RAISE)


@pytest.mark.parametrize(("language", "partitions"), [("athena", []), ("trino", ["date", "path_folder"])])
def test_tables_for_other_engines_have_the_archive_s_columns(language: str, partitions: list[str]) -> None:
    definition = sqlglot.parse_one(questions(language)[0], read=language)
    types = {"name": {"TEXT", "VARCHAR"}, "int64": {"BIGINT"}, "int32": {"INT"}, "bool": {"BOOLEAN"}}
    found = [(one.name, str(one.kind)) for one in definition.this.expressions if isinstance(one, sqlglot.exp.ColumnDef)]
    assert [name for name, _kind in found] == [*(column.name for column in COLUMNS), *partitions]
    for (_name, kind), column in zip(found, COLUMNS, strict=False):
        assert kind in types[column.kind]
