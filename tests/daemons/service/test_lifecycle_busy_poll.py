import asyncio
import time

from daemons.service import lifecycle
from daemons.service.notify import Notifier


class Idler:
    """A program that does nothing until its process has used up CPU time, or the deadline has passed."""

    def __init__(self, cpu_seconds: float, deadline_seconds: float) -> None:
        self._cpu_seconds = cpu_seconds
        self._deadline_seconds = deadline_seconds
        self.spun = False

    async def start(self) -> None:
        pass

    async def wait(self) -> None:
        begin, limit = time.process_time(), time.monotonic() + self._deadline_seconds
        while not self.spun and time.monotonic() < limit:
            await asyncio.sleep(0.05)
            self.spun = time.process_time() - begin >= self._cpu_seconds

    async def stop(self) -> None:
        pass

    def status(self) -> str:
        return "idle"

    async def reload(self) -> None:
        pass


def test_busy_polling_never_sleeps() -> None:
    program = Idler(cpu_seconds=0.1, deadline_seconds=300.0)
    assert lifecycle.run(lambda: program, notifier=Notifier({}), busy_poll=True) == 0
    assert program.spun


def test_without_it_an_idle_daemon_uses_no_cpu_time() -> None:
    program = Idler(cpu_seconds=0.1, deadline_seconds=0.5)
    assert lifecycle.run(lambda: program, notifier=Notifier({})) == 0
    assert not program.spun
