"""Egress runs as sides of a comparison."""

import numpy as np

from experiments.comparison.sides import Side
from experiments.egress.audit import Audit, warm_samples
from experiments.results.run import Run
from experiments.results.series import Floats, PathSeries

__all__ = ["cold_side", "warm_side"]


def warm_side(audited: Audit) -> Side:
    """Give the warm requests of a run."""
    return _side(audited, warm_samples(audited.run), "warm")


def cold_side(audited: Audit) -> Side:
    """Give the cold requests of a run."""
    return _side(audited, audited.run.cold.total_ms[audited.run.cold.connected], "cold")


def _side(audited: Audit, total_ms: Floats, connection: str) -> Side:
    count = len(total_ms)
    nothing = np.zeros(count, np.int64)
    series = PathSeries(
        name=connection,
        sequence=nothing,
        arrival_ns=nothing,
        end_to_end_ms=total_ms,
        backbone_ms=np.full(count, np.nan),
        event_id=nothing,
        stream=np.zeros(count, np.uint16),
        live=np.ones(count, np.bool_),
    )
    return Side(audited.scenario, connection, Run(audited.run.folder, None, {connection: series}))
