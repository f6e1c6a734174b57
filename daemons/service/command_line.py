"""What all our commands have in common, daemons and tools alike: ``-h``, the width of help, and the version line."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from daemons.service.distribution import DISTRIBUTION

__all__ = ["CONTEXT", "version_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of a command or group; the commands of a group inherit them."""


def version_option() -> Callable[[Command], Command]:
    """Add ``--version``, which prints the command's name and version, as in ``experiment 0.1.0``."""
    return click.version_option(package_name=DISTRIBUTION, message="%(prog)s %(version)s")
