"""What a run folder shows: all its blocks as one comparison. Needs the extra ``report``."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from daemons.errors import ClockError
from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.table import print_comparison
from experiments.errors import InputError
from experiments.ranking.compute import rank
from experiments.ranking.table import print_ranking
from experiments.report.pooling import pool_runs, pool_ways
from experiments.results.run import find_runs, load_run

__all__ = ["conclude"]


def conclude(
    folder: Path, console: Console, paths: tuple[str, ...] = (), prices: Mapping[str, float] | None = None
) -> tuple[str, int]:
    """Compare what the folder's blocks measured, and print it.

    Args:
        folder: of the run.
        console: where to print.
        paths: the two paths, or those to rank; by default all that there are.
        prices: of paths, in US dollars a day.

    Returns:
        The verdict, and the exit code: that of an unfit clock when clocks do not allow one.

    Raises:
        InputError: the folder holds nothing that can be compared.
        ConfigError: there are not two paths, or no race has all of them.
    """
    sources = find_runs(folder)
    if not sources:
        raise InputError(folder, None, "no block measured anything", "see manifest.json for why")
    runs = [load_run(source) for source in sources]
    if (ways := pool_ways(folder, runs, paths)) is not None:
        ranking = rank(ways, list(ways.series), Options(), prices)
        print_ranking(console, ranking)
        return ranking.sentence, 0
    first, second = pool_runs(folder, runs, paths)
    comparison = compare(first, second, Options())
    print_comparison(console, comparison)
    if comparison.clock.refused:
        return comparison.verdict.sentence, ClockError.exit_code
    return comparison.verdict.sentence, 0
