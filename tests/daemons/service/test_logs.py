import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys, structlog
from daemons.service import logs

logs.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger("x").bind(path="backbone")
log.debug("too small")
log.info("hello", number=5)
logging.getLogger("library").warning("from a %s", "library")
logging.getLogger("library").info("not shown")
try:
    raise ValueError("boom")
except ValueError:
    log.exception("failed")
"""


def logged(style: str, level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, style, level], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_one_object_a_line_for_our_logs_and_the_libraries() -> None:
    lines = [json.loads(line) for line in logged("json", "info")]
    assert [line["event"] for line in lines] == ["hello", "from a library", "failed"]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert (lines[0]["path"], lines[0]["number"]) == ("backbone", 5)
    assert all(line["time"].endswith("Z") for line in lines)
    assert lines[2]["exception"][0]["exc_value"] == "boom"


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("warning", 2), ("error", 1)])
def test_levels(level: str, count: int) -> None:
    assert len(logged("json", level)) == count


def test_the_console_is_for_people() -> None:
    text = "\n".join(logged("console", "info"))
    assert "hello" in text
    assert "number=5" in text
    assert "\x1b" not in text
