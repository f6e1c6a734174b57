"""``experiment validate``: is the egress set-up what it should be, by a file of expectations."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from daemons.service.lifecycle import INTERRUPTED
from daemons.service.screen import screen, sentence
from experiments.commands.host_options import host_options, inventory_from
from experiments.extra import missing_of
from experiments.folder import new_folder
from experiments.validation.config import load_suite
from experiments.validation.suite import ValidationRun
from experiments.validation.writing import write_results

__all__ = ["EXIT_CODES", "validate_command"]

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 9}


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
    suite = load_suite(suite_file)
    console = screen()
    with inventory_from(flags) as inventory:
        run = ValidationRun(suite, inventory, console)
        folder = new_folder(output, "validation")
        result = asyncio.run(run.run(folder, lambda found: write_results(folder, found)))
    if suite.baseline and (missing := missing_of("compare")):
        result.comparisons = [f"not compared: {', '.join(missing)} not installed"]
    elif suite.baseline:
        from experiments.validation.differences import differences  # noqa: PLC0415 - numpy belongs to the extra

        result.comparisons = differences(suite, folder)
    write_results(folder, result)
    for comparison in result.comparisons:
        sentence(console, comparison)
    sentence(console, f"{result.outcome}: {folder / 'validation.html'}, .md and .json")
    sys.exit(INTERRUPTED if run.interrupted else EXIT_CODES[result.outcome])
