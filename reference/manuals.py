"""Manual pages in man(7): one for each command, and one for each configuration file."""

import re
from collections.abc import Iterable, Iterator

from daemons.service.distribution import DISTRIBUTION, installed_version
from reference.commands import Command, commands
from reference.keys import FILES, File, Table, tables

__all__ = ["pages"]

DATE = "2026-11-29"
"""Of the last change to what manuals say of themselves; a build must not depend on the day."""
EXIT = (
    ("0", "done"),
    ("2", "bad configuration or command line"),
    ("3", "this host's clock is unfit for a timed run"),
    ("4", "an address cannot be listened on"),
    ("5", "results cannot be written"),
)
_ASCII = str.maketrans({"'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
"""What groff else sets as printers do, and no shell understands (groff_man_style(7), "Portability")."""
_READERS = {"latency-forwarder": "latency-forwarder.toml", "latency-receiver": "latency-receiver.toml"} | {
    "latency-probe": "latency-probe.toml",
    "experiment-run": "latency-hosts.toml",
    "experiment-validate": "latency-validation.toml",
    "provision-up": "latency-topology.toml",
}


def pages() -> dict[str, str]:
    """Return every page by the name of its file below ``man``."""
    found = {f"man1/{'-'.join(one.words)}.1": _command(one) for one in commands()}
    return found | {f"man5/{file.name}.5": _file(file) for file in FILES}


def _command(command: Command) -> str:
    name = "-".join(command.words)
    lines = [*_head(name, 1, command.summary[:1].lower() + command.summary[1:])]
    lines += [".SH SYNOPSIS", f".B {_text(' '.join(command.words))}", _text(command.usage)]
    lines += [".SH DESCRIPTION", *_paragraphs(command.paragraphs)]
    if command.below:
        lines += [".SH COMMANDS", *_list((_below(command, word), summary) for word, summary in command.below)]
    lines += [".SH OPTIONS", *_list((f"\\fB{_text(written)}\\fR", _text(does)) for written, does in command.options)]
    lines += [".SH EXIT STATUS", *_list((code, _text(meaning)) for code, meaning in EXIT)]
    also = [f"{'-'.join(command.words[:-1])}(1)"] if len(command.words) > 1 else []
    also += [f"{_READERS[name]}(5)"] if name in _READERS else []
    return "\n".join([*lines, *_see(also)]) + "\n"


def _below(command: Command, word: str) -> str:
    return f"\\fB{_text('-'.join((*command.words, word)))}\\fR(1)"


def _file(file: File) -> str:
    lines = [*_head(file.name, 5, file.title), ".SH DESCRIPTION"]
    lines += [f"Read by \\fB{_text(file.read_by)}\\fR.", "The file is TOML; an unknown key is an error."]
    for table in tables(file):
        if table.keys:
            lines += _table(table)
    lines += [".SH EXAMPLE", "Every key with its default, or an example where it has none:", ".PP", ".nf"]
    for table in tables(file):
        if table.keys:
            header = table.header.partition(" kind = ")[0]
            lines += [
                *([_text(header)] if header else []),
                *(_text(key.example).translate(_ASCII) for key in table.keys),
                "",
            ]
    while lines[-1] == "":
        lines.pop()
    lines = ["\\&" if line == "" else line for line in lines]
    readers = [f"{name}(1)" for name, read in _READERS.items() if read == file.name]
    return "\n".join([*lines, ".fi", *_see(readers)]) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield f".SH {_quoted(table.header.upper() if not table.header else table.header)}" if table.header else ".SH KEYS"
    if table.header and table.meaning:
        yield _text(table.meaning)
    for key in table.keys:
        default = "required" if key.required else f"default {key.default}" if key.default else "no default"
        about = ", ".join(part for part in (key.type, key.unit, default) if part)
        yield ".TP"
        yield f"\\fB{_text(key.name)}\\fR ({_text(about)})"
        yield _text(key.meaning[:1].upper() + key.meaning[1:])


def _head(name: str, section: int, summary: str) -> Iterator[str]:
    yield f".TH {_quoted(name.upper())} {section} {DATE} {_quoted(f'{DISTRIBUTION} {installed_version()}')}"
    # Words stay whole, so that what is searched for or copied is found.
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"
    yield f"{_text(name)} \\- {_text(summary)}"


def _see(pages: Iterable[str]) -> Iterator[str]:
    if listed := sorted(pages):
        yield ".SH SEE ALSO"
        yield ",\n".join(f".BR {_text(page.partition('(')[0])} ({page.partition('(')[2]}" for page in listed).replace(
            ",\n", " ,\n"
        )


def _paragraphs(paragraphs: Iterable[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        yield _text(paragraph)


def _list(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in entries:
        yield ".TP"
        yield term
        yield meaning or "\\&"


def _quoted(text: str) -> str:
    return '"' + _text(text).replace('"', "\\(dq") + '"'


def _text(text: str) -> str:
    """Write plain text: nothing in it is a request or an escape, and a dash can be copied (man-pages(7))."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub("(``?)([^`]+)\\1", lambda code: f"\\fB{code[2].translate(_ASCII)}\\fR", text)
    text = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text
