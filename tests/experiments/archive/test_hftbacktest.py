"""hftbacktest itself, from the package index, loads an export and finds it in order, to the nanosecond.

In an environment of its own: it wants an older numpy than this project has, and a compiler of Python beside.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.main import main
from tests.experiments.archived import archive_of
from tests.experiments.comparison.pinned_runs import PINNED

PACKAGES = Path(__file__).with_name("hftbacktest.txt")
"""What its own reader and validator need, by version and hash."""
READ = """
import json, sys
import numpy as np
from hftbacktest import event_dtype
from hftbacktest.data import correct_event_order, validate_event_order
from hftbacktest.types import EXCH_EVENT, LOCAL_EVENT
events = np.load(sys.argv[1])["data"]
assert events.dtype == event_dtype, events.dtype
validate_event_order(events)
local = events[events["ev"] & LOCAL_EVENT == LOCAL_EVENT]
# Its compiler tells a dtype of aligned fields from one that a file has.
plain = np.zeros(len(local), event_dtype)
plain["exch_ts"], plain["local_ts"] = local["exch_ts"], local["local_ts"]
theirs = correct_event_order(
    plain, np.lexsort((plain["local_ts"], plain["exch_ts"])), np.lexsort((plain["exch_ts"], plain["local_ts"]))
)
validate_event_order(theirs)
flags = EXCH_EVENT | LOCAL_EVENT
told = [[row["ev"] & flags, row["exch_ts"], row["local_ts"]] for row in theirs]
ours = [[row["ev"] & flags, row["exch_ts"], row["local_ts"]] for row in events]
print(json.dumps([[list(map(int, row)) for row in rows] for rows in (ours, told)]))
"""


@pytest.mark.exhaustive
def test_it_loads_the_export_and_its_validator_agrees(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*install, "-r", str(PACKAGES)], check=True)
    archive_of(tmp_path / "archive", PINNED["race"][0](tmp_path))
    feed = tmp_path / "feed.npz"
    told = CliRunner().invoke(main, ["export", str(tmp_path / "archive"), str(feed), "--path", "backbone"])
    assert told.exit_code == 0, told.output
    done = subprocess.run([python, "-c", READ, feed], check=True, capture_output=True, text=True)
    ours, theirs = json.loads(done.stdout)
    # The same events at the same times, whole or as two halves; of equal times it may put either first.
    assert sorted(ours) == sorted(theirs)
    assert any(exchange % 1000 or local % 1000 for _flags, exchange, local in ours), "nothing shows nanoseconds"
