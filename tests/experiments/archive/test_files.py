"""What two receivers wrote at once is not taken for what one wrote; what one wrote in two lives is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from daemons.formats.archive.layout import MINUTE_NS, SegmentName
from experiments.archive import files, selection
from experiments.archive.files import chosen
from experiments.archive.reading import batches_of
from experiments.archive.selection import Selection, segments_of
from experiments.errors import InputError
from experiments.main import main
from experiments.results.run import load_run
from tests.experiments.archived import archive_of
from tests.experiments.made import arrivals, rows, write_rows

EVENTS = 3000


def lines(path: str = "x", *, link: bool = True) -> list[str]:
    """50 minutes of a path."""
    return rows(arrivals(np.full(EVENTS, 100.0), spacing_ns=MINUTE_NS // 60), path=path, link=link)


def written(folder: Path, part: list[str], session: str, host: str = "here") -> None:
    archive_of(folder / "archive", [write_rows(folder / f"{session}.csv", part)], session=session, host=host)


@pytest.mark.parametrize("hosts", [("here", "here"), ("here", "there")])
@pytest.mark.parametrize("second", [slice(0, EVENTS), slice(1000, 1300), slice(2500, EVENTS)])
def test_two_receivers_of_one_path_are_told(tmp_path: Path, hosts: tuple[str, str], second: slice) -> None:
    written(tmp_path, lines(), "aa", hosts[0])
    written(tmp_path, lines()[second], "bb", hosts[1])
    with pytest.raises(InputError, match=r"two receivers wrote path 'x' at once, .*choose one with --receiver") as told:
        load_run(tmp_path / "archive")
    assert all(name in str(told.value) for name in (("aa of", "bb of") if hosts[0] == hosts[1] else hosts))
    asked = CliRunner().invoke(main, ["query", str(tmp_path / "archive"), "SELECT 1 FROM rows"])
    assert (asked.exit_code, "two receivers wrote" in asked.output) == (2, True)
    for receivers, found in {
        ("aa",): EVENTS,
        ("bb",): len(lines()[second]),
        (hosts[1],): EVENTS if hosts[0] == hosts[1] else len(lines()[second]),
    }.items():
        if hosts[0] != hosts[1] or receivers != (hosts[1],):
            run = load_run(tmp_path / "archive", selection=Selection(receivers=receivers))
            assert len(run.series["x"]) == found


def test_what_retention_removes_meanwhile_is_no_longer_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, lines(), "aa")
    everything = chosen(tmp_path / "archive", Selection())

    def and_then_removed(*arguments: Any) -> list[tuple[SegmentName, Path]]:
        found = segments_of(*arguments)
        found[0][1].unlink(missing_ok=True)
        return found

    monkeypatch.setattr(files, "segments_of", and_then_removed)
    assert chosen(tmp_path / "archive", Selection()) == everything[1:]
    # Later than that it is too late to do without.
    with pytest.raises(InputError, match=r"was removed while it was to be read, as .*; ask again, or with a later --f"):
        list(batches_of(everything[0].file, ["arrival_ns"]))


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, lines(), "aa")

    def closed(*_arguments: Any) -> list[tuple[SegmentName, Path]]:
        raise PermissionError(13, "Permission denied", str(tmp_path / "archive/date=2025-11-20"))

    # Who runs this as root may read everything.
    monkeypatch.setattr(selection, "finished", closed)
    with pytest.raises(InputError, match=r"date=2025-11-20: cannot be listed: Permission denied; ask as a user who"):
        load_run(tmp_path / "archive")


def test_of_other_paths_and_times_two_receivers_are_read_as_one_archive(tmp_path: Path) -> None:
    written(tmp_path, lines("x"), "aa")
    written(tmp_path, lines("y"), "bb", "there")
    written(tmp_path, lines("z")[:1000], "cc")
    written(tmp_path, lines("z")[2000:], "dd", "there")
    assert {name: len(one) for name, one in load_run(tmp_path / "archive").series.items()} == {
        "x": EVENTS,
        "y": EVENTS,
        "z": 2000,
    }


def test_a_clock_set_back_while_a_receiver_was_restarted_makes_no_second_receiver(tmp_path: Path) -> None:
    later = [line.split(",") for line in lines()[1500:]]
    for cells in later:
        # Ten minutes of 1,000 other events, by a clock that tells them again.
        cells[3] = str(int(cells[3]) - 10 * MINUTE_NS)
        cells[4:6] = "", ""
    written(tmp_path, lines()[:1500], "aa")
    written(tmp_path, [",".join(cells) for cells in later], "bb")
    assert len(load_run(tmp_path / "archive").series["x"]) == EVENTS


@pytest.mark.parametrize("sessions", [("aa", "bb"), ("bb", "aa")])
def test_lives_within_one_span_are_runs_in_order_of_time_whatever_their_names(
    tmp_path: Path, sessions: tuple[str, str]
) -> None:
    for session, part in zip(sessions, (lines()[:100], lines()[200:300]), strict=True):
        written(tmp_path, part, session)
    series = load_run(tmp_path / "archive").series["x"]
    assert series.parts == (0, 100)
    assert (np.diff(series.arrival_ns) > 0).all()


def test_a_receiver_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    written(tmp_path, lines(), "aa")
    with pytest.raises(InputError, match=r"no file of zz; --receiver takes aa of here"):
        chosen(tmp_path / "archive", Selection(receivers=("zz",)))
    with pytest.raises(InputError, match="is no archive: it does not say which receiver wrote a row; omit --receiver"):
        load_run(tmp_path / "aa.csv", selection=Selection(receivers=("aa",)))
