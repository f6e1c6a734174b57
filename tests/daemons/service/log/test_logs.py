import json
import subprocess
import sys

import pytest

from tests.terminal import on_terminal

SCRIPT = """
import logging, sys, structlog
from daemons.service.log import logs

logs.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger("x").bind(path="backbone")
log.debug("too small")
log.info("hello", number=5)
logging.getLogger("library").warning("from a %s", "library")
logging.getLogger("library").info("not shown")
def handshake(key):
    raise ValueError("boom")

try:
    handshake("a-key-in-a-variable")
except ValueError:
    log.exception("failed")
"""


def logged(style: str, level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, style, level], capture_output=True, text=True, check=True, timeout=300
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
    assert lines[2]["exception"][0]["frames"][-1]["name"] == "handshake"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_local_variables(style: str) -> None:
    text = "\n".join(logged(style, "info"))
    assert "handshake" in text
    assert "a-key-in-a-variable" not in text.replace('handshake("a-key-in-a-variable")', "")


CHANGING = """
import logging, sys, structlog
from daemons.service.log import logs
from daemons.service.secrecy import Secrets

log = structlog.get_logger("x")
for level, secrets in (("warning", ["first-secret"]), ("info", ["second-secret"])):
    logs.configure(sys.argv[1], level, Secrets(secrets))
    log.info("changed-now")
    log.warning("a", b="first-secret", c={"d": ["second-secret"]})
    logging.getLogger("library").warning("%s %s", "first-secret", "second-secret")
    try:
        raise ValueError("not first-secret but second-secret")
    except ValueError:
        log.exception("failed")
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_secret_is_in_no_line_also_when_it_changes(style: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHANGING, style], capture_output=True, text=True, check=True)
    first, changed, second = done.stderr.partition("changed-now")
    assert changed
    assert ("first-secret" in first, "second-secret" in first) == (False, True)
    assert ("first-secret" in second, "second-secret" in second) == (True, False)
    assert "***" in first
    assert "***" in second


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("warning", 2), ("error", 1)])
def test_levels(level: str, count: int) -> None:
    assert len(logged("json", level)) == count


def test_the_console_is_for_people() -> None:
    text = "\n".join(logged("console", "info"))
    assert "hello" in text
    assert "number=5" in text
    assert "\x1b" not in text


SETTINGS = """
import structlog
from daemons.service.log import logs
from daemons.service.secrecy import Secrets

logs.configure("console", "info", Secrets(["a secret of several words"]))
log = structlog.get_logger("x")
config = {"path": [{"name": "one", "headers": {"auth": "a secret of several words"}}, {"name": "two", "none": None}],
          "log": {"level": "info"}, "busy": False, "empty": {}, "limits": (1.5, 2.0)}
log.info("starting", config=config, mode="race")
log.error("cannot go on", error="h:1: taken; choose another", exit_code=4)
"""


def test_settings_are_a_table_a_line_and_an_error_follows_its_colon() -> None:
    done = subprocess.run([sys.executable, "-c", SETTINGS], capture_output=True, text=True, check=True)
    lines = [line[9:] if line[2:3] == ":" else line for line in done.stderr.splitlines()]
    assert lines == [
        "starting  mode=race",
        "  config:",
        "    busy=False limits=1.5,2",
        "    [path[0]] name=one",
        "    [path[0].headers] auth='***'",
        "    [path[1]] name=two",
        "    [log] level=info",
        "ERROR cannot go on: h:1: taken; choose another  exit_code=4",
    ]


def test_nobody_has_to_ask_for_lines_to_read() -> None:
    left_open = SETTINGS.replace('"console"', '"auto"')
    shown = on_terminal([sys.executable, "-c", left_open], 80)
    assert "  config:" in shown.text
    piped = subprocess.run([sys.executable, "-c", left_open], capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in piped.stderr.splitlines()] == ["starting", "cannot go on"]


@pytest.mark.parametrize("width", [40, 80])
def test_a_secret_is_hidden_also_where_lines_break(width: int) -> None:
    shown = on_terminal([sys.executable, "-c", SETTINGS], width)
    assert "secret" not in shown.text
    assert shown.too_long == []
    assert "\x1b[1;31mERROR\x1b[0m" in shown.raw
