"""What holds for every test: in CI a skip is a failure, for it hides a missing install step; no task fails unseen.

Elsewhere a test is skipped that asks a program which is not installed.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.tools import is_missing

if TYPE_CHECKING:
    from tests.s3_layer import Layer

# A shell lets what it starts in the background ignore Ctrl-C, and children inherit that: the suite asks for it anew.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What the shell of whoever runs the suite says of accounts, proxies and terminals is none of the tests' business: a
# profile could name a real account, and a proxy would be asked for what listens on loopback.
for _name in list(os.environ):
    if _name.startswith("AWS_") or _name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}:
        del os.environ[_name]
for _name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "TERM", "SOURCE_DATE_EPOCH"):
    os.environ.pop(_name, None)
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

# A busy machine makes single examples slow, and the making of them: that says nothing. `make exhaustive` looks longer.
SLOW = (HealthCheck.too_slow,)
settings.register_profile("quick", max_examples=20, deadline=None, suppress_health_check=SLOW)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.excinfo is not None and (name := is_missing(call.excinfo.value)):
        path, line, _name = item.location
        report.outcome, report.longrepr = "skipped", (path, line or 0, f"{name} is not installed")
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


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder with a short name, whatever TMPDIR says: a socket's path has 107 bytes at the most (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="latency-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    """The port of an S3 emulator."""
    from tests.s3_layer import emulated  # noqa: PLC0415 - seconds, which most tests need not wait for

    with emulated() as port:
        yield port


@pytest.fixture
def layer(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Layer]":
    """What stands before the emulator, counts, and fails as it is told; boto3 finds it by the environment."""
    from tests.s3_layer import layered  # noqa: PLC0415 - likewise

    with layered(s3_port, monkeypatch) as made:
        yield made
