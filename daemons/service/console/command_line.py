"""What all our commands have in common, daemons and tools alike: ``-h``, the width of help, and the version line."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from daemons.errors import ResultsError
from daemons.service.distribution import DISTRIBUTION

__all__ = ["CONTEXT", "OurCommand", "OurGroup", "version_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of a command or group; the commands of a group inherit them."""

_HYPHEN, _WHOLE = "-", "\u2011"
"""A hyphen, at which lines may end, and one at which none does."""


class _Formatter(click.HelpFormatter):
    """Help of which no line ends within a name such as ``latency-receiver``: who copies it would get half of it."""

    def write_text(self, text: str) -> None:
        super().write_text(text.replace(_HYPHEN, _WHOLE))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(name, text.replace(_HYPHEN, _WHOLE)) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_WHOLE, _HYPHEN)


class _Context(click.Context):
    formatter_class = _Formatter


class OurCommand(click.Command):
    """A command whose output, help included, may go to a disk that is full: told in a line, not by a traceback."""

    context_class = _Context

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run it, as click does.

        Raises:
            SystemExit: at the end, with the exit code.
        """
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            from daemons.service.console.screen import error_line  # noqa: PLC0415 - of use to failures alone

            error_line(f"output cannot be written: {error.strerror}; make room, or write elsewhere")
            # What is left in the buffer would be tried again at the end, in vain and with a traceback.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(ResultsError.exit_code)


class OurGroup(OurCommand, click.Group):
    """A group of which the same holds, and so of its commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; its help is formatted as ours."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            command.context_class = _Context
        return name, command, rest


def version_option() -> Callable[[Command], Command]:
    """Add ``--version``, which prints the command's name and version, as in ``experiment 0.1.0``."""
    return click.version_option(package_name=DISTRIBUTION, message="%(prog)s %(version)s")
