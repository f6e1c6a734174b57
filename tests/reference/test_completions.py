"""Completion as the shells themselves do it."""

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.main import COMMANDS
from reference.commands import PROGRAMS

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "completions"
ASK_BASH = r"""
bind 'set enable-bracketed-paste off'
for program in "$SCRIPTS"/*; do source "$program"; done
got() { printf 'got'; printf '<%s>' "$@"; echo; }
got started
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my config.toml").touch()
    return tmp_path


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def bash(folder: Path, *lines: str) -> list[list[str]]:
    """Type lines, each with the tabulator at its end, at a terminal; give the words that each is for the shell then."""
    ours, theirs = pty.openpty()
    start = folder / "start"
    start.write_text(ASK_BASH)
    set_up = {**environment(), "SCRIPTS": f"{SCRIPTS}/bash", "INPUTRC": "/dev/null", "HOME": str(folder), "PS1": ""}
    command = ["bash", "--noprofile", "--rcfile", str(start), "-i"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=set_up, start_new_session=True
    )
    os.close(theirs)
    told = answer(ours)
    for line in lines:
        os.write(ours, f"{line}\t\1got \n".encode())
        told += answer(ours)
    os.write(ours, b"exit\n")
    assert process.wait(300) == 0
    os.close(ours)
    assert "No such file" not in told
    return [re.findall("<([^>]*)>", line) for line in told.splitlines() if line.startswith("got<")]


def answer(terminal: int) -> str:
    """Read until the line that ``got`` prints."""
    told = b""
    while not re.search(rb"^got<.*\n", told, re.MULTILINE):
        assert select.select([terminal], [], [], 300)[0], told.decode()
        told += os.read(terminal, 1 << 16)
    return told.decode()


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_each_shell_can_read_each_script(program: str) -> None:
    for shell, file in (("bash", program), ("zsh", f"_{program}"), ("fish", f"{program}.fish")):
        subprocess.run([shell, "-n", SCRIPTS / shell / file], check=True, timeout=300)
    assert (SCRIPTS / "zsh" / f"_{program}").read_text().startswith(f"#compdef {program}\n")


def test_bash_completes_options_their_values_commands_and_files(folder: Path) -> None:
    """Also after values that Readline takes for several words, in quotes, and for a program in another folder."""
    (folder / "a home").symlink_to(Path(sys.executable).parent)
    tried = {
        "latency-receiver --mo": ["--mode"],
        "latency-receiver --mode b": ["--mode", "baseline"],
        "latency-receiver --mode=b": ["--mode=baseline"],
        'latency-receiver --mode="b': ["--mode=baseline"],
        "latency-receiver --listen 127.0.0.1:8080 --mode  r": ["--listen", "127.0.0.1:8080", "--mode", "race"],
        "latency-receiver --listen=[::1]:80 --mode=r": ["--listen=[::1]:80", "--mode=race"],
        "latency-receiver --config 'my config.toml' --mode b": ["--config", "my config.toml", "--mode", "baseline"],
        "latency-receiver --config my": ["--config", "my config.toml"],
        "latency-receiver --config=my": ["--config=my config.toml"],
        'latency-receiver --config "my': ["--config", "my config.toml"],
        "./a\\ home/latency-receiver --mode b": ["--mode", "baseline"],
        "~/a\\ home/latency-receiver --mode b": ["--mode", "baseline"],
        '"./a home/latency-receiver" --mode b': ["--mode", "baseline"],
        "'./a home/latency-receiver' --config \"my": ["--config", "my config.toml"],
        "./'a home'/\"latency-receiver\" --mode=b": ["--mode=baseline"],
        "'latency-receiver' --mode b": ["--mode", "baseline"],
        "\\latency-receiver --mode b": ["--mode", "baseline"],
        '"$HOME/a home/latency-receiver" --mode b': ["--mode", "baseline"],
        '"${HOME}/a home/latency-receiver" --mode b': ["--mode", "baseline"],
        "./nowhere/latency-receiver --mode b": ["--mode", "b"],
        "provision --instance-type forwarder=c7i.large u": ["--instance-type", "forwarder=c7i.large", "up"],
        "experiment watch 127.0.0.1:9471 --prom": ["watch", "127.0.0.1:9471", "--prometheus"],
        "experiment rep": ["report"],
    }
    assert dict(zip(tried, (words[1:] for words in bash(folder, *tried)[1:]), strict=True)) == tried


def fish(folder: Path, line: str) -> set[str]:
    script = f"source '{SCRIPTS}/fish/latency-receiver.fish'; complete -C $argv[1]"
    command = ["fish", "--no-config", "-c", script, line]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=True
    )
    return {line.partition("\t")[0] for line in done.stdout.splitlines()}


def test_fish_completes_options_their_values_and_files(folder: Path) -> None:
    assert fish(folder, "latency-receiver --mode ") == {"baseline", "aws-backbone", "race"}
    assert fish(folder, "latency-receiver --listen 127.0.0.1:8080 --mode=b") == {"--mode=baseline"}
    assert fish(folder, "latency-receiver --config 'my config.toml' --mo") == {"--mode"}
    assert fish(folder, "latency-receiver --config=my") == {"--config=my config.toml"}
    assert fish(folder, "latency-receiver \\\n  --config 'my c") == {"my config.toml"}


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


def zsh(folder: Path, line: str) -> str:
    """Type a line and the tabulator at a terminal, and have the line printed."""
    command = ["zsh", "-f", "-c", ASK_ZSH, "zsh", str(SCRIPTS / "zsh"), line]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=True
    )
    return next(line for line in done.stdout.splitlines() if line.startswith("got ")).removeprefix("got ").strip()


def test_zsh_completes_options_their_values_and_files(folder: Path) -> None:
    assert zsh(folder, "latency-receiver --mode b") == "latency-receiver --mode baseline"
    assert zsh(folder, "latency-receiver --listen 127.0.0.1:80 --mode=b").endswith(":80 --mode=baseline")
    assert zsh(folder, "latency-receiver --config=my\\ c") == "latency-receiver --config=my config.toml"


VARIABLES = {
    "bash": r"""
        set -u; shopt -s failglob
        type=mine value=mine completion=mine response=mine line=mine words=mine index=mine program=mine
        source "$1/bash/latency-receiver"
        told() { declare -p | grep -vE '^declare -[^ ]+ (_|[A-Z_]+)=?'; }
        before=$(told)
        for name in latency-receiver '$NOWHERE/latency-receiver'; do
            COMP_WORDS=("$name" --mo) COMP_CWORD=1 COMP_LINE="$name --mo"
            _latency_receiver_completion "$name"
            echo "${COMPREPLY[@]}"
        done
        unset name
        diff <(echo "$before") <(unset before; told)
    """,
    "zsh": r"""
        setopt no_unset
        typeset -A key; key=(Home x); type=mine descr=mine response=mine completions=mine told=mine
        compset() { }; compadd() { }; _path_files() { }
        _describe() { print -r -- ${(P)${@[-1]}%%:*} }
        CURRENT=2; words=(latency-receiver --mo); PREFIX=--mo
        compdef() { }
        source "$1/zsh/_latency-receiver"
        told() { typeset -p type key descr response completions; print -l ${(ok)parameters} }
        before=$(told)
        _latency_receiver_completion
        diff <(print -r -- $before) <(unset before; told)
    """,
    "fish": r"""
        for name in response completion metadata option; set -g $name mine; end
        source $argv[1]/fish/latency-receiver.fish
        set -l before (set)
        complete -C "latency-receiver --mo" | string split --fields 1 \t
        for name in response completion metadata option; test "$$name" = mine; or echo $name is $$name; end
    """,
}
"""What each shell has, before and after a completion, in the strictest mode that it knows."""


@pytest.mark.parametrize("shell", VARIABLES)
def test_a_completion_leaves_the_shells_own_variables_as_they_are(folder: Path, shell: str) -> None:
    start = {"bash": ["--norc", "-c"], "zsh": ["-f", "-c"], "fish": ["--no-config", "-c"]}[shell]
    words = [shell, *start, VARIABLES[shell], *([] if shell == "fish" else [shell]), str(SCRIPTS)]
    where: dict[str, Any] = {"cwd": folder, "env": environment()}
    done = subprocess.run(words, **where, capture_output=True, text=True, timeout=300, check=False)
    assert (set(done.stdout.split()), done.stderr) == ({"--mode"}, "")


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
        timeout=300,
        check=True,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == set(COMMANDS)
    assert done.stderr == ""
