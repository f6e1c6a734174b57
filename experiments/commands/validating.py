"""What ``experiment validate`` does."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from daemons.service.console.screen import screen, sentence
from daemons.service.extra import missing_of
from daemons.service.lifecycle import INTERRUPTED
from experiments.commands.host_options import inventory_from
from experiments.folder import new_folder
from experiments.validation.config import load_suite
from experiments.validation.suite import ValidationRun
from experiments.validation.writing import write_results

__all__ = ["validate_suite"]

_EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 9}


def validate_suite(suite_file: Path, output: Path | None, flags: dict[str, Any]) -> None:
    """Measure, print, and end with the exit code.

    Args:
        suite_file: what is measured, and what is expected of it.
        output: folder for the results; None for a new one.
        flags: which hosts, for :func:`inventory_from`.

    Raises:
        LatencyError: the file is bad, or a host cannot be reached.
        SystemExit: at the end, with the exit code.
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
    sys.exit(INTERRUPTED if run.interrupted else _EXIT_CODES[result.outcome])
