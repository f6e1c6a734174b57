"""Reading a daemon's metrics page, as Prometheus would, for tables in a terminal."""

import asyncio
import contextlib
import errno
import math
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from daemons.errors import LatencyError
from daemons.measurement.percentile import minimum_samples

__all__ = ["Labels", "NoPage", "PageAnswer", "ScrapedPage", "SlowError", "asked", "fetch", "parse", "quantile"]

CONNECT_SECONDS = 3.0
PAGE_SECONDS = 10.0
"""As long as Prometheus waits, unless told otherwise."""
MAX_BYTES = 64 << 20

Labels = frozenset[tuple[str, str]]


class SlowError(LatencyError):
    """Something listens there, and its page does not come in time: a busy host, or a daemon that hangs."""


class NoPage(NamedTuple):
    """Why there is no page.

    Attributes:
        why: in words.
        state: ``gone``, or ``slow`` where something listens.
    """

    why: str
    state: str = "gone"


class PageAnswer(NamedTuple):
    """A page that is yet to be parsed, and when it came.

    Attributes:
        at: on the monotonic scale, in seconds.
        wall: since 1970, in seconds.
        body: what it says.
    """

    at: float
    wall: float
    body: bytes


@dataclass(frozen=True, slots=True)
class ScrapedPage:
    """All samples of one page, by name and labels."""

    samples: Mapping[str, Mapping[Labels, float]]

    def total(self, name: str, **labels: str) -> float:
        """Sum the samples of a name that carry these labels."""
        wanted = set(labels.items())
        return sum(value for own, value in self.samples.get(name, {}).items() if wanted <= own)

    def value(self, name: str, **labels: str) -> float | None:
        """Return the first sample of a name with these labels; None if there is none or it is NaN."""
        wanted = set(labels.items())
        for own, value in self.samples.get(name, {}).items():
            if wanted <= own and not math.isnan(value):
                return value
        return None

    def percentile(self, name: str, fraction: float, **labels: str) -> float | None:
        """Estimate a histogram's quantile, over the children with these labels; None where the sample is too small."""
        buckets = self.buckets(name, **labels)
        return quantile(buckets, fraction) if _count(buckets) >= minimum_samples(fraction) else None

    def run_delay(self, path: str, fraction: float) -> float | None:
        """Give a path's delay quantile in seconds: a run's fine figure where the receiver keeps it, else of buckets.

        None where the sample is too small for it.
        """
        fine = self.value("latency_receiver_run_delay_seconds", path=path, quantile=f"{fraction:g}")
        return self._finest(fine, "latency_receiver_end_to_end_seconds", fraction, path=path)

    def run_lead(self, **pair: str) -> float | None:
        """Give a pair's median lead in seconds, likewise."""
        fine = self.value("latency_receiver_run_lead_seconds", **pair)
        return self._finest(fine, "latency_receiver_path_lead_seconds", 0.5, **pair)

    def _finest(self, fine: float | None, name: str, fraction: float, **labels: str) -> float | None:
        if fine is None:
            return self.percentile(name, fraction, **labels)
        return fine if _count(self.buckets(name, **labels)) >= minimum_samples(fraction) else None

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """Add up the cumulative buckets of a histogram over the children with these labels."""
        wanted = set(labels.items())
        summed: dict[float, float] = defaultdict(float)
        for own, value in self.samples.get(f"{name}_bucket", {}).items():
            if wanted <= own:
                summed[float(dict(own)["le"])] += value
        return dict(sorted(summed.items()))


async def fetch(address: str) -> ScrapedPage:
    """Get ``http://ADDRESS/metrics``.

    Raises:
        LatencyError: as :func:`asked` and :func:`parse` say.
    """
    return parse(address, (await asked(address)).body)


async def asked(address: str) -> PageAnswer:
    """Ask for a page.

    Raises:
        SlowError: something listens there, and does not answer in time.
        LatencyError: nothing answers there, or with an error.
    """
    try:
        answer = await _answer(address)
        at, wall = time.monotonic(), time.time()
    except TimeoutError as error:
        why = f"no answer within {CONNECT_SECONDS:g} s"
        raise LatencyError(f"{address}: no metrics ({why}); is the daemon running?") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise LatencyError(f"{address}: no metrics ({why}); is the daemon running?") from error
    head, _blank, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].split(b" ", 2)
    if len(status) < 2 or status[1] != b"200":
        said = head[:60].decode("latin-1").partition("\r\n")[0] or "nothing"
        raise LatencyError(f"{address}: no metrics (it said {said!r}); is it an exporter of ours?")
    return PageAnswer(at, wall, body)


def parse(address: str, body: bytes) -> ScrapedPage:
    """Read a page.

    Raises:
        LatencyError: it is not in Prometheus' text format, or has no metric of ours.
    """
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    try:
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                samples[sample.name][frozenset(sample.labels.items())] = sample.value
    except (ValueError, KeyError, IndexError) as error:
        raise LatencyError(f"{address}: no metrics (not in their format); is it an exporter of ours?") from error
    if not any(name.startswith("latency_") for name in samples):
        raise LatencyError(f"{address}: no metrics (none of ours); is it an exporter of ours?")
    return ScrapedPage(samples)


async def _answer(address: str) -> bytes:
    """Connect, ask, and read to the end.

    Raises:
        SlowError: the connection stands, and the page has not come in time.
        TimeoutError: no connection in time.
        OSError: no connection, it broke, or there is no end of it.
    """
    host, _colon, port = address.rpartition(":")
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            return await _bounded(reader)
    except TimeoutError as error:
        why = f"it listens, and its page has not come within {PAGE_SECONDS:g} s"
        raise SlowError(f"{address}: {why}; its host is busy, or it hangs") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _bounded(reader: asyncio.StreamReader) -> bytes:
    """Read to the end, or until it is more than any page of ours."""
    answer = bytearray()
    while piece := await reader.read(1 << 16):
        answer += piece
        if len(answer) > MAX_BYTES:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    return bytes(answer)


def quantile(buckets: Mapping[float, float], fraction: float) -> float | None:
    """Estimate a quantile from cumulative buckets, interpolating within one as ``histogram_quantile`` does.

    Args:
        buckets: upper bound to cumulative count, ascending, up to +Inf.
        fraction: 0 to 1.

    Returns:
        The estimate in the buckets' unit; None without samples.
    """
    total = _count(buckets)
    if not total:
        return None
    rank = fraction * total
    below, count_below = None, 0.0
    for bound, count in buckets.items():
        if count >= rank:
            if math.isinf(bound):
                return below
            if below is None:
                return bound
            share = (rank - count_below) / (count - count_below) if count > count_below else 1.0
            return below + (bound - below) * share
        below, count_below = bound, count
    return below


def _count(buckets: Mapping[float, float]) -> float:
    return max(buckets.values(), default=0.0)
