"""Command-line options that the daemons have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from daemons.sections import LogFormat
from daemons.service.console.command_line import version_option

__all__ = ["common", "shared_sections"]

Command = TypeVar("Command", bound=Callable[..., Any])


def common(metrics: str) -> Callable[[Command], Command]:
    """Add the options every daemon has.

    Args:
        metrics: the default address of the metrics page, for the help text.
    """
    options = (
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="TOML file; flags override it.",
        ),
        click.option(
            "--metrics", metavar="HOST:PORT", help=f"Where to serve metrics; '' for nowhere.  [default: {metrics}]"
        ),
        click.option("--log-format", type=click.Choice(get_args(LogFormat)), help="[default: auto]"),
        click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="[default: info]"),
        click.option("--check-config", is_flag=True, help="Check the configuration and the files it names, then end."),
        version_option(),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def shared_sections(metrics: str | None, log_format: str | None, log_level: str | None) -> dict[str, Any]:
    """Return the overrides that the common options make."""
    return {"metrics": {"listen": metrics}, "log": {"format": log_format, "level": log_level}}
