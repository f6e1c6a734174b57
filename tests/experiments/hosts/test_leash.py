"""The leash as a process: what it holds ends when its standard input does."""

import signal
import subprocess
import sys

import pytest

LEASH = (sys.executable, "-m", "experiments.hosts.leash", sys.executable, "-c")
HOLD = "import signal, sys; print('held', flush=True); signal.sigwait({signal.SIGTERM}); sys.exit(7)"

pytestmark = pytest.mark.process


def test_the_end_of_standard_input_ends_the_program_and_its_exit_code_comes_back() -> None:
    blocked = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); {HOLD}"
    with subprocess.Popen([*LEASH, blocked], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(300) == 7


def test_a_program_that_ends_by_itself_needs_no_end_of_input() -> None:
    with subprocess.Popen([*LEASH, "raise SystemExit(3)"], stdin=subprocess.PIPE) as process:
        assert process.wait(300) == 3


def test_a_signals_end_is_told_as_shells_tell_it() -> None:
    with subprocess.Popen([*LEASH, "import os; os.kill(os.getpid(), 9)"], stdin=subprocess.PIPE) as process:
        assert process.wait(300) == 128 + signal.SIGKILL
