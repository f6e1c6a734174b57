"""What holds for every test: in CI a skip is a failure, for it hides a missing install step; no task fails unseen."""

import logging
import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# A shell lets what it starts in the background ignore Ctrl-C, and children inherit that: the suite asks for it anew.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine makes single examples slow: that says nothing. `make exhaustive` looks longer.
settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped in CI: {report.longrepr}"
    return report


class _Unseen(logging.Handler):
    """Keeps what asyncio says of exceptions that nobody has looked at."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "never retrieved" in record.getMessage():
            self.said.append(record.getMessage())


@pytest.fixture(autouse=True)
def no_task_fails_unseen(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a unit test whose tasks or futures ended with an exception that went nowhere: it shows less than it says."""
    if any(request.node.get_closest_marker(name) for name in ("process", "soak", "lab")):
        yield
        return
    handler = _Unseen()
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert not handler.said, handler.said
