"""What ``experiment compare`` does."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from daemons.errors import ClockError
from daemons.service.console.screen import error_line, screen
from experiments.archive.bucket import Bucket, at_hand
from experiments.archive.selection import Selection
from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import METRICS
from experiments.comparison.sides import sides_of
from experiments.comparison.table import print_comparison
from experiments.ranking.compute import rank
from experiments.ranking.paths import ranked_paths
from experiments.ranking.table import print_ranking
from experiments.results.run import load_run
from experiments.results.series import unused_columns
from experiments.runs.manifest import recorded_prices

__all__ = ["compare_sources"]


def compare_sources(
    sources: tuple[Path | Bucket, ...],
    paths: tuple[str, ...],
    selection: Selection,
    metric: str,
    margin_ms: float,
    confidence: float,
    seed: int,
    prices: Mapping[str, float],
    *,
    as_json: bool,
) -> None:
    """Compare, print, and end with the exit code; the arguments are the command's, and what paths cost a day.

    Raises:
        LatencyError: the sources cannot be read or compared.
        SystemExit: clocks do not allow the comparison.
    """
    options = Options(metric=METRICS[metric], margin_ms=margin_ms, confidence=confidence, seed=seed)
    runs, different = [], dict.fromkeys(sources)
    without = unused_columns(options.metric, race=len(different) == 1)
    for source in different:
        with at_hand(source, selection, paths) as here:
            runs.append(load_run(here, selection=selection, paths=paths, without=without))
    if (names := ranked_paths(runs, paths)) is not None:
        if not prices and isinstance(sources[0], Path):
            prices = recorded_prices(sources[0])
        ranking = rank(runs[0], names, options, prices)
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(ranking), indent=2))
        else:
            print_ranking(screen(), ranking)
        return
    comparison = compare(*sides_of(runs, paths), options)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(comparison), indent=2))
    else:
        print_comparison(screen(), comparison)
    if comparison.clock.refused:
        # The table has said so above; whoever reads JSON from a program sees standard error alone.
        if as_json:
            error_line(comparison.clock.refused)
        sys.exit(ClockError.exit_code)
