"""The fixture that starts programs must notice what it is there to notice."""

import os

import pytest

from tests.processes import Program, running, until

pytestmark = pytest.mark.process

SIMULATOR = ("daemons.simulator.main", "--listen", "127.0.0.1:0")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_wrong_exit_code_fails() -> None:
    with pytest.raises(AssertionError, match="exit code 0, not 3"), running(*SIMULATOR, exit_code=3):
        pass


def test_a_program_that_never_gets_ready_fails_and_is_not_left_behind() -> None:
    with (
        pytest.raises(AssertionError, match="no JSON line with 'never'"),
        running(*SIMULATOR, ready="never", deadline_seconds=1.0),
    ):
        pytest.fail("entered without the line")


def test_a_failing_test_leaves_no_process_and_shows_the_log() -> None:
    programs: list[Program] = []

    def fail() -> None:
        with running(*SIMULATOR) as program:
            programs.append(program)
            program.wait_for_log("serving")
            raise ValueError("from the test")

    with pytest.raises(ValueError, match="from the test") as failure:
        fail()
    assert not alive(programs[0].pid)
    assert "serving" in failure.value.__notes__[0]


def test_kill() -> None:
    with running(*SIMULATOR) as program:
        program.kill()
        assert program.exit_code == -9
        until(lambda: not alive(program.pid), "the process is gone")
