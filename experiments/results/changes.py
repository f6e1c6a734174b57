"""How much each transit time differs from the one before it of its stream: what jitter is the mean of.

The transit times of different streams do not succeed each other, nor do those of two runs: RFC 3550, section 6.4.1,
defines jitter for the packets of one source.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from experiments.results.columns import Floats, Integers

__all__ = ["Changes"]


class Changes:
    """Makes the column of changes, as its rows come.

    Args:
        streams: how many there are.
        starts: rows at which a run begins.
    """

    def __init__(self, streams: int, starts: Sequence[int] = (0,)) -> None:
        self._last = np.full(streams, np.nan)
        self._starts = np.asarray(starts, np.int64)
        self._run = 0

    def of(self, values: Floats, streams: npt.NDArray[np.uint16], rows: Integers) -> Floats:
        """Give the changes of the next values.

        Args:
            values: transit times in order of arrival, without NaN.
            streams: the number of each one's stream.
            rows: the number of each one's row; those of a run stand together.

        Returns:
            |D| of each value; NaN for the first of a stream in a run.
        """
        found = np.empty_like(values)
        runs = np.searchsorted(self._starts, rows, side="right")
        ends = np.flatnonzero(np.diff(runs)) + 1
        for begin, end in zip((0, *ends), (*ends, len(values)), strict=True):
            if begin == end:
                continue
            if runs[begin] != self._run:
                self._run = int(runs[begin])
                self._last[:] = np.nan
            found[begin:end] = self._of_one_run(values[begin:end], streams[begin:end])
        return found

    def _of_one_run(self, values: Floats, streams: npt.NDArray[np.uint16]) -> Floats:
        if len(self._last) == 1:
            found = np.abs(np.diff(values, prepend=self._last))
            self._last[0] = values[-1]
            return found
        order = np.argsort(streams, kind="stable")
        sorted_values, sorted_streams = values[order], streams[order]
        first = np.flatnonzero(np.diff(sorted_streams.astype(np.int32), prepend=-1))
        before = np.empty_like(values)
        before[1:] = sorted_values[:-1]
        before[first] = self._last[sorted_streams[first]]
        last = np.append(first[1:], len(values)) - 1
        self._last[sorted_streams[last]] = sorted_values[last]
        found = np.empty_like(values)
        found[order] = np.abs(sorted_values - before)
        return found
