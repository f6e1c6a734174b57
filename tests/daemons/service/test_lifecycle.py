"""The life of a daemon with a program that only notes what is asked of it."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
import structlog

from daemons.errors import ListenError
from daemons.service.lifecycle import Tasks, run
from daemons.service.notify import Notifier


class Noting:
    """A program that notes its life, and does at each stage what the test wants."""

    def __init__(self, *, at_start: int = 0, at_wait: int = 0, fails: str = "", done: bool = False) -> None:
        self.life: list[str] = []
        self._at_start = at_start
        self._at_wait = at_wait
        self._fails = fails
        self._done = done

    async def start(self) -> None:
        self.life.append("start")
        if self._at_start:
            os.kill(os.getpid(), self._at_start)
            await asyncio.sleep(60)
        if self._fails == "start":
            raise ListenError("h:1", "taken", "choose another")
        self.life.append("started")

    async def wait(self) -> None:
        self.life.append("wait")
        if self._fails == "wait":
            raise ListenError("h:1", "lost", "look")
        if self._at_wait:
            os.kill(os.getpid(), self._at_wait)
        if not self._done:
            await asyncio.sleep(60)

    async def stop(self) -> None:
        self.life.append("stop")
        if self._fails == "stop":
            raise ListenError("h:1", "stuck", "look")

    def status(self) -> str:
        return "noting"

    async def reload(self) -> None:
        self.life.append("reload")
        self._done = True
        os.kill(os.getpid(), signal.SIGTERM)


def lived(program: Noting) -> int:
    return run(lambda: program, notifier=Notifier({}))


def test_a_program_that_is_done() -> None:
    program = Noting(done=True)
    assert lived(program) == 0
    assert program.life == ["start", "started", "wait", "stop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: int) -> None:
    program = Noting(at_wait=number)
    assert lived(program) == 0
    assert program.life == ["start", "started", "wait", "stop"]


def test_a_signal_during_the_start_ends_it_too() -> None:
    program = Noting(at_start=signal.SIGTERM)
    assert lived(program) == 0
    assert program.life == ["start", "stop"]


@pytest.mark.parametrize("stage", ["start", "wait", "stop"])
def test_an_error_of_ours_is_an_exit_code_and_everything_is_put_away(stage: str) -> None:
    program = Noting(fails=stage, done=True)
    assert lived(program) == 4
    assert program.life[-1] == "stop"


def test_a_hang_up_reloads() -> None:
    program = Noting(at_wait=signal.SIGHUP)
    assert lived(program) == 0
    assert program.life == ["start", "started", "wait", "reload", "stop"]


def test_the_service_manager_is_told(socket_folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(socket_folder / "notify"))
        manager.settimeout(300)
        program = Noting(at_wait=signal.SIGTERM)
        environment = {"NOTIFY_SOCKET": str(socket_folder / "notify"), "WATCHDOG_USEC": "3000000"}
        assert run(lambda: program, notifier=Notifier(environment)) == 0
        manager.setblocking(False)
        told = []
        try:
            while True:
                told.append(manager.recv(1000))
        except BlockingIOError:
            pass
    assert told[0] == b"READY=1\nSTATUS=noting"
    assert b"WATCHDOG=1" in told
    assert told[-1] == b"STOPPING=1\nSTATUS=stopping"


def test_a_task_that_fails_is_not_forgotten() -> None:
    async def work() -> None:
        tasks = Tasks()

        async def fail() -> None:
            raise ValueError("boom")

        async def go_on() -> None:
            await asyncio.sleep(60)

        other = tasks.start(go_on())
        tasks.start(fail())
        with pytest.raises(ValueError, match="boom"):
            await asyncio.wait_for(tasks.failure(), 300)
        other.cancel()

    asyncio.run(work())


class Slow(Noting):
    """A program whose reloads take several turns; asked to reload and to stop again and again meanwhile."""

    def __init__(self, *, fails_to_reload: bool = False) -> None:
        super().__init__(at_wait=signal.SIGHUP)
        self._fails_to_reload = fails_to_reload
        self.reloads = 0

    async def reload(self) -> None:
        self.reloads += 1
        self.life.append("reload")
        for _turn in range(5):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.001)
        if self.reloads == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
        self.life.append("reloaded")
        if self._fails_to_reload:
            raise ValueError("boom")


@pytest.mark.parametrize("fails_to_reload", [False, True])
def test_reloads_follow_one_another_and_the_stop_follows_the_last(fails_to_reload: bool) -> None:
    program = Slow(fails_to_reload=fails_to_reload)
    assert lived(program) == 0
    assert program.life == ["start", "started", "wait", *["reload", "reloaded"] * 3, "stop"]


@pytest.mark.parametrize("stage", ["start", "wait"])
def test_what_went_wrong_is_told_once_and_before_the_stop(stage: str) -> None:
    with structlog.testing.capture_logs() as told:
        assert lived(Noting(fails=stage)) == 4
    assert [line["event"] for line in told if line["event"] != "serving"] == ["cannot go on", "stopped"]
    assert told[-2]["exit_code"] == 4


def test_a_stop_that_fails_is_told_too() -> None:
    with structlog.testing.capture_logs() as told:
        assert lived(Noting(done=True, fails="stop")) == 4
    assert [line["event"] for line in told] == ["serving", "cannot go on"]


class Early(Noting):
    """A program that is asked to reload while it starts."""

    async def start(self) -> None:
        self.life.append("start")
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.001)
        self.life.append("started")


def test_a_hang_up_during_the_start_is_answered_after_it() -> None:
    program = Early()
    assert lived(program) == 0
    assert sorted(program.life[2:4]) == ["reload", "wait"]
    assert [*program.life[:2], *program.life[4:]] == ["start", "started", "stop"]
