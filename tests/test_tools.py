"""A test that asks a program which is not installed is skipped, and in CI fails; any other error stays one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import is_missing

ASKING = """
import subprocess
def test_it():
    subprocess.run([{program!r}], check=True)
"""


def test_only_a_program_that_is_not_there_is_missing(tmp_path: Path) -> None:
    for missing, command in (("no-such-program", ["no-such-program"]), ("", [str(tmp_path / "none")])):
        with pytest.raises(FileNotFoundError) as caught:
            subprocess.run(command, check=False)
        assert is_missing(caught.value) == missing
    # A folder to work in that is not there is an error as well, whose name has a slash.
    with pytest.raises(FileNotFoundError) as caught:
        subprocess.run(["true"], cwd=tmp_path / "none", check=False)
    assert not is_missing(caught.value)
    assert not is_missing(FileNotFoundError())
    assert not is_missing(PermissionError(13, "no", "no-such-program"))
    assert not is_missing(None)


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 failed")])
def test_a_missing_program_skips_a_test_and_fails_it_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(ASKING.format(program="no-such-program"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert outcome in done.stdout, done.stdout + done.stderr
    assert "no-such-program" in done.stdout
