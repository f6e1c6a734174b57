"""What holds for every test: in CI a skip is a failure, because it hides a missing install step."""

import os
import signal
from collections.abc import Generator

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
