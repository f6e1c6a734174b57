"""Egress runs as sides of a comparison."""

from pathlib import Path

import numpy as np

from experiments.comparison.sides import Side
from experiments.egress.audit import Audit, cold_samples, warm_samples
from experiments.results.run import Run
from experiments.results.series import Floats, PathSeries

__all__ = ["cold_side", "round_trip_side", "warm_side"]


def warm_side(audited: Audit) -> Side:
    """Give the warm requests of a run."""
    return _side(audited, warm_samples(audited.run), "warm")


def cold_side(audited: Audit) -> Side:
    """Give the cold requests of a run."""
    return _side(audited, cold_samples(audited.run), "cold")


def _side(audited: Audit, total_ms: Floats, connection: str) -> Side:
    return round_trip_side(audited.scenario, connection, audited.run.folder, total_ms)


def round_trip_side(label: str, connection: str, source: Path, total_ms: Floats) -> Side:
    """Give requests as a side of a comparison.

    Args:
        label: of the side.
        connection: cold or warm.
        source: where they came from.
        total_ms: of the answered requests, in order of time.
    """
    count = len(total_ms)
    nothing = np.zeros(count, np.int64)
    series = PathSeries(
        name=connection,
        sequence=nothing,
        arrival_ns=nothing,
        end_to_end_ms=total_ms,
        backbone_ms=np.full(count, np.nan),
        event_fraction_ns=np.zeros(count, np.int32),
        forwarder_fraction_ns=np.zeros(count, np.int32),
        event_id=nothing,
        stream=np.zeros(count, np.uint16),
        live=np.ones(count, np.bool_),
    )
    return Side(label, connection, Run(source, None, {connection: series}))
