import os
import random
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemons.formats.archive.finished import finished
from daemons.formats.archive.layout import DAY_NS, MINUTE_NS, SegmentName, escaped

START_NS = 20_000 * DAY_NS
PATHS = ("direct", "back/bone", "date=x")
DAYS = 3


def archive(folder: Path) -> set[str]:
    """Make an archive of empty files, and what else may lie in its folder."""
    names = set()
    for day in range(DAYS):
        for path in PATHS:
            for quarter in range(2):
                start_ns = START_NS + day * DAY_NS + quarter * 15 * MINUTE_NS
                name = SegmentName(escaped(path), start_ns, start_ns + 15 * MINUTE_NS, "aa").relative
                names.add(name)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()
    first = folder / min(names)
    first.with_suffix(".tmp").touch()
    (first.parent / "notes.parquet").touch()
    (folder / "date=2024-01-01").touch()
    (first.parents[1] / "path=file").touch()
    (folder / "date=2024-01-02").symlink_to("nowhere")
    (folder / ".open" / "date=2024-10-04").mkdir(parents=True)
    return names


def listed(folder: Path) -> set[str]:
    found = list(finished(folder))
    assert all(file == folder / name.relative for name, file in found)
    return {name.relative for name, _file in found}


def test_the_files_with_a_segments_name_are_listed(tmp_path: Path) -> None:
    assert listed(tmp_path) == set()
    assert listed(tmp_path / "absent") == set()
    assert listed(tmp_path / "a [b]*") == set()
    names = archive(tmp_path / "a [b]*")
    assert listed(tmp_path / "a [b]*") == names
    days = sorted({name[:15] for name in names})
    asked = [file.parents[1].name for _name, file in finished(tmp_path / "a [b]*", lambda day: day == days[1])]
    assert asked == [days[1]] * (len(names) // DAYS)


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_meanwhile_is_left_out_and_all_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    names = archive(tmp_path)
    gone: set[str] = set()

    def removing(folder: Path) -> Any:
        # Another program removes a file, a path's or a day's folder, before any of the scans.
        left = sorted(names - gone)
        if left and (not gone or rng.random() < 0.5):
            victim = rng.choice(left)
            place = rng.choice([tmp_path / victim, (tmp_path / victim).parent, (tmp_path / victim).parents[1]])
            gone.update(name for name in left if (tmp_path / name).is_relative_to(place))
            place.unlink() if place.is_file() else shutil.rmtree(place)
        return os.scandir(folder)

    monkeypatch.setattr(f"{finished.__module__}.os", SimpleNamespace(scandir=removing))
    found = listed(tmp_path)
    assert names - gone <= found <= names
    assert gone


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rows that are not seen would be taken for rows that are not there.
    names = archive(tmp_path)
    closed = (tmp_path / min(names)).parent

    def scanned(folder: Path) -> Any:
        if folder == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return os.scandir(folder)

    # Who runs this as root may read everything.
    monkeypatch.setattr(f"{finished.__module__}.os", SimpleNamespace(scandir=scanned))
    assert stat.S_ISDIR(closed.stat().st_mode)
    with pytest.raises(PermissionError):
        listed(tmp_path)
