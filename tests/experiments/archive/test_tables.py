import csv
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from daemons.formats.archive.columns import COLUMNS
from experiments.main import main
from tests.experiments.archived import archive_of
from tests.experiments.comparison.pinned_runs import PINNED
from tests.schemas import conforming


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archived")
    archive_of(folder / "archive", PINNED["race"][0](folder))
    return folder / "archive"


def ask(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, ["query", *map(str, arguments)], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def counted(archive: Path) -> dict[tuple[str, str], int]:
    """Count rows by path and validity, in the CSV file that the archive was made of."""
    found: dict[tuple[str, str], int] = {}
    with (archive.parent / "race.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["path"], row["validity"]
            found[key] = found.get(key, 0) + 1
    return found


def test_answers_are_those_of_the_rows_as_json_csv_and_table(archive: Path) -> None:
    question = "SELECT path, validity, count(*) AS events FROM rows GROUP BY ALL ORDER BY ALL"
    expected = [[*key, count] for key, count in sorted(counted(archive).items())]
    told = conforming(ask(archive, question, "--json"), "experiment-query")
    assert told["rows"] == expected
    assert [one["name"] for one in told["columns"]] == ["path", "validity", "events"]
    rows = list(csv.reader(io.StringIO(ask(archive, question, "--csv"))))
    assert rows == [["path", "validity", "events"], *([*map(str, row)] for row in expected)]
    shown = [line.split() for line in ask(archive, question).splitlines()]
    assert [[*map(str, row)] for row in expected] == [line for line in shown if len(line) == 3 and line[2].isdigit()]


def test_the_tables_have_the_columns_that_are_documented(archive: Path) -> None:
    found = conforming(ask(archive, "SELECT * FROM rows LIMIT 1", "--json"), "experiment-query")
    assert [one["name"] for one in found["columns"]] == [column.name for column in COLUMNS]
    files = conforming(ask(archive, "SELECT file, end_ns - start_ns FROM files", "--json"), "experiment-query")["rows"]
    assert sorted(Path(file) for file, _span in files) == sorted(archive.rglob("*.parquet"))
    assert {span for _file, span in files} == {15 * 60 * 10**9}


def test_what_is_chosen_beforehand_is_all_there_is(archive: Path) -> None:
    question = "SELECT DISTINCT path, stream FROM rows"
    assert ask(archive, question, "--csv", "--path", "direct", "--stream", "ethusdt@depth").splitlines() == [
        "path,stream",
        "direct,ethusdt@depth",
    ]
    assert (
        len(conforming(ask(archive, "SELECT * FROM files", "--path", "direct", "--json"), "experiment-query")["rows"])
        == 1
    )
    assert (
        ask(archive, "SELECT count(*) AS n FROM rows", "--csv", "--to", "2025-11-20T00:53:20Z").splitlines()[1] == "0"
    )


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("COPY rows TO '/tmp/rows.csv'", "questions only read"),
        ("CREATE TABLE other AS SELECT 1", "questions only read"),
        ("DROP VIEW rows", "questions only read"),
        ("SELECT 1; SELECT 2", "questions only read"),
        ("", "questions only read"),
        ("SET enable_external_access = true", "questions only read"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Permission Error"),
        ("SELECT * FROM '/etc/passwd'", "error"),
        ("SELECT nothing FROM rows", "nothing"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_a_question_reads_the_archive_and_does_nothing_else(archive: Path, question: str, why: str) -> None:
    result = CliRunner().invoke(main, ["query", str(archive), question])
    assert result.exit_code == 2
    assert why in result.output
    assert "rows and files (docs/archive.md)" in " ".join(result.output.split())


def foreign(file: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), file)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"PAR1"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(file.read_bytes()[:4] + bytes(400) + file.read_bytes()[404:]),
        foreign,
    ],
    ids=["four bytes", "empty", "cut off", "zeros in it", "another table"],
)
@pytest.mark.parametrize("command", ["query", "export", "compare"])
def test_a_file_that_is_none_ends_in_a_sentence_with_its_remedy(
    tmp_path: Path, command: str, spoil: Callable[[Path], object]
) -> None:
    file, *_others = archive_of(tmp_path / "archive", PINNED["race"][0](tmp_path))
    spoil(file)
    arguments = {
        "query": ["SELECT * FROM rows"],
        "export": [str(tmp_path / "rows.csv")],
        "compare": [],
    }[command]
    result = CliRunner().invoke(main, [command, str(tmp_path / "archive"), *arguments], env={"COLUMNS": "200"})
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) <= 5


@pytest.mark.parametrize("names", [("007", "1.0"), ("true", "NULL"), ("2026-11-29", "-0"), ("..", "a=b/c%2e 'x'")])
def test_names_of_paths_are_texts_whatever_they_look_like(tmp_path: Path, names: tuple[str, str]) -> None:
    (source,) = PINNED["race"][0](tmp_path)
    renamed = dict(zip(("backbone", "direct"), names, strict=True))
    with source.open(newline="") as file:
        rows = [{**row, "path": renamed[row["path"]]} for row in csv.DictReader(file)]
    with (tmp_path / "renamed.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    archive_of(tmp_path / "archive", [tmp_path / "renamed.csv"])
    told = list(csv.reader(io.StringIO(ask(tmp_path / "archive", "SELECT DISTINCT path FROM rows", "--csv"))))[1:]
    assert sorted(told) == sorted([name] for name in names)
    for name in names:
        chosen = ask(tmp_path / "archive", "SELECT DISTINCT path FROM rows", "--csv", "--path", name)
        assert list(csv.reader(io.StringIO(chosen)))[1:] == [[name]]
