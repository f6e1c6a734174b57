"""What is shown is whole, however narrow the terminal."""

import re
import sys
from pathlib import Path

import pytest

from provisioning.screen import Screen
from provisioning.steps import Step, Verb
from tests.terminal import on_terminal

COLUMNS = ("key", "region", "id", "detail")
ROW = ("host/forwarder", "ap-northeast-1", "i-4412240c633044ef0", "10.0.1.10 54.214.165.149; silent")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_nothing_of_a_table_is_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen(as_json=False).table("latency", COLUMNS, [ROW])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert all(text in shown for text in ROW)
    assert ("\nid " in shown) is (width < 140)
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_plan_cuts_no_number_and_breaks_no_word(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    words = ["allow tcp 8080-8090 from 10.123.0.0/16", "mtu 1500 to 9001", "delete sg-0123456789abcdef0"]
    steps = [
        Step("create", "host/forwarder", "ap-northeast-1", tuple(words)),
        Step("change", "security-group/receiver", "eu-central-1", tuple(words)),
    ]
    Screen(as_json=False).plan(steps)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    flat = " ".join(shown.split())
    assert all(word in flat for word in words)


def test_a_plan_ends_with_a_sentence_of_how_many_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    verbs: dict[Verb, int] = {"create": 3, "change": 2, "replace": 1, "remove": 1, "blocked": 2}
    steps = [Step(verb, f"host/h{number}", "eu-west-1", ()) for verb, count in verbs.items() for number in range(count)]
    Screen(as_json=False).plan(steps)
    told = "3 to create, 2 to change, 1 to replace, 1 to remove, 2 blocked"
    assert capsys.readouterr().out.splitlines()[-1] == told
    Screen(as_json=False).plan([])
    assert capsys.readouterr().out == "nothing to do: everything is as the topology says\n"


SCRIPT = """
from provisioning.steps import Event
from provisioning.steps import Step
from provisioning.screen import Screen
screen = Screen(as_json=False)
with screen.progress("building", 2):
    screen.say("building the software bundle from this checkout")
    screen.event(Event("created", "vpc/one", "eu-west-1", "vpc-0123456789abcdef0"))
    screen.say("a sentence of many words " * 6)
screen.say("built")
"""


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_glued_to_the_progress_and_no_word_is_broken(width: int) -> None:
    shown = on_terminal([sys.executable, "-c", SCRIPT], width, cwd=Path(__file__).parents[2])
    assert shown.code == 0
    assert shown.too_long == []
    whole = {
        "building the software bundle from this checkout",
        "created vpc/one (eu-west-1) vpc-0123456789abcdef0",
        "built",
    }
    assert whole <= set(shown.lines)
    others = [line for line in shown.lines if line and line not in whole and "building ━" not in line]
    assert " ".join(others).split() == ("a sentence of many words " * 6).split()
