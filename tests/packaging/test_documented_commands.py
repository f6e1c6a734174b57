"""Commands that documents show: the program, the command, the option, the target of make and the file are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reference.commands import PROGRAMS

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Containerfile")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "prometheus").rglob("*.yml")),
]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
BEFORE = re.compile(
    r"^(?:\$ |sudo (?:-\S+ )*|\./|\S*\.venv/bin/|/opt/backbone-latency/current/bin/|(?:[A-Z_]+=\S+ )+)+"
)
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def typed(text: str) -> Iterator[str]:
    """Yield the commands of shell blocks, without comments and what they are piped to."""
    for language, block in FENCED.findall(text):
        if language in {"", "sh", "bash", "console"}:
            for line in block.replace("\\\n", " ").splitlines():
                command = re.split(r"\s#|\s[|>&]", line.strip(), maxsplit=1)[0]
                yield BEFORE.sub("", command.strip())


def lines(text: str) -> Iterator[str]:
    """Yield the commands of shell blocks, and what stands in the text as code."""
    yield from typed(text)
    for code in SPAN.findall(FENCED.sub("", text)):
        yield BEFORE.sub("", code.strip())


def named(kind: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Give each command of the documents that begins with one of these words, and the page that has it."""
    found = []
    for page in PAGES:
        for command in lines(page.read_text(encoding="utf-8")):
            if command.startswith(tuple(f"{word} " for word in kind)):
                try:
                    words = shlex.split(command)
                except ValueError:
                    continue
                found.append((page.name, words))
    return found


def options(command: click.Command) -> set[str]:
    shown = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {*shown, "--help", "-h", "--version"}


def described(words: list[str]) -> tuple[click.Command, list[str]]:
    """Follow the words to the command below that they name; what is left are its arguments."""
    command: click.Command = PROGRAMS[words[0]]
    rest = words[1:]
    if isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if rest[0] == "…":
            return command, []
        below = command.get_command(click.Context(command), rest[0])
        assert below is not None, f"there is no {words[0]} {rest[0]}"
        return below, rest[1:]
    return command, rest


def test_every_command_and_option_is_there() -> None:
    shown = named(tuple(PROGRAMS))
    assert len(shown) > 100
    wrong = []
    for page, words in shown:
        try:
            command, rest = described(words)
        except AssertionError as error:
            wrong.append(f"{page}: {error}")
            continue
        # What follows the words of provision ssh is another program's.
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        if unknown := given - options(command) - {option for option in given if option.endswith("…")}:
            wrong.append(f"{page}: {' '.join(words)}: no {', '.join(sorted(unknown))}")
    assert wrong == []


def whole(words: list[str]) -> bool:
    """Whether a command is shown as it is to be typed, and not in part or with names to fill in."""
    return not any(re.search(r"…|\.\.\.|[\[\]|]|^[A-Z][A-Z_]+(=|$)|=[A-Z]+\b", word) for word in words[1:])


def test_every_whole_command_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the program's own parser, value by value; what is done then is other tests' business."""
    monkeypatch.chdir(tmp_path)
    tried, wrong = 0, []
    for page in PAGES:
        for text in typed(page.read_text(encoding="utf-8")):
            if not text.startswith(tuple(f"{word} " for word in PROGRAMS)):
                continue
            words = shlex.split(text)
            if not whole(words):
                continue
            tried += 1
            command, rest = described(words)
            try:
                # Below the program, whose settings it inherits and click keeps: names of --help.
                above = PROGRAMS[words[0]]
                parent = click.Context(above, info_name=words[0], **above.context_settings)
                command.make_context(command.name, rest, parent=None if command is above else parent)
            except click.UsageError as error:
                if "does not exist" not in error.message:
                    wrong.append(f"{page.name}: {text}: {error.message}")
    assert wrong == []
    assert tried > 40


def test_every_option_of_a_script_is_there() -> None:
    shown = named(("systemd/install", "systemd/wheelhouse", "debian/build-package"))
    assert len(shown) > 5
    wrong = []
    for page, words in shown:
        text = (ROOT / words[0]).read_text()
        given = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        wrong += [f"{page}: {words[0]}: no {one}" for one in given if not re.search(rf'{one}["\)\b]', text)]
    assert wrong == []


def test_every_target_of_make_is_there() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    wrong = []
    shown = named(("make",))
    assert len(shown) > 40
    for page, words in shown:
        asked = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]+", word)]
        wrong += [f"{page}: {' '.join(words)}" for word in asked if word not in targets]
    assert wrong == []
