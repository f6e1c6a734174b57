"""Why a program of ours could not be used: it ended, or took too long."""

import asyncio

import pytest

from experiments.local import programs
from experiments.local.programs import ProgramError, RunningProgram

pytestmark = pytest.mark.process


def test_one_that_ends_before_it_is_ready_is_told_with_its_code_and_words() -> None:
    program = RunningProgram("json.tool", "--no-such-option")
    with pytest.raises(ProgramError, match=r"json\.tool ended with code 2 before it was ready; .*--no-such-option"):
        asyncio.run(program.start())


def test_one_that_takes_too_long_is_told_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "START_SECONDS", 0.1)

    async def main() -> None:
        program = RunningProgram("timeit", "-n", "1", "import time; time.sleep(600)")
        try:
            await program.start()
        finally:
            program.kill()
            await program.ended()

    with pytest.raises(ProgramError, match=r"not ready within 0\.1 s; is this machine busy"):
        asyncio.run(main())
