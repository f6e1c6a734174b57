"""The rows of one path, made to order."""

import numpy as np

from experiments.results.series import Floats, PathSeries


def path_series(name: str, event_ns: np.ndarray, delay_ms: Floats, lost: np.ndarray, *, link: bool) -> PathSeries:
    """Give a path's rows in order of arrival; a link numbers its events before they are lost."""
    kept = np.flatnonzero(~lost)
    arrival = event_ns + np.round(delay_ms * 1e6).astype(np.int64)
    kept = kept[np.argsort(arrival[kept], kind="stable")]
    return PathSeries(
        name=name,
        sequence=kept + 1 if link else np.zeros(len(kept), np.int64),
        arrival_ns=arrival[kept],
        end_to_end_ms=delay_ms[kept],
        backbone_ms=delay_ms[kept] - 2 if link else np.full(len(kept), np.nan),
        event_fraction_ns=np.zeros(len(kept), np.int32),
        forwarder_fraction_ns=np.zeros(len(kept), np.int32),
        event_id=kept + 70_000,
        stream=np.zeros(len(kept), np.uint16),
        live=np.ones(len(kept), bool),
        first_line={"": 2},
    )
