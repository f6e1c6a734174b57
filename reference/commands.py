"""Every command with its options, as its ``--help`` has them."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import click

from daemons.forwarder.main import main as forwarder
from daemons.original.frankfurt import main as frankfurt
from daemons.original.tokyo import main as tokyo
from daemons.probe.main import main as probe
from daemons.receiver.main import main as receiver
from daemons.simulator.main import main as simulator
from experiments.main import main as experiment
from provisioning.main import main as provision

__all__ = ["PROGRAMS", "Command", "commands"]

PROGRAMS: dict[str, click.Command] = {
    "experiment": experiment,
    "latency-forwarder": forwarder,
    "latency-probe": probe,
    "latency-receiver": receiver,
    "latency-simulator": simulator,
    "provision": provision,
    "frankfurt-receiver": frankfurt,
    "tokyo-forwarder": tokyo,
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or one below another.

    Attributes:
        words: as it is called: ``("provision", "up")``.
        summary: its help's first sentence.
        paragraphs: its whole help.
        usage: what follows the words.
        options: how each is written, and what it does.
        below: the words of its own commands, and their summaries.
    """

    words: tuple[str, ...]
    summary: str
    paragraphs: tuple[str, ...]
    usage: str
    options: tuple[tuple[str, str], ...]
    below: tuple[tuple[str, str], ...]


def commands() -> Iterator[Command]:
    """Yield every command of every program, those below after the one above."""
    for name, command in PROGRAMS.items():
        yield from _commands((name,), command, None)


def _commands(words: tuple[str, ...], command: click.Command, parent: click.Context | None) -> Iterator[Command]:
    context = click.Context(command, info_name=words[-1], parent=parent, **command.context_settings)
    help_text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    paragraphs = tuple(" ".join(part.split()) for part in help_text.split("\n\n"))
    below = []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            below.append((name, child))
    yield Command(
        words=words,
        summary=paragraphs[0].partition(". ")[0].rstrip("."),
        paragraphs=paragraphs,
        usage=" ".join(command.collect_usage_pieces(context)),
        options=tuple(filter(None, (parameter.get_help_record(context) for parameter in command.get_params(context)))),
        below=tuple((name, child.get_short_help_str(200).rstrip(".")) for name, child in below),
    )
    for name, child in below:
        yield from _commands((*words, name), child, context)
