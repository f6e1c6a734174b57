"""``experiment``: run, compare, validate and report latency experiments."""

import importlib
import sys
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from daemons.errors import LatencyError
from daemons.service.console.command_line import CONTEXT, OurGroup, version_option

__all__ = ["main"]


class _Command(NamedTuple):
    """One command, known without importing it: numpy and matplotlib take most of a second.

    Attributes:
        module: below ``experiments.commands``.
        summary: the first sentence of its help.
    """

    module: str
    summary: str


COMMANDS = {
    "compare": _Command("compare", "Compare two runs, or rank the paths of one race."),
    "demo": _Command("demo", "Race two paths on this machine, at distances of known length."),
    "doors": _Command("doors", "Find out which of an exchange's addresses brings its events first."),
    "export": _Command("export", "Write rows to FILE for other programs."),
    "hunt": _Command("hunt", "Say which hosts of a deployment may go."),
    "import": _Command(
        "importing", "Take in what others recorded: another recorder's CSV file, or egress validation runs."
    ),
    "monitoring": _Command("monitoring", "Run Prometheus and Alertmanager on the demo, or on daemons of yours."),
    "query": _Command("query", "Ask an archive in SQL."),
    "report": _Command("report", "Write a report about the runs in FOLDER and below."),
    "run": _Command("run", "Measure for a while, then say which path is faster and how sure that is."),
    "validate": _Command(
        "validate", "Measure every scenario of SUITE.toml, and hold what is found against what it expects."
    ),
    "watch": _Command(
        "watch", "Show what running daemons measure, as it changes: paths, leads, jitter, losses, requests and clocks."
    ),
}


class _Group(OurGroup):
    """Imports a command when it is called; ends with an error's own exit code and its one line, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (known := COMMANDS.get(cmd_name)) is None:
            return None
        module = importlib.import_module(f"experiments.commands.{known.module}")
        (command,) = (one for one in vars(module).values() if isinstance(one, click.Command))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing the commands."""
        names = [CompletionItem(name, help=one.summary) for name, one in sorted(COMMANDS.items())]
        return [item for item in names if item.value.startswith(incomplete)] or click.Command.shell_complete(
            self, ctx, incomplete
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LatencyError as error:
            from daemons.service.console.screen import error_line  # noqa: PLC0415 - of use to failures alone

            error_line(error)
            sys.exit(error.exit_code)


@click.group(cls=_Group, context_settings=CONTEXT)
@version_option()
def main() -> None:
    """Find out which path is faster, by how much, and how sure that is."""


if __name__ == "__main__":
    main()
