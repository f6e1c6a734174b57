"""A run: the JSON file, the CSV file beside it, or whichever of the two there is."""

import contextlib
import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

from daemons.formats.rows import ORIGINAL_COLUMNS
from daemons.formats.summary import RunSummary
from experiments.archive.selection import EVERYTHING, Selection, is_archive
from experiments.errors import InputError
from experiments.results.rows import header_of, load_rows
from experiments.results.segments import load_segments
from experiments.results.series import PathSeries
from experiments.results.summary import is_unfinished, load_summary

__all__ = ["Run", "find_runs", "load_run"]


@dataclass(frozen=True)
class Run:
    """What is known of one run.

    Attributes:
        source: the file that was named.
        summary: from the JSON file, None when there is none.
        series: per path, from the CSV file; empty when there is none.
        rows_source: the CSV file, None when there is none.
        unfinished: the JSON file says that the run has not ended, so only its rows are known.
    """

    source: Path
    summary: RunSummary | None
    series: dict[str, PathSeries] = field(default_factory=dict)
    rows_source: Path | None = None
    unfinished: bool = False

    def path_names(self) -> list[str]:
        """Name the paths, those of the summary first."""
        named = list(self.summary.paths) if self.summary is not None else []
        return named + [name for name in self.series if name not in named] or [self.default_path()]

    def default_path(self) -> str:
        """Name the path that is meant when none is named: the primary one, or the first link."""
        if self.summary is None and self.series:
            return next((name for name, series in self.series.items() if not series.is_feed), next(iter(self.series)))
        return _default_path(self.source, self.summary)


def load_run(
    source: Path,
    *,
    rows: bool = True,
    selection: Selection = EVERYTHING,
    paths: tuple[str, ...] = (),
    without: frozenset[str] = frozenset(),
) -> Run:
    """Load a run from its JSON or CSV file, and the other one of the two when it lies beside it; or from an archive.

    Args:
        source: a ``.json`` or ``.csv`` file, or a folder that holds exactly one run, or an archive's.
        selection: which of its rows.
        paths: the only ones of an archive that need be read; all when none is named.
        without: columns of the series that are not to be kept.
        rows: whether to read the CSV file too when a JSON file is named.

    Raises:
        InputError: a file is unusable, or the folder does not hold exactly one run.
    """
    if is_archive(source):
        archived, facts = load_segments(source, selection, paths, without)
        return Run(source, facts, archived, source)
    if source.is_dir():
        found = find_runs(source)
        if len(found) != 1:
            names = ", ".join(str(path.relative_to(source)) for path in found) or "none"
            raise InputError(source, None, f"holds {len(found)} runs ({names})", "name one results file")
        source = found[0]
    if not source.exists():
        raise InputError(source, None, "no such file", "check the name; a run leaves a .json and a .csv file")
    if source.suffix not in {".json", ".csv"}:
        raise InputError(source, None, "neither .json nor .csv", "name a results file of latency-receiver")
    described, table = source.with_suffix(".json"), source.with_suffix(".csv")
    # Who names the JSON file need not have a results table beside it: a file of another kind is none of ours.
    has_rows = source == table or (rows and table.exists() and _is_table(table))
    described_here = source == described or (described.exists() and not _is_what_we_print_into(described))
    unfinished = has_rows and described_here and (is_unfinished(described) or not described.stat().st_size)
    summary = load_summary(described) if described_here and not unfinished else None
    if not has_rows:
        if selection != EVERYTHING:
            raise InputError(source, None, "has no rows to select from", "put the run's CSV file beside its JSON file")
        return Run(source, summary)
    series = load_rows(table, _default_path(source, summary), without)
    if selection != EVERYTHING:
        series = _selected(table, series, selection)
    return Run(source, summary, series, table, unfinished)


def _is_what_we_print_into(file: Path) -> bool:
    """Tell whether standard output goes to this file: ``compare r.csv … --json > r.json`` has made it, not a run."""
    with contextlib.suppress(OSError):
        return os.path.samestat(file.stat(), os.fstat(1))
    return False


def _selected(table: Path, series: dict[str, PathSeries], selection: Selection) -> dict[str, PathSeries]:
    if selection.receivers:
        raise InputError(table, None, "is no archive: it does not say which receiver wrote a row", "omit --receiver")
    if selection.streams:
        series = {name: one.only_streams(set(selection.streams)) for name, one in series.items()}
    selected = {name: one.only_between(selection.from_ns, selection.to_ns) for name, one in series.items()}
    if not (found := {name: one for name, one in selected.items() if len(one)}):
        raise InputError(table, None, "no such rows", "give another --from, --to or --stream")
    return found


def find_runs(folder: Path) -> list[Path]:
    """Find the result files in a folder and those below it, in order of name: JSON, or CSV without its JSON.

    An archive is one run. What goes while it is looked at, as a file that a run writes and renames, is not there.

    Raises:
        InputError: there is no such folder, or a file cannot be read.
    """
    if is_archive(folder):
        return [folder]
    if not folder.is_dir():
        why = "not a folder" if folder.exists() else "no such folder"
        raise InputError(folder, None, why, "name the folder of a run")
    summaries = [path for path in sorted(folder.rglob("*.json")) if _is_summary(path)]
    tables = [
        path for path in sorted(folder.rglob("*.csv")) if path.with_suffix(".json") not in summaries and _is_table(path)
    ]
    return summaries + tables


def _is_summary(path: Path) -> bool:
    """Tell a results file from other JSON files by its first bytes; a broken one is to be reported, not skipped."""
    # A pipe would be waited for.
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path, error) from error
    return b'"setup_type"' in start or is_unfinished(path)


def _is_table(path: Path) -> bool:
    """Tell a results table from other CSV files by its header, however that is quoted and ordered."""
    if not path.is_file():
        return False
    try:
        return set(ORIGINAL_COLUMNS) <= set(header_of(path))
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return False
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(path, None, f"cannot be read: {error.strerror}", "move it elsewhere, or ask as who may read it")


def _default_path(source: Path, summary: RunSummary | None) -> str:
    if summary is None:
        return source.stem
    return summary.primary_path or next(iter(summary.paths), None) or summary.setup_type
