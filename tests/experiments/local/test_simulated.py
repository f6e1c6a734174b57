"""The simulated world: what is said of a forwarder that does not get through."""

import asyncio
from typing import cast

import pytest

from daemons.errors import LatencyError
from experiments.live.scrape import ScrapedPage
from experiments.local import simulated
from experiments.local.programs import ProgramError, RunningProgram
from experiments.local.simulated import Injected, Simulated


class Forwarder:
    """A program that ends after it has been asked for its page so often; 0: never."""

    def __init__(self, ends_after: int = 0) -> None:
        self.asked = 0
        self._ends_after = ends_after

    @property
    def exit_code(self) -> int | None:
        return 1 if self._ends_after and self.asked >= self._ends_after else None

    def last_words(self) -> str:
        return "no such key"


STANDS = ScrapedPage({"latency_forwarder_link_connected": {frozenset(): 1.0}})


def _wait(monkeypatch: pytest.MonkeyPatch, forwarder: Forwarder, silent: int) -> None:
    """Wait for a link of which the page does not come for so many requests."""

    async def fetch(_address: str) -> ScrapedPage:
        forwarder.asked += 1
        if forwarder.asked <= silent:
            raise LatencyError("no answer within 3 s")
        return STANDS

    monkeypatch.setattr(simulated, "fetch", fetch)
    monkeypatch.setattr(simulated, "POLL_SECONDS", 0.0)
    world = Simulated(Injected())
    world._forwarder = cast("RunningProgram", forwarder)
    asyncio.run(world._link_up())


def test_a_page_that_does_not_come_in_time_is_no_end_of_the_forwarder(monkeypatch: pytest.MonkeyPatch) -> None:
    forwarder = Forwarder()
    _wait(monkeypatch, forwarder, silent=3)
    assert forwarder.asked == 4


def test_a_forwarder_that_ended_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProgramError, match="the forwarder ended; its last words: no such key"):
        _wait(monkeypatch, Forwarder(ends_after=2), silent=1000)


def test_one_that_lives_and_does_not_get_through_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "LINK_SECONDS", 0.05)
    with pytest.raises(ProgramError, match="did not reach the receiver"):
        _wait(monkeypatch, Forwarder(), silent=10**9)
