"""From the receiver's hand to finished files: nothing twice, nothing missing unsaid."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemons.archiver.confirmations import Confirmations
from daemons.archiver.intake import GRACE_SECONDS, worse
from daemons.archiver.retention import FileAge
from daemons.archiver.stored import stored
from daemons.formats.archive.layout import DAY_NS, MINUTE_NS
from daemons.formats.rows import Row
from daemons.formats.summary import ClockSummary
from daemons.reasons import ArchiveReason
from daemons.receiver import archive
from daemons.records import StampKind, Validity
from tests.daemons.archiver.desk import DAY, Desk, found, row, table_of

SPAN = 15 * MINUTE_NS
numbers = st.none() | st.integers(-(2**65), 2**65)
any_row = st.builds(
    Row,
    path=st.just("direct"),
    stream=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    sequence=st.integers(0, 2**64 - 1),
    event_id=numbers,
    event_time_ns=numbers,
    forwarder_ns=numbers,
    departure_ns=numbers,
    arrival_ns=st.integers(DAY, DAY + 2 * SPAN - 1),
    end_to_end_ns=numbers,
    backbone_ns=numbers,
    stamp=st.sampled_from(StampKind),
    validity=st.sampled_from(Validity),
    delayed=st.booleans(),
    kind=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    connection=st.none() | st.integers(0, 1000),
    cause=st.none() | st.sampled_from(["network", "clock"]),
    tcp_rtt_ns=numbers,
    tcp_retransmitted=numbers,
    tcp_out_of_order=numbers,
)


def seen(one: Row) -> dict[str, Any]:
    """What of a row can be in a file: numbers of 64 bits with a sign."""
    values = {name: getattr(one, name) for name in one.__struct_fields__}
    kept = {
        name: None if type(value) is int and not -(2**63) <= value < 2**63 else value for name, value in values.items()
    }
    return {**kept, "stamp": one.stamp.name.lower(), "validity": str(one.validity)}


@given(rows=st.lists(any_row, min_size=1, max_size=8))
@example(rows=[row(DAY), msgspec.structs.replace(row(DAY), event_id=-(2**63))])
@example(
    rows=[
        row(DAY),
        msgspec.structs.replace(row(DAY), event_id=-(2**63)),
        msgspec.structs.replace(row(DAY), event_id=2**63),
    ]
)
def test_whatever_the_wire_brings_is_read_as_it_came(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    folder = tmp_path_factory.mktemp("archive")
    desk = Desk(folder)
    desk.give(*rows)
    desk.end()
    desk.kill()
    read = table_of(folder).to_pylist()
    expected = sorted(map(seen, rows), key=lambda one: one["arrival_ns"])
    assert sorted(map(repr, read)) == sorted(repr({name: one[name] for name in read[0]}) for one in expected)


def test_spans_and_midnight_make_files(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "direct", "back/bone")
    arrivals = [DAY - 1, DAY, DAY + SPAN - 1, DAY + SPAN]
    desk.give(*(row(at, path=path) for at in arrivals for path in desk.setup.paths))
    desk.end()
    names = [one.relative for one in found(tmp_path)]
    assert [name.rpartition("-")[0].split("/", 1)[1] for name in names] == [
        f"path={path}/{times}" for times in ("2345-2400",) for path in ("back%2Fbone", "direct")
    ] + [f"path={path}/{times}" for path in ("back%2Fbone", "direct") for times in ("0000-0015", "0015-0030")]
    assert desk.report.files == {"finished": 6, "recovered": 0}
    assert list((tmp_path / ".open").glob("*/*.journal")) == []


def test_a_file_is_finished_when_its_time_is_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.give(row(DAY + 1))
    desk.intake.tend(DAY + SPAN - 1)
    desk.keeper.work()
    assert found(tmp_path) == []
    desk.seconds += GRACE_SECONDS
    desk.intake.tend(DAY + SPAN)
    desk.keeper.work()
    assert [one.facts.rows for one in found(tmp_path)] == [1]


def test_a_clock_that_is_set_back_makes_another_file_of_the_same_span(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for at in (DAY + 1, DAY + SPAN + 5, DAY + 2, DAY + SPAN + 6):
        desk.give(row(at))
        desk.seconds += GRACE_SECONDS
        # By a clock that has gone on: each span is over when the next row comes.
        desk.intake.tend(DAY + DAY_NS)
        desk.keeper.work()
    names = [one.relative.rpartition("/")[2] for one in found(tmp_path)]
    assert names == [
        "0000-0015-000000000001-2.parquet",
        "0000-0015-000000000001.parquet",
        "0015-0030-000000000001-2.parquet",
        "0015-0030-000000000001.parquet",
    ]
    assert table_of(tmp_path).num_rows == 4


def test_a_full_disk_costs_rows_which_are_counted_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    desk.give(row(DAY + 1))
    write = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        # Half of it still fits.
        write(descriptor, data[: len(data) // 2], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    desk.give(row(DAY + 2), row(DAY + 3))
    desk.give(row(DAY + SPAN))
    monkeypatch.undo()
    desk.give(row(DAY + 4))
    desk.end()
    (file,) = found(tmp_path)
    assert (file.facts.rows, file.facts.rows_lost) == (2, 3)
    assert desk.report.lost["direct"] == {"waiting": 0, "disk": 3, "killed": 0}
    assert desk.report.rows == {"direct": 2}
    assert desk.report.errors["journal"] == 2


def test_a_disk_full_when_a_file_is_finished_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    desk.give(row(DAY + 1))
    sync = os.fsync

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    desk.end()
    assert found(tmp_path) == []
    assert desk.report.errors["finish"] == 1
    assert not desk.session.scratch.exists()
    monkeypatch.setattr(os, "fsync", sync)
    desk.keeper.work()
    assert [one.facts.rows for one in found(tmp_path)] == [1]


def test_rows_are_to_be_handed_over_before_they_are_many() -> None:
    asked: list[int] = []
    observed = memoryview(bytearray(8)).cast("Q")
    rows = archive.PathRows(observed, 0, lambda: asked.append(rows.observed))
    sizes: list[int] = []
    number = 0
    while len(asked) < 3:
        rows.add(row(DAY + number))
        number += 1
        if len(asked) > len(sizes):
            sizes.append(len(rows.frame()[1]))
            assert not rows.waiting
    assert all(archive.PORTION_BYTES <= size < archive.PORTION_BYTES + 1000 for size in sizes)
    # Who cannot take them now is not asked again for each row.
    for more in range(3 * asked[0]):
        rows.add(row(DAY + number + more))
    assert len(asked) == 4
    assert len(rows.frame()[1]) > 2 * archive.PORTION_BYTES


def test_rows_that_wait_too_long_are_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PORTION_BYTES", 300)
    monkeypatch.setattr(archive, "MAX_WAITING_BYTES", 300)
    desk = Desk(tmp_path)
    for number in range(10):
        desk.paths[0].add(row(DAY + number, number))
    desk.hand_over()
    desk.give(row(DAY + 10, 10))
    desk.end()
    (file,) = found(tmp_path)
    kept = file.table["sequence"].to_pylist()
    assert kept[-1] == 10
    assert kept[:-1] == list(range(len(kept) - 1))
    assert file.facts.rows_lost == desk.report.lost["direct"][ArchiveReason.WAITING] == 11 - len(kept) > 0


def test_a_receiver_that_is_killed_loses_what_it_had_not_handed_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.give(*(row(DAY + at) for at in range(5)))
    desk.paths[0].add(row(DAY + 5))
    desk.paths[0].add(row(DAY + 6))
    lost = desk.end(goodbye=False)
    assert lost == {"direct": 2}
    desk.session.keep(lost)
    desk.kill()
    (file,) = found(tmp_path)
    assert (file.facts.rows, file.facts.rows_lost) == (5, 2)
    # The next start tells of it, once.
    desk.begin()
    desk.keeper.recover()
    desk.keeper.recover()
    assert desk.report.lost["direct"][ArchiveReason.KILLED] == 2
    assert desk.report.unknown_ends == 0


def test_an_archiver_that_is_killed_with_its_receiver_leaves_journals(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.give(*(row(DAY + at) for at in range(5)))
    desk.kill()
    desk.begin()
    desk.keeper.recover()
    (file,) = found(tmp_path)
    assert (file.facts.rows, file.facts.rows_lost, file.facts.recovered) == (5, None, True)
    assert file.facts.session == "000000000001"
    assert desk.report.files == {"finished": 0, "recovered": 1}
    assert desk.report.unknown_ends == 1


def test_an_archiver_that_dies_alone_is_followed_by_one_that_knows_what_is_missing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "direct", "backbone")
    desk.give(*(row(DAY + at, path=path) for at in range(5) for path in desk.setup.paths))
    for _ in range(3):
        desk.paths[0].add(row(DAY + 9))
    desk.paths[0].frame()
    desk.kill()

    desk.setup = msgspec.structs.replace(desk.setup, observed=(8, 5), told=(2, 5), previous=desk.session.name)
    desk.begin()
    desk.keeper.recover()
    desk.keeper.recover()
    desk.give(row(DAY + 10))
    desk.end()
    assert {one.relative.split("/")[1]: one.facts.rows_lost for one in found(tmp_path) if one.facts.recovered} == {
        "path=direct": 3,
        "path=backbone": 0,
    }
    assert desk.report.lost["direct"][ArchiveReason.KILLED] == 3
    assert desk.report.lost["backbone"][ArchiveReason.KILLED] == 0
    assert table_of(tmp_path).num_rows == 11
    assert desk.report.unknown_ends == 0
    # Three of the five were not told of before it died; one has come since.
    assert desk.report.rows == {"direct": 4, "backbone": 0}


def test_two_receivers_write_into_one_folder(tmp_path: Path) -> None:
    one = Desk(tmp_path)
    other = Desk.__new__(Desk)
    other.__dict__.update(one.__dict__)
    other._lives = 100
    other.observed = memoryview(bytearray(8)).cast("Q")
    other.paths = [archive.PathRows(other.observed, 0, lambda: None)]
    other.begin()
    one.give(row(DAY + 1))
    other.give(row(DAY + 2))
    # A session that lives is nobody else's.
    one.keeper.recover()
    other.keeper.recover()
    assert found(tmp_path) == []
    one.end()
    other.end()
    assert sorted(table_of(tmp_path)["arrival_ns"].to_pylist()) == [DAY + 1, DAY + 2]
    assert len(found(tmp_path)) == 2


def test_files_go_by_age_and_size_the_oldest_first(tmp_path: Path) -> None:
    desk = Desk(tmp_path, retention_ns=2 * DAY_NS)
    for day in range(4):
        desk.give(row(DAY + day * DAY_NS))
    desk.end()
    size = (tmp_path / found(tmp_path)[0].relative).stat().st_size
    desk.wall_ns = DAY + 3 * DAY_NS
    desk.keeper.tend()
    assert [one.facts.first_arrival_ns - DAY for one in found(tmp_path)] == [DAY_NS, 2 * DAY_NS, 3 * DAY_NS]
    assert desk.report.removed == {"age": 1, "size": 0}
    assert (desk.report.stock_files, desk.report.oldest_ns) == (3, DAY + DAY_NS)
    desk.kill()
    # The lock on the bounds goes with its process; here it is let go of by hand.
    (tmp_path / ".keeper").unlink()

    desk.setup = msgspec.structs.replace(desk.setup, retention_ns=None, retention_bytes=int(2.5 * size))
    desk.confirmed = Confirmations(tmp_path, "s3://bucket/")
    for one in stored(tmp_path)[1:]:
        desk.confirmed.add(one, "proven")
    desk.begin()
    desk.keeper.tend()
    # What may not go yet does not keep the next from going.
    assert [one.facts.first_arrival_ns - DAY for one in found(tmp_path)] == [DAY_NS, 3 * DAY_NS]
    assert desk.report.removed == {"age": 0, "size": 1}
    assert len(list(tmp_path.glob(".uploaded/*/*/*.json"))) == 1
    # To somewhere else nothing has been copied yet.
    assert not any(Confirmations(tmp_path, "s3://other/").has(one) for one in stored(tmp_path))


def test_a_clock_set_forward_by_mistake_removes_nothing(tmp_path: Path) -> None:
    wall, steady = [DAY], [5]
    age = FileAge(lambda: wall[0], lambda: steady[0])
    wall[0] += 400 * DAY_NS
    steady[0] += 7
    assert age.now_ns() == DAY + 7
    age.synchronized = True
    assert age.now_ns() == wall[0]
    wall[0] = 0
    age.synchronized = False
    assert age.now_ns() == 0


def test_a_file_tells_the_worst_of_the_clock(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.intake.hear(ClockSummary(synchronized=True, offset_ms=0.1, error_bound_ms=0.5, source="chrony"))
    desk.give(row(DAY))
    desk.intake.hear(ClockSummary(synchronized=True, offset_ms=-0.3, error_bound_ms=0.4, source="chrony", steps=1))
    desk.end()
    (file,) = found(tmp_path)
    assert file.facts.clock == ClockSummary(
        synchronized=True, offset_ms=-0.3, error_bound_ms=0.5, source="chrony", steps=1
    )
    unknown = ClockSummary(synchronized=False, source="none")
    assert worse(file.facts.clock, unknown).error_bound_ms is None
    assert worse(unknown, file.facts.clock).synchronized is False


@pytest.mark.parametrize("seed", range(6))
def test_at_every_kill_rows_in_files_and_rows_told_lost_are_rows_observed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    desk = Desk(tmp_path, "direct", "back/bone")
    told = dict.fromkeys(desk.setup.paths, 0)
    at = DAY
    for _life in range(6):
        for _ in range(rng.randrange(30)):
            at += rng.choice([1, 1, 1, SPAN // 3])
            desk.paths[rng.randrange(2)].add(row(at, path=desk.setup.paths[0]))
            if rng.random() < 0.3:
                desk.hand_over()
            if rng.random() < 0.1:
                desk.seconds += GRACE_SECONDS
                desk.intake.tend(at)
                desk.keeper.work()
        # The receiver is killed; the archiver ends by itself.
        lost = desk.end(goodbye=False)
        desk.session.keep(lost)
        desk.kill()
        for name, count in lost.items():
            told[name] += count
        desk.begin()
        desk.keeper.recover()
        assert {name: desk.report.lost[name][ArchiveReason.KILLED] for name in lost} == lost
        desk.intake.end()
        observed = dict(zip(desk.setup.paths, desk.observed, strict=True))
        rows = {name: sum(one.facts.rows for one in found(tmp_path) if one.facts.path == name) for name in observed}
        assert {name: rows[name] + told[name] for name in observed} == observed
        # The next life of a receiver counts on from here, in this test alone.

        desk.setup = msgspec.structs.replace(desk.setup, observed=tuple(desk.observed))
        desk.paths = [archive.PathRows(desk.observed, index, lambda: None) for index in range(2)]
        desk.session.remove()
        desk.begin()


def test_a_journal_that_cannot_be_made_costs_rows_not_the_archiver(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.session.remove()
    desk.give(row(DAY))
    assert desk.report.lost["direct"][ArchiveReason.DISK] == 1


def test_an_archiver_does_not_inherit_its_receivers_place_before_others() -> None:
    # Of a policy that anybody may ask for: a real-time one is handed on alike, and takes root to ask for.
    program = """
import os
from daemons.archiver.work import NICENESS, step_aside
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
before = os.nice(0)
step_aside()
print(os.sched_getscheduler(0) == os.SCHED_OTHER, os.nice(0) == min(19, before + NICENESS))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"]
