"""All commands of the project, held against each other: they are used by the same people."""

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from daemons.service.extra import EXTRAS
from daemons.service.settings.spans import Span

ROOT = Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

FOR_HELP = {"click", "msgspec", "typing_extensions"}
"""Libraries of others that a command line is read with; what else is installed is for work."""

WITH_A_UNIT = re.compile(r"--.*-(ms|gb)$|--(rate|confidence)$")
"""Options that are numbers and no spans: their names say the unit, or they have none."""


def program(name: str) -> click.Command:
    module = SCRIPTS[name].partition(":")[0]
    command = importlib.import_module(module).main
    assert isinstance(command, click.Command)
    return command


def all_commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in SCRIPTS:
        command = program(name)
        yield (name,), command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield (name, below), found


COMMANDS = dict(all_commands())


def test_the_list_is_whole() -> None:
    assert len(SCRIPTS) == 8
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_a_short_name_everywhere(words: tuple[str, ...]) -> None:
    told = [CliRunner().invoke(program(words[0]), [*words[1:], flag], prog_name=words[0]) for flag in ("-h", "--help")]
    assert [one.exit_code for one in told] == [0, 0], told[0].output
    assert told[0].output == told[1].output
    assert told[0].output.startswith(f"Usage: {' '.join(words)} ")


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_of_help_ends_within_a_name(words: tuple[str, ...], width: int) -> None:
    told = CliRunner().invoke(program(words[0]), [*words[1:], "--help"], prog_name=words[0], terminal_width=width)
    assert told.exit_code == 0
    # But for "an ami- id".
    assert not re.findall(r".*\w(?<!\bami)-$", told.output, re.MULTILINE)
    # What keeps a name whole is not what is read, and copied.
    assert "\u2011" not in told.output


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_waits_for_no_library_that_only_work_needs(name: str) -> None:
    """Each takes a tenth of a second or more to import, and completion asks for help at every press of the key."""
    callback = program(name).callback
    assert callback is not None
    script = (
        f"import sys; from click.testing import CliRunner; from {callback.__module__} import main\n"
        "for words in sys.argv[2].split(','):\n"
        "    done = CliRunner().invoke(main, [*words.split(), '--help'])\n"
        "    assert done.stdout.startswith('Usage:'), (words, done.output)\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(set(sys.argv[1].split()) & tops))"
    )
    below = ",".join(" ".join(words[1:]) for words in COMMANDS if words[0] == name)
    others = {name for name in packages_distributions() if name.isidentifier()}
    others -= {*FOR_HELP, "_distutils_hack", "daemons", "experiments", "provisioning", *sys.stdlib_module_names}
    others |= {"asyncio"}
    command = [sys.executable, "-c", script, " ".join(others), below]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def bare(name: str, script: str, *words: str) -> str:
    """Run a script with a program's command as `main`, as where no extra is installed; what it wrote."""
    callback = program(name).callback
    assert callback is not None
    hidden = {"botocore"}.union(*EXTRAS.values())
    begin = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(hidden)!r}))\n"
        f"from click.testing import CliRunner; from {callback.__module__} import main\n"
    )
    command = [sys.executable, "-c", begin + script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_wrong_options_and_completion_need_no_extra(name: str) -> None:
    script = (
        "for words in sys.argv[1].split(','):\n"
        "    told = CliRunner().invoke(main, [*words.split(), '--help'])\n"
        "    assert (told.exit_code, told.output[:6]) == (0, 'Usage:'), (words, told.output)\n"
        "    told = CliRunner().invoke(main, [*words.split(), '--no-such-option'])\n"
        "    assert (told.exit_code, told.output[:6]) == (2, 'Usage:'), (words, told.output)\n"
        "    assert '--no-such-option' in told.output.splitlines()[-1], (words, told.output)\n"
        "    at = str(1 + len(words.split()))\n"
        "    typed = {'COMP_WORDS': f'x {words} --', 'COMP_CWORD': at, '_X_COMPLETE': 'bash_complete'}\n"
        "    told = CliRunner().invoke(main, prog_name='x', env=typed)\n"
        "    assert 'plain,--help' in told.output.splitlines(), (words, told.output)\n"
        "print('all', words)"
    )
    below = ",".join(" ".join(words[1:]) for words in COMMANDS if words[0] == name)
    assert bare(name, script, below).startswith("all")


NO_AWS = {"policy", "cost", "targets"}
"""The commands of `provision` whose help says that they call nothing."""


@pytest.mark.parametrize("command", sorted(words[1] for words in COMMANDS if words[0] == "provision" and words[1:]))
def test_only_what_asks_aws_needs_its_library(command: str) -> None:
    words = [command, *(["receiver"] if command == "ssh" else [])]
    told = bare("provision", f"told = CliRunner().invoke(main, {words}); print(told.exit_code, told.output)")
    if command in NO_AWS:
        assert told.startswith("0 ")
    else:
        assert told.startswith("2 error: boto3 not installed; ")
        assert told.rstrip().endswith("backbone-latency[aws]'")


def test_an_extra_is_looked_for_by_what_it_brings() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {"dnspython": "dns"}
    brought = {
        extra: {named.get(library, library) for library in (re.split("[>=]", one)[0] for one in libraries)}
        for extra, libraries in declared.items()
        if extra != "all"
    }
    assert {extra: set(modules) for extra, modules in EXTRAS.items()} == brought


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_a_full_disk_is_told_in_a_line(name: str, flag: str) -> None:
    callback = program(name).callback
    assert callback is not None
    script = f"from {callback.__module__} import main; main(['{flag}'])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    why = "output cannot be written: No space left on device; make room, or write elsewhere"
    assert (done.returncode, done.stderr) == (5, f"error: {why}\n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_version_line(name: str) -> None:
    done = CliRunner().invoke(program(name), ["--version"], prog_name=name)
    assert done.output == f"{name} {version('backbone-latency')}\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_number_is_a_span_or_its_name_says_its_unit(words: tuple[str, ...]) -> None:
    for option in COMMANDS[words].params:
        assert option.metavar not in {"SECONDS", "SPAN"}, f"{option.opts}: give it the type, which has the metavar"
        if isinstance(option.type, click.types.FloatParamType):
            assert WITH_A_UNIT.fullmatch(option.opts[0]), f"{option.opts}: is it a span?"
        counted = option.opts[0].startswith(("--skip-ids", "--malformed"))
        if re.search("duration|interval|timeout|wait$|every$|rehearsal", option.opts[0]) and not counted:
            assert isinstance(option.type, Span), option.opts
        if isinstance(option.type, Span):
            assert not re.search("-(ms|seconds|minutes)$", option.opts[0]), f"{option.opts}: a span says its own unit"
