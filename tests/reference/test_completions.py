"""Completion as the shells themselves do it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.main import COMMANDS
from reference.commands import PROGRAMS

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "completions"
ASK_BASH = """
source "$1"
COMP_WORDS=("${@:3}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
"$2" "${COMP_WORDS[0]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def bash(*words: str) -> set[str]:
    function = f"_{words[0].replace('-', '_')}_completion"
    command = ["bash", "-c", ASK_BASH, "bash", str(SCRIPTS / "bash" / words[0]), function, *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_each_shell_can_read_each_script(program: str) -> None:
    for shell, file in (("bash", program), ("zsh", f"_{program}"), ("fish", f"{program}.fish")):
        subprocess.run([shell, "-n", SCRIPTS / shell / file], check=True, timeout=30)
    assert (SCRIPTS / "zsh" / f"_{program}").read_text().startswith(f"#compdef {program}\n")


def test_bash_completes_options_their_values_and_commands() -> None:
    assert bash("latency-receiver", "--mo") == {"--mode"}
    assert bash("latency-receiver", "--mode", "") == {"baseline", "aws-backbone", "race"}
    assert bash("latency-receiver", "--mode", "=", "b") == {"baseline"}
    assert bash("latency-receiver", "--mode", "=") == {"baseline", "aws-backbone", "race"}
    assert {"plan", "up", "down"} <= bash("provision", "")
    assert bash("experiment", "re") == {"report"}
    assert "--duration" in bash("experiment", "run", "--d")


def fish(line: str) -> set[str]:
    script = f"source '{SCRIPTS}/fish/latency-receiver.fish'; complete -C '{line}'"
    command = ["fish", "--no-config", "-c", script]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    return {line.partition("\t")[0] for line in done.stdout.splitlines()}


def test_fish_completes_options_and_their_values() -> None:
    assert fish("latency-receiver --mode ") == {"baseline", "aws-backbone", "race"}
    assert fish("latency-receiver --mode=b") == {"--mode=baseline"}
    assert fish("latency-receiver --mo") == {"--mode"}


ASK_ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=('$1' \\$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word"
zpty -w shell "print REA''DY"
zpty -r shell seen '*READY*'
zpty -n -w shell "$2"$'\\t\\001print -r -- got \\n'
zpty -r shell seen $'*\\ngot *\\r*'
print -r -- "$seen"
"""


def zsh(line: str) -> str:
    """Type a line and the tabulator at a terminal, and have the line printed."""
    command = ["zsh", "-f", "-c", ASK_ZSH, "zsh", str(SCRIPTS / "zsh"), line]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=90, check=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("got ")).removeprefix("got ").strip()


def test_zsh_completes_options_and_their_values() -> None:
    assert zsh("latency-receiver --mode b") == "latency-receiver --mode baseline"
    assert zsh("latency-receiver --mode=b") == "latency-receiver --mode=baseline"
    assert zsh("latency-receiver --csv-o") == "latency-receiver --csv-output"


def test_commands_are_completed_without_the_libraries_that_one_of_them_needs() -> None:
    hide = (
        "import sys; sys.modules.update(dict.fromkeys(['numpy', 'matplotlib', 'boto3', 'jinja2', 'trustme']));"
        "sys.argv[0] = 'experiment'; from experiments.main import main; main()"
    )
    asked = {"_EXPERIMENT_COMPLETE": "bash_complete", "COMP_WORDS": "experiment ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", hide],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == set(COMMANDS)
    assert done.stderr == ""
