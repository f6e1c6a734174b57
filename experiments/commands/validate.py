"""``experiment validate``: is the egress set-up what it should be, by a file of expectations."""

from pathlib import Path
from typing import Any

import click

from experiments.commands.host_options import host_options

__all__ = ["validate_command"]


@click.command("validate")
@click.argument("suite_file", metavar="SUITE.toml", type=click.Path(path_type=Path, dir_okay=False))
@host_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="New or empty.  [default: validation-DATE-TIME]",
)
def validate_command(suite_file: Path, output: Path | None, **flags: Any) -> None:
    """Measure every scenario of SUITE.toml, and hold what is found against what it expects.

    Phases of a scenario: preflight, cold and warm requests, and, where the file has them, round trips through the
    overlay, the route, and the egress identity. Each passes, fails, or is inconclusive; nothing passes without samples.

    Exits with 0 when all passed, 1 when something failed, 9 when nothing failed but something is inconclusive, 2 for
    a bad file or option, and 130 when it was interrupted.
    """
    from experiments.commands.validating import validate_suite  # noqa: PLC0415 - of no use to --help

    validate_suite(suite_file, output, flags)
