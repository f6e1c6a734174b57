"""Completion for bash, zsh and fish: click's own scripts, which ask the command itself what may follow.

Mended in each: click's lose what follows ``--option=``, or the option itself. In bash and zsh they also overwrite
variables of the shell that they are used in.
"""

from click.shell_completion import get_completion_class

from reference.commands import PROGRAMS

__all__ = ["scripts"]

_NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}
"""As each shell looks for the script of a command."""
_JOIN = r"""
    # Readline cuts words at = and : too (COMP_WORDBREAKS); what no space divides is one word for the command.
    local index line=$COMP_LINE words=() cword=0
    for index in "${!COMP_WORDS[@]}"; do
        [[ $index == 0 || $line == [[:space:]]* ]] && words+=("")
        words[-1]+=${COMP_WORDS[index]}
        line=${line#*"${COMP_WORDS[index]}"}
        ((index == COMP_CWORD)) && cword=$((${#words[@]} - 1))
    done
    # The command's name is as it was typed: maybe in quotes, with ~ for the home, or beginning with a variable.
    local program=${1//[\\\"\']/}
    [[ $program =~ ^\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?(/.*) ]] && program=${!BASH_REMATCH[1]-}${BASH_REMATCH[2]}
    program=$(type -P -- "${program/#"~/"/$HOME/}") || return 0

""".removeprefix("\n")
_MENDED = {
    "bash": (
        ("    local response\n", "    local response completion type value\n"),
        ('COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD', 'COMP_WORDS="${words[*]}" COMP_CWORD=$cword'),
        ("=bash_complete $1)", '=bash_complete "$program")'),
        ("    response=$(", _JOIN + "    response=$("),
        # Bash looks for what follows the last slash of the command's name as it was typed.
        ("_completion PROGRAM\n", r"_completion {,\",\'}PROGRAM{,\",\'} \\PROGRAM" + "\n"),
    ),
    "zsh": (
        # Debian's own start-up file has an array called key.
        ("    local -a response\n", "    local -a response\n    local type key descr\n"),
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
        # Of a command over several lines there are several answers, but an environment has one of each name.
        ("=(commandline -cp)", r"=(commandline -cp | string replace --regex '\\\\$' '' | string join ' ')"),
        ("            echo $metadata[2];", '            echo "$option"$metadata[2];'),
        (" $metadata[2];\n        else", ' $metadata[2] | string replace --regex -- "^" "$option";\n        else'),
        (
            "    for completion in",
            (
                "    # A whole word is completed, of which the command answers what follows --option=.\n"
                "    set -l option (string match --regex -- '^--[^=]+=' (commandline -t));\n\n    for completion in"
            ),
        ),
    ),
}
"""Each shell's script, before and after; PROGRAM is the program's name."""


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
            found[f"{shell}/{name.format(program)}"] = _mended(shell, script, program)
    return found


def _mended(shell: str, script: str, program: str) -> str:
    for change in _MENDED[shell]:
        before, after = (part.replace("PROGRAM", program) for part in change)
        assert before in script, f"{shell}: click's script has changed: {before!r}"
        script = script.replace(before, after)
    return script
