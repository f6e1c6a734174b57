"""Ten million rows: as many as a day of three busy symbols."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from experiments.comparison.model import Comparison
from tests.experiments.made import HEADER, START_NS

EVENTS = 5_000_000
_PORTION = 100_000
# Processor time, not wall time: the machine may be shared.
_SECONDS = 120
_BYTES = 1_000_000_000


def write_large_race(file: Path) -> None:
    random = np.random.default_rng(1)
    with file.open("w") as rows:
        rows.write(HEADER + "\n")
        for start in range(0, EVENTS, _PORTION):
            numbers = np.arange(start, start + _PORTION, dtype=np.int64)
            events = START_NS + numbers * 1_000_000
            direct = events + np.round((215 + random.normal(size=_PORTION) * 8) * 1e6).astype(np.int64)
            backbone = events + np.round((100 + random.normal(size=_PORTION) * 4) * 1e6).astype(np.int64)
            for number, event, late, early in zip(
                (numbers + 1).tolist(), events.tolist(), direct.tolist(), backbone.tolist(), strict=True
            ):
                tokyo = event + 2_000_000
                rows.write(
                    f",{event // 10**6},,{late},{(late - event) / 1e6:.6f},,direct,btcusdt@trade,{number},{event},,"
                    f"kernel,ok,0\n{number},{event // 10**6},{tokyo},{early},{(early - event) / 1e6:.6f},"
                    f"{(early - tokyo) / 1e6:.6f},backbone,btcusdt@trade,{number},{event},{tokyo},kernel,ok,0\n"
                )


@pytest.mark.exhaustive
def test_ten_million_rows_are_compared_in_two_minutes_and_a_gigabyte(tmp_path: Path) -> None:
    file = tmp_path / "race.csv"
    write_large_race(file)
    command = [sys.executable, "-c", "from experiments.main import main; main()", "compare", str(file), "--json"]
    with (tmp_path / "out.json").open("wb") as output, subprocess.Popen(command, stdout=output) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    file.unlink()
    assert process.returncode == 0
    found = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=Comparison)
    assert found.race is not None
    assert found.race.pairs == EVENTS
    assert found.race.median_lead_ms == pytest.approx(115, abs=0.02)
    assert usage.ru_utime + usage.ru_stime < _SECONDS
    assert usage.ru_maxrss * 1024 < _BYTES
