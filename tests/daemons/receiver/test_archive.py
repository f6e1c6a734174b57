"""The archive of whole receivers: killed, on full disks, beside each other."""

import asyncio
import gc
import json
import mmap
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import msgspec
import pytest
import structlog
from moto.server import ThreadedMotoServer

from benchmarks.machine import children_of
from daemons.archiver.session import lock
from daemons.configuration.receiver import ArchiveSection
from daemons.errors import ResultsError
from daemons.formats.summary import ClockSummary
from daemons.receiver import archive as receiving
from daemons.receiver.archive import Archive, archive_setup
from daemons.service.settings.config import LogSection
from tests.daemons.archiver import desk
from tests.daemons.archiver.desk import found
from tests.processes import DEADLINE_SECONDS, Program, running, until
from tests.programs import (
    filled,
    forwarder,
    log_lines,
    mounted,
    port_of,
    receiver,
    scrape,
    settled,
    simulator,
)
from tests.stretches import stretches

pytestmark = pytest.mark.process

ROWS = "latency_receiver_archive_rows_total"
LOST = "latency_receiver_archive_rows_lost_total"


def configuration(folder: Path, near: str, archive: Path, more: str = "") -> Path:
    file = folder / f"receiver-{archive.name}.toml"
    file.write_text(
        f"""
[archive]
folder = "{archive}"
{more}
[[path]]
name = "direct"
kind = "feed"
url = "ws://{near}"
streams = ["btcusdt@trade", "btcusdt@bookTicker"]
[[path]]
name = "back/bone"
kind = "link"
listen = "127.0.0.1:0"
"""
    )
    return file


@contextmanager
def forwarding(near: str, program: Program) -> Iterator[Program]:
    streams = ("--stream", "btcusdt@trade", "--stream", "btcusdt@bookTicker")
    feed = ("--feed-url", f"ws://{near}", *streams)
    with forwarder(*feed, "--destination", f"127.0.0.1:{port_of(program)}") as made:
        yield made


def abandoned(archive: Path) -> bool:
    """Whether no archiver of this folder lives."""
    locks = [lock(file) for file in archive.glob(".open/*/lock")]
    for descriptor in locks:
        if descriptor is not None:
            os.close(descriptor)
    return None not in locks


def archiver_of(program: Program) -> int:
    """Return the process that a receiver has for its archive."""
    children = children_of(program.pid)
    (archiver,) = [pid for pid in children if b"archiver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return archiver


def rows_by_path(archive: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found(archive):
        counts[one.facts.path] = counts.get(one.facts.path, 0) + one.facts.rows
    return counts


def test_every_event_of_a_receiver_is_in_its_files(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with simulator("--rate", "500", "--wait-for-clients", "2", "--stop-after-events", "900") as exchange:
        near = exchange.ready["near"]
        with receiver("--config", str(configuration(tmp_path, near, archive))) as program:
            with forwarding(near, program):
                settled(program, "latency_receiver_events_total", 1800)
                settled(program, ROWS, 1800)
            program.terminate()
    files = found(archive)
    assert rows_by_path(archive) == {"direct": 900, "back/bone": 900}
    assert sum(one.facts.rows_lost or 0 for one in files) == 0
    rows = [row for one in files for row in one.table.to_pylist()]
    pairs: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        pairs.setdefault((row["stream"], row["event_id"]), set()).add(row["path"])
        assert row["kind"] == {"btcusdt@trade": "trade", "btcusdt@bookTicker": "book"}[row["stream"]]
        assert (row["connection"], row["forwarder_ns"] is None) == ((None, True), (1, False))[row["path"] != "direct"]
    assert [paths for paths in pairs.values() if paths != {"direct", "back/bone"}] == []
    assert all(one.facts.clock.source for one in files)
    assert list((archive / ".open").iterdir()) == []


@contextmanager
def observed_by(program: Program) -> Iterator["memoryview[int]"]:
    """Map the page in which a receiver counts the rows of each path: it tells them to the row, also once it is dead."""
    # A mapping holds the file by a descriptor of its own.
    page, *_ = [one for one in Path(f"/proc/{program.pid}/fd").iterdir() if "archive-rows" in str(one.readlink())]
    with (
        page.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as raw,
        raw.cast("Q") as counts,
    ):
        yield counts


def killed_once(tmp_path: Path, archive: Path, rng: random.Random) -> None:
    """Kill a receiver at a random moment, and see what became of each row."""
    before = rows_by_path(archive)
    with simulator("--rate", "2000") as exchange:
        near = exchange.ready["near"]
        with receiver("--config", str(configuration(tmp_path, near, archive))) as program:
            moment = rng.randrange(3000)
            with observed_by(program) as counts:
                until(lambda: counts[0] > moment, "events flow", every_seconds=0.001)
                program.kill()
                observed = counts[0]
    sent = exchange.last_json()["near"]["messages_sent"]
    until(lambda: abandoned(archive), "the archiver has finished")
    with simulator("--wait-for-clients", "9") as exchange:  # noqa: SIM117 the second needs the first
        with receiver("--config", str(configuration(tmp_path, exchange.ready["near"], archive))) as program:
            # Its folder goes when all of it is recovered.
            until(lambda: len([*archive.glob(".open/*")]) == 1, "nothing is left of the one that was killed")
            assert [*archive.glob(".open/*/*.journal")] == []
            written = rows_by_path(archive).get("direct", 0) - before.get("direct", 0)
            # To the row, by the receiver's own count of what it saw; it is told once a second.
            until(
                lambda: written + scrape(program).sum(LOST, path="direct") == observed,
                f"of {observed} rows {written} are written, and the others told lost",
            )
            assert scrape(program).sum("latency_receiver_archive_unknown_ends_total") == 0
    assert observed <= sent
    sessions: dict[str, list[int]] = {}
    for one in found(archive):
        sessions.setdefault(one.facts.session, []).extend(one.table["sequence"].to_pylist())
    assert all(stretches(sorted(numbers)) == [(1, len(numbers))] for numbers in sessions.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_receiver_that_rests_is_killed(tmp_path: Path, seed: int) -> None:
    # What was observed is known from outside, to the row.
    archive = tmp_path / "archive"
    events = 300 + random.Random(seed).randrange(3000)
    with simulator("--rate", "5000", "--wait-for-clients", "1", "--stop-after-events", str(events)) as exchange:
        file = configuration(tmp_path, exchange.ready["near"], archive)
        with receiver("--config", str(file)) as program:
            settled(program, "latency_receiver_events_total", events, every_seconds=0.001)
            program.kill()
    until(lambda: abandoned(archive), "the archiver has finished")
    written = rows_by_path(archive).get("direct", 0)
    unsaid = sum(json.loads(left.read_text())["direct"] for left in archive.glob(".open/*/lost.json"))
    assert written + unsaid == events
    # In the file as well, where there is one.
    assert written == 0 or sum(one.facts.rows_lost or 0 for one in found(archive)) == unsaid


@pytest.mark.parametrize("seed", [1, 2])
def test_a_receiver_is_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    killed_once(tmp_path, tmp_path / "archive", random.Random(seed))


@pytest.mark.exhaustive
def test_a_receiver_is_killed_a_hundred_times(tmp_path: Path) -> None:
    rng = random.Random(7)
    for _ in range(100):
        killed_once(tmp_path, tmp_path / "archive", rng)


def test_a_service_is_killed_whole(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with simulator("--rate", "500", "--wait-for-clients", "1", "--stop-after-events", "300") as exchange:
        file = configuration(tmp_path, exchange.ready["near"], archive)
        with receiver("--config", str(file)) as program:
            settled(program, ROWS, 300)
            # In this order: the archiver would finish at once, and the receiver waits before it starts another.
            os.kill(archiver_of(program), signal.SIGKILL)
            program.kill()
        until(lambda: abandoned(archive), "both are gone")
        assert found(archive) == []
        with receiver("--config", str(file)) as program:
            until(lambda: rows_by_path(archive) == {"direct": 300}, "the next start recovers what was written")
            settled(program, "latency_receiver_archive_unknown_ends_total", 1)
            # The archiver tells once a second, and may do so between its knowing the end and its having the file.
            until(
                lambda: scrape(program).by("latency_receiver_archive_finished_files_total", "how") == {"recovered": 1},
                "the file is told of",
            )
    assert [one.facts.rows_lost for one in found(archive)] == [None]


def test_an_archiver_that_dies_is_started_again(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with simulator("--rate", "300", "--wait-for-clients", "1") as exchange:  # noqa: SIM117 the same
        with receiver("--config", str(configuration(tmp_path, exchange.ready["near"], archive))) as program:
            until(lambda: scrape(program).matching(ROWS, path="direct")[0] > 100, "rows are written")
            os.kill(archiver_of(program), signal.SIGKILL)
            program.wait_for_log("the archiver ended; it is started again")
            until(
                lambda: scrape(program).sum("latency_receiver_archive_finished_files_total", how="recovered") > 0,
                "what it left is recovered",
            )
            exchange.terminate()
            total = exchange.last_json()["near"]["messages_sent"]
            settled(program, "latency_receiver_events_total", total)
            until(lambda: scrape(program).sum(ROWS) + scrape(program).sum(LOST) >= total, "every row is accounted for")
            lost = scrape(program).sum(LOST)
            assert scrape(program).sum("latency_receiver_archive_restarts_total") == 1
            program.terminate()
    until(lambda: abandoned(archive), "the archiver has finished")
    assert rows_by_path(archive)["direct"] + lost == total


# An archiver may outlive its receiver, which waits neither for its end nor, where it ends itself, for its socket's.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_measuring_does_not_wait_for_an_archiver_that_the_machine_has_no_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "OPEN_SECONDS", 0.0)
    setup = archive_setup(ArchiveSection(folder=str(tmp_path / "archive")), ("direct",), LogSection())
    assert setup is not None

    async def measuring() -> None:
        archive = Archive(setup, ClockSummary)
        with structlog.testing.capture_logs() as said:
            await archive.open()
        assert [one["event"] for one in said] == ["the archiver has not begun; measuring does, and rows wait"]
        archive.paths[0].add(desk.row(desk.DAY))
        await archive.close()
        # Another error than slowness is one.
        (tmp_path / "file").touch()
        other = Archive(msgspec.structs.replace(setup, folder=str(tmp_path / "file")), ClockSummary)
        monkeypatch.setattr(receiving, "OPEN_SECONDS", DEADLINE_SECONDS)
        with pytest.raises(ResultsError, match=r"file: .*Not a directory"):
            await other.open()

    asyncio.run(measuring())
    # Now, for other tests take a warning for an error.
    gc.collect()
    until(lambda: rows_by_path(tmp_path / "archive") == {"direct": 1}, "the archiver begins, and finishes")


def test_a_full_disk_costs_rows_of_the_archive_and_nothing_else(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "small", "size=512k") as folder,
        filled(folder, 440 << 10),
        simulator("--rate", "1000", "--wait-for-clients", "1") as exchange,
        receiver("--config", str(configuration(tmp_path, exchange.ready["near"], folder / "archive"))) as program,
    ):
        line = json.loads(program.wait_for_log("the archive cannot be written; measuring goes on"))
        assert line["error"] == "No space left on device"
        until(lambda: scrape(program).sum(LOST, path="direct", reason="disk") > 0, "rows are lost")
        assert scrape(program).sum("latency_receiver_archive_errors_total", operation="journal") > 0
        # However late this comes, there is room for all that came meanwhile.
        subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
        program.wait_for_log("the archive is written again")
        exchange.terminate()
        total = exchange.last_json()["near"]["messages_sent"]
        settled(program, "latency_receiver_events_total", total)
        until(lambda: scrape(program).sum(ROWS) + scrape(program).sum(LOST) == total, "every row is accounted for")
        lost = scrape(program).sum(LOST)
        program.terminate()
        until(lambda: abandoned(folder / "archive"), "the archiver has finished")
        files = found(folder / "archive")
        assert sum(one.facts.rows for one in files) + lost == total
        assert sum(one.facts.rows_lost or 0 for one in files) == lost


def test_two_receivers_write_into_one_folder(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with simulator("--rate", "500", "--wait-for-clients", "2", "--stop-after-events", "300") as exchange:
        file = configuration(tmp_path, exchange.ready["near"], archive)
        with receiver("--config", str(file)) as one, receiver("--config", str(file)) as other:
            for program in (one, other):
                settled(program, ROWS, 300)
    assert rows_by_path(archive) == {"direct": 600}
    assert len({found.facts.session for found in found(archive)}) == 2


def test_finished_files_are_in_the_bucket_after_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, server = tmp_path / "archive", ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", "testing")
        s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=endpoint)
        s3.create_bucket(Bucket="my-archive")
        upload = f'upload = "s3://my-archive/desk"\nupload_endpoint = "{endpoint}"\nupload_region = "us-east-1"'
        with simulator("--rate", "500", "--wait-for-clients", "1", "--stop-after-events", "300") as exchange:
            file = configuration(tmp_path, exchange.ready["near"], archive, upload)
            with receiver("--config", str(file)) as program:
                settled(program, ROWS, 300)
            with receiver("--config", str(file)) as program:
                settled(program, "latency_receiver_archive_uploaded_files_total", 1)
                assert scrape(program).sum("latency_receiver_archive_errors_total") == 0
        (one,) = found(archive)
        (there,) = s3.list_objects_v2(Bucket="my-archive")["Contents"]
        assert there["Key"] == f"desk/{one.relative}"
        body = s3.get_object(Bucket="my-archive", Key=there["Key"])["Body"].read()
        assert body == (archive / one.relative).read_bytes()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("segment_minutes = 7", "archive.segment_minutes: 7 minutes do not divide a day; choose a divisor of 1440"),
        ("retention_days = 0", "retention_days"),
        ("retention_gigabyte = 1", "retention_gigabyte"),
        ('upload = "my-bucket"', "archive.upload: 'my-bucket' is no bucket; write s3://BUCKET or s3://BUCKET/PREFIX"),
        ('upload = "s3://My_Bucket/x"', "archive.upload: 's3://My_Bucket/x' is no bucket"),
        (
            'upload_region = "eu-west-1"',
            "archive.upload: is not given; write s3://BUCKET, or remove",
        ),
        (
            'upload = "s3://my-bucket"\nupload_endpoint = "minio:9000"',
            "upload_endpoint: 'minio:9000' is no URL",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, more: str, error: str) -> None:
    file = configuration(tmp_path, "127.0.0.1:1", tmp_path / "archive", more)
    with running("daemons.receiver.main", "--config", str(file), "--check-config", ready=None, exit_code=2) as program:
        program.wait()
        assert error in program.log


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file")
    file = configuration(tmp_path, "127.0.0.1:1", tmp_path / "archive")
    arguments = ("--config", str(file), "--metrics", "127.0.0.1:0")
    with running("daemons.receiver.main", *arguments, ready=None, exit_code=5) as program:
        program.wait()
        (line,) = log_lines(program, "cannot go on")
        assert line["error"].startswith(f"{tmp_path / 'archive'}: the archive cannot be written: ")
