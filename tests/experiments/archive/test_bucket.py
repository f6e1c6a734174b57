"""Archives in buckets: the same answers as of the folder, and only the files that a question is about are fetched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import boto3
import numpy as np
import pytest
from click.testing import CliRunner, Result

from daemons.formats.archive.layout import MINUTE_NS, start_of
from experiments.archive import bucket as bucket_module
from experiments.main import main
from tests.experiments.archived import archive_of
from tests.experiments.comparison.pinned_runs import PINNED
from tests.experiments.made import START_NS, arrivals, rows, write_rows
from tests.s3_layer import Layer

HOUR_NS = 60 * MINUTE_NS


class There(NamedTuple):
    """An archive, here and in a bucket behind a layer that counts."""

    folder: Path
    url: str
    layer: Layer

    def fetched(self) -> list[str]:
        """Name the files that were asked for since the last time."""
        found = sorted(unquote(path).split("/a b/")[1] for _method, path in self.layer.asked if ".parquet" in path)
        self.layer.asked.clear()
        return found


def uploaded(layer: Layer, folder: Path, name: str, prefix: str = "desk/a b/") -> There:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for file in folder.rglob("*.parquet"):
        s3.upload_file(str(file), name, prefix + file.relative_to(folder).as_posix())
    # What consoles and Hadoop leave in the place of folders.
    for marker in ("", "date=2025-11-20/", "date=2025-11-20/path=direct/", "date=2025-11-20_$folder$"):
        s3.put_object(Bucket=name, Key=prefix + marker, Body=b"")
    s3.put_object(Bucket=name, Key=f"{prefix}date=2025-11-20/note.txt", Body=b"not ours")
    s3.put_object(Bucket=name, Key=f"{prefix}date=yesterday/path=x/0000-0015-aa.parquet", Body=b"not ours")
    s3.put_object(Bucket=name, Key="desk/other/date=2025-11-20/path=x/0000-0015-aa.parquet", Body=b"not ours")
    layer.asked.clear()
    return There(folder, f"s3://{name}/{prefix.rstrip('/')}", layer)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def race(tmp_path: Path, layer: Layer, request: pytest.FixtureRequest) -> There:
    archive_of(tmp_path / "a b", PINNED["race"][0](tmp_path), minutes=1)
    return uploaded(layer, tmp_path / "a b", f"race-{abs(hash(request.node.nodeid)) % 10**9}")


def test_every_command_answers_of_a_bucket_as_of_the_folder(
    tmp_path: Path, race: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "SELECT path, count(*), sum(arrival_ns) FROM rows GROUP BY path ORDER BY path"
    told = [
        (
            invoke("compare", source, "--json").stdout,
            invoke("query", source, question, "--csv").stdout,
        )
        for source in (race.folder, race.url)
    ]
    assert told[0] == told[1]
    assert json.loads(told[1][0])["first"]["source"] == "a b"
    names = sorted(file.relative_to(race.folder).as_posix() for file in race.folder.rglob("*.parquet"))
    assert race.fetched() == sorted(2 * names)
    for source, file in ((race.folder, "here.csv"), (race.url, "there.csv")):
        assert invoke("export", source, tmp_path / file).exit_code == 0
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert invoke("report", race.url).exit_code == 0
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_of_a_month_of_which_an_hour_is_asked_only_its_files_are_fetched(tmp_path: Path, layer: Layer) -> None:
    lines = rows(arrivals(np.full(4 * 24 * 6, 100.0), spacing_ns=10 * MINUTE_NS), path="direct", link=False)
    lines += rows(arrivals(np.full(4 * 24 * 6, 60.0), spacing_ns=10 * MINUTE_NS), path="backbone", link=True)
    archive_of(tmp_path / "a b", [write_rows(tmp_path / "days.csv", lines)], minutes=60)
    days = uploaded(layer, tmp_path / "a b", "days-of-rows")
    hour = start_of(START_NS, HOUR_NS) + 30 * HOUR_NS
    moments = ("--from", "2025-11-21T06:00", "--to", "2025-11-21T07:00")
    assert hour == 1_763_704_800_000_000_000
    for extra, count in (((), 2), (("--path", "backbone"), 1)):
        asked = invoke("query", days.url, "SELECT count(*) AS n FROM rows", "--csv", *moments, *extra)
        assert asked.stdout.split() == ["n", str(6 * count)]
        listed = [unquote(path) for _method, path in layer.asked if "list-type" in path]
        # The days once, and the files of one of them.
        assert len(listed) == 2
        fetched = days.fetched()
        assert len(fetched) == count
        assert all(name.startswith("date=2025-11-21/path=") and "/0600-0700-" in name for name in fetched)


def test_what_cannot_be_fetched_is_said_of_the_bucket(
    race: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source, why in (
        ("s3://no-such-bucket/x", "NoSuchBucket"),
        (f"{race.url}/nothing", "no such rows in the archive; give another prefix, --from, --to or --path"),
        ("s3://X", "'s3://X' is no bucket; write s3://BUCKET or s3://BUCKET/PREFIX"),
        ("s3:/bucket/x", "'s3:/bucket/x' is no bucket"),
    ):
        found = invoke("compare", source)
        assert (found.exit_code, why in found.output) == (2, True), found.output
    bad = next(race.folder.rglob("*.parquet")).relative_to(race.folder).as_posix()
    name = race.url.removeprefix("s3://").partition("/")[0]
    boto3.client("s3").put_object(Bucket=name, Key=f"desk/a b/{bad}", Body=b"spoilt")
    found = invoke("compare", race.url)
    assert found.exit_code == 2
    # The folder in between is nobody's business.
    assert f"{race.url}/{bad}: cannot be read" in found.output.replace("\n", "")
    with monkeypatch.context() as nobody:
        nobody.delenv("AWS_ACCESS_KEY_ID")
        nobody.setenv("AWS_EC2_METADATA_DISABLED", "true")
        assert "Unable to locate credentials" in invoke("compare", race.url).output.replace("\n", " ")
    monkeypatch.setattr(bucket_module.shutil, "disk_usage", lambda _place: shutil._ntuple_diskusage(9, 9, 0))  # type: ignore[attr-defined]
    assert "has room for 0.0 GB; ask for less with --from, --to and --path, or set TMPDIR" in invoke(
        "compare", race.url
    ).output.replace("\n", " ")


def test_what_goes_while_it_is_fetched_is_no_longer_of_the_archive(
    race: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = "SELECT count(*) AS n FROM rows"
    before = int(invoke("query", race.url, counted, "--csv").stdout.split()[1])
    name, _, prefix = race.url.removeprefix("s3://").partition("/")
    listing = bucket_module._objects

    def and_then_removed(number: int | None) -> Callable[..., list[tuple[str, int]]]:
        def listed(*arguments: Any) -> list[tuple[str, int]]:
            found = list(listing(*arguments))
            for relative, _size in found[:number]:
                boto3.client("s3").delete_object(Bucket=name, Key=f"{prefix}/{relative}")
            return found

        return listed

    monkeypatch.setattr(bucket_module, "_objects", and_then_removed(1))
    found = invoke("query", race.url, counted, "--csv")
    assert found.exit_code == 0, found.output
    assert 0 < int(found.stdout.split()[1]) < before
    monkeypatch.setattr(bucket_module, "_objects", and_then_removed(None))
    found = invoke("query", race.url, counted, "--csv")
    assert (found.exit_code, "no finished file" in found.output.replace("\n", " ")) == (2, True), found.output


def test_a_store_that_breaks_off_is_asked_again_or_told(race: There) -> None:
    race.layer.lies = {}
    faults = iter(["fail", "", "fail"])
    race.layer.fault = lambda: next(faults, "")  # type: ignore[method-assign]
    found = invoke("query", race.url, "SELECT count(*) FROM rows", "--csv")
    assert found.exit_code == 0, found.output
