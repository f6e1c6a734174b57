"""Completion for bash, zsh and fish: click's own scripts, which ask the command itself what may follow.

One thing is mended in each: click's lose what follows ``--option=``, or the option itself.
"""

from click.shell_completion import get_completion_class

from reference.commands import PROGRAMS

__all__ = ["scripts"]

_NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}
"""As each shell looks for the script of a command."""
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
_MENDED = {
    "bash": (
        ('COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD', 'COMP_WORDS="${words[*]}" COMP_CWORD=$cword'),
        ("    response=$(", _JOIN + "    response=$("),
    ),
    "zsh": (
        (
            "    for type key descr in",
            (
                "    # What follows --option= is completed, and the option stays.\n"
                "    [[ $PREFIX == --*=* ]] && compset -P '*='\n\n    for type key descr in"
            ),
        ),
        # With -U the word is replaced as a whole.
        ("completions_with_descriptions -U\n", "completions_with_descriptions\n"),
        ("compadd -U -V", "compadd -V"),
    ),
    "fish": (
        ("            echo $metadata[2];", '            echo "$option"$metadata[2];'),
        (
            "    for completion in",
            (
                "    # A whole word is completed, of which the command answers what follows --option=.\n"
                "    set -l option (string match --regex -- '^--[^=]+=' (commandline -t));\n\n    for completion in"
            ),
        ),
    ),
}
"""Each shell's script, before and after."""


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
            found[f"{shell}/{name.format(program)}"] = _mended(shell, script)
    return found


def _mended(shell: str, script: str) -> str:
    for before, after in _MENDED[shell]:
        assert before in script, f"{shell}: click's script has changed: {before!r}"
        script = script.replace(before, after)
    return script
