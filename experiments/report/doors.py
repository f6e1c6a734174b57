"""The report on a race of an exchange's doors."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from experiments.doors.model import FILE, DoorRow, DoorsRun
from experiments.doors.record import BLOCKS_FILE, COLUMNS
from experiments.errors import InputError
from experiments.report import figures
from experiments.report.colophon import program, written
from experiments.report.document import Drawing
from experiments.report.render import environment
from experiments.results.series import Floats

__all__ = ["DoorsDocument", "build_doors", "render_doors_html", "render_doors_markdown"]

_MOST_BINS = 60
_MOST_DRAWN = 24
"""Of the doors, the earliest: more strips cannot be told apart."""
_REMEDY = "name the folder of a whole run of experiment doors"


@dataclass(frozen=True)
class DoorsDocument:
    """A report."""

    folder: str
    written: str
    program: str
    run: DoorsRun
    drawings: list[Drawing]


def build_doors(folder: Path) -> DoorsDocument:
    """Read a run's folder, and draw.

    Raises:
        InputError: it is no such run, or cut off.
    """
    file = folder / FILE
    try:
        run = msgspec.json.decode(file.read_bytes(), type=DoorsRun)
    except (msgspec.DecodeError, OSError) as error:
        raise InputError(file, None, str(error), _REMEDY) from error
    ranked = [door for door in run.doors if door.behind_ms is not None][:_MOST_DRAWN]
    drawings = []
    if len(ranked) > 1:
        lags = _lags(folder / BLOCKS_FILE, [door.address for door in ranked], run.blocks)
        drawings = [_behind(run, ranked), *_over_time(run, ranked, lags)]
    return DoorsDocument(
        folder=folder.resolve().name,
        written=written(),
        program=program(),
        run=run,
        drawings=drawings,
    )


def render_doors_html(document: DoorsDocument) -> str:
    """Give the report as HTML."""
    return environment().get_template("doors.html.j2").render(document=document, run=document.run)


def render_doors_markdown(document: DoorsDocument) -> str:
    """Give the report as Markdown, without figures."""
    return environment().get_template("doors.md.j2").render(document=document, run=document.run)


def _lags(file: Path, addresses: list[str], blocks: int) -> Floats:
    """Read doors x blocks of lags; NaN where a door was not there."""
    lags = np.full((len(addresses), blocks), np.nan)
    row_of = {address: row for row, address in enumerate(addresses)}
    line = 0
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream)
            if tuple(next(rows, ())) != COLUMNS:
                raise InputError(file, 1, f"the columns are not {', '.join(COLUMNS)}", _REMEDY)
            for row in rows:
                line = rows.line_num
                block, _start, address, lag, _events, _first = row
                # The record is written after the blocks: those that it does not know were added before a crash.
                if lag and address in row_of and int(block) < blocks:
                    lags[row_of[address], int(block)] = float(lag)
    except (ValueError, OSError) as error:
        raise InputError(file, line, str(error), _REMEDY) from error
    return lags


def _behind(run: DoorsRun, ranked: list[DoorRow]) -> Drawing:
    first = ranked[0].address
    bars = [
        figures.Bar(door.address, door.behind_ms or 0.0, door.behind_low_ms, door.behind_high_ms) for door in ranked
    ]
    return Drawing(
        f"Behind {first}",
        f"How much later than {first} a door had the same events, in the mean of blocks. The intervals hold for all "
        f"pairs, and at all looks, together at {run.confidence * 100:g} %; one that reaches 0 cannot be told from "
        f"{first}.",
        figures.intervals(bars, f"behind {first}, ms"),
    )


def _over_time(run: DoorsRun, ranked: list[DoorRow], lags: Floats) -> list[Drawing]:
    """Draw each door's lag over time, against the first one's."""
    bins = min(_MOST_BINS, run.blocks)
    if not bins or np.isnan(lags).all():
        return []
    edges = np.linspace(0, run.blocks, bins + 1)
    values = np.full((len(ranked), bins), math.nan)
    common = float(np.nanmedian(lags[0])) if not np.isnan(lags[0]).all() else 0.0
    for index in range(bins):
        piece = lags[:, round(edges[index]) : round(edges[index + 1])]
        for row, part in enumerate(piece):
            if not np.isnan(part).all():
                values[row, index] = np.nanmedian(part) - common
    return [
        Drawing(
            "Over time",
            f"Each door's median lag in up to {_MOST_BINS} bins of equal length, less the run's median of "
            f"{ranked[0].address}; white where a door was not there. A door that is better for a while only changes "
            "its colour.",
            figures.strips([door.address for door in ranked], edges * run.block_seconds, values),
        )
    ]
