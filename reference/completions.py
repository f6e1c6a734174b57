"""Completion for bash, zsh and fish: click's own scripts, which ask the command itself what may follow."""

from click.shell_completion import get_completion_class

from reference.commands import PROGRAMS

__all__ = ["scripts"]

_NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}
"""As each shell looks for the script of a command."""
_SPLIT = 'COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD'
_JOIN = """\
    # Readline cuts --option=value into three words (COMP_WORDBREAKS), of which the sign is none for the command.
    local index words=() cword=$COMP_CWORD
    for index in "${!COMP_WORDS[@]}"; do
        if [[ ${COMP_WORDS[index]} != "=" ]]; then
            words+=("${COMP_WORDS[index]}")
        elif ((index == COMP_CWORD)); then
            words+=("")
        elif ((index < COMP_CWORD)); then
            ((cword--))
        fi
    done

"""
_ANSWER = "    response=$("


def scripts() -> dict[str, str]:
    """Return every script by the name of its file below ``completions``."""
    found = {}
    for shell, name in _NAMES.items():
        kind = get_completion_class(shell)
        assert kind is not None
        for program, command in PROGRAMS.items():
            variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
            made = kind(command, {}, program, variable)
            script = (made.source_template % made.source_vars()).strip() + "\n"
            found[f"{shell}/{name.format(program)}"] = _mended(script) if shell == "bash" else script
    return found


def _mended(script: str) -> str:
    assert _SPLIT in script
    assert _ANSWER in script
    script = script.replace(_SPLIT, 'COMP_WORDS="${words[*]}" COMP_CWORD=$cword')
    return script.replace(_ANSWER, _JOIN + _ANSWER)
