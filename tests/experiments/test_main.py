import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from experiments.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_what_the_list_says_of_it(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    first = COMMANDS[name].summary.removesuffix(".")
    assert " ".join((command.help or "").split()).startswith(first)


def test_help_lists_every_command_and_imports_none() -> None:
    script = (
        "import sys; from experiments.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'matplotlib', 'asyncio', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name, command in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert command.summary.split()[0] in done.stdout


def test_an_unknown_command_is_refused() -> None:
    done = CliRunner().invoke(main, ["comprae"])
    assert done.exit_code == 2
    assert "No such command 'comprae'" in done.output
