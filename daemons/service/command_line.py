"""What all our commands have in common, daemons and tools alike: ``-h``, the width of help, and the version line."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from daemons.errors import ResultsError
from daemons.service.distribution import DISTRIBUTION

__all__ = ["CONTEXT", "OurCommand", "OurGroup", "version_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of a command or group; the commands of a group inherit them."""


class OurCommand(click.Command):
    """A command whose output, help included, may go to a disk that is full: told in a line, not by a traceback."""

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
            from daemons.service.screen import error_line  # noqa: PLC0415 - of use to failures alone

            error_line(f"output cannot be written: {error.strerror}; make room, or write elsewhere")
            # What is left in the buffer would be tried again at the end, in vain and with a traceback.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(ResultsError.exit_code)


class OurGroup(OurCommand, click.Group):
    """A group of which the same holds, and so of its commands."""


def version_option() -> Callable[[Command], Command]:
    """Add ``--version``, which prints the command's name and version, as in ``experiment 0.1.0``."""
    return click.version_option(package_name=DISTRIBUTION, message="%(prog)s %(version)s")
