"""The metrics page: prometheus_client's families, and our histograms rendered fast, in small pieces.

Counters that the hot path keeps are plain integers; a collector reads them at scrape time. Histograms are
:class:`~daemons.measurement.histogram.BucketHistogram` objects, whose samples are written here instead of by
prometheus_client: a page has thousands of bucket lines, which the library renders in some 3 µs each and this module
in 0.1 µs, so that a scrape does not delay the events being measured.
"""

import platform
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from daemons.measurement.histogram import Bounds, BucketHistogram
from daemons.service.distribution import DISTRIBUTION, installed_version
from daemons.service.log import logs
from daemons.service.metrics.loop_lag import LoopLag
from daemons.service.web.negotiation import takes_openmetrics
from daemons.service.web.pages import Page, Request, Route, text

__all__ = ["HistogramFamily", "MetricsPage", "landing", "registry"]

END = b"# EOF\n"
"""OpenMetrics' last line: a page that was cut off is no page."""


class HistogramFamily:
    """One histogram metric with its children, one for each combination of label values.

    Args:
        name: the metric's full name, with its unit: ``latency_receiver_backbone_seconds``.
        documentation: the HELP text.
        labels: the label names.
        bounds: the bucket boundaries that all children share.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Bounds) -> None:
        self.name = name
        self._documentation = documentation
        self.label_names = tuple(labels)
        self._bounds = bounds
        self._children: dict[tuple[str, ...], BucketHistogram] = {}
        self._prefixes: dict[tuple[str, ...], tuple[list[str], str, str]] = {}

    def labels(self, *values: str) -> BucketHistogram:
        """Return the child for these label values, made at first use; it then appears with zeros."""
        assert len(values) == len(self.label_names)
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = BucketHistogram(self._bounds)
        return child

    def remove(self, first: str) -> None:
        """Take all children off the page whose first label has this value."""
        for values in [values for values in self._children if values[0] == first]:
            del self._children[values]
            self._prefixes.pop(values, None)

    def render(self, *, om: bool = False) -> Iterator[bytes]:
        """Yield the text exposition: the head, then one piece a child.

        Args:
            om: as OpenMetrics, which escapes quotes in help. It also wants neither sum nor count of what may be
                negative; both stay, for a rule must find the same series whatever Prometheus asks for.
        """
        said = _escaped(self._documentation) if om else _escaped_help(self._documentation)
        yield f"# HELP {self.name} {said}\n# TYPE {self.name} histogram\n".encode()
        for values, child in tuple(self._children.items()):
            prefixes, total, count = self._prefixes.get(values) or self._prefix(values)
            # One copy, so that the buckets and the count of one scrape belong together.
            cumulative = list(accumulate(child.counts))
            seconds = child.sum_ns / 1e9
            lines = [prefix + str(value) for prefix, value in zip(prefixes, cumulative, strict=True)]
            lines += (f"{total}{seconds!r}", f"{count}{cumulative[-1]}", "")
            yield "\n".join(lines).encode()

    def _prefix(self, values: tuple[str, ...]) -> tuple[list[str], str, str]:
        pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(self.label_names, values, strict=True)]
        own = ",".join(pairs)
        head = own + "," if own else ""
        braces = "{" + own + "}" if own else ""
        buckets = [f'{self.name}_bucket{{{head}le="{le}"}} ' for le in (*self._bounds.le, "+Inf")]
        entry = (buckets, f"{self.name}_sum{braces} ", f"{self.name}_count{braces} ")
        self._prefixes[values] = entry
        return entry


class MetricsPage:
    """The ``/metrics`` page of a daemon.

    Args:
        source: families of counters and gauges.
        histograms: our own histogram families.
    """

    def __init__(self, source: CollectorRegistry, histograms: Iterable[HistogramFamily]) -> None:
        self._source = source
        self._histograms = tuple(histograms)

    async def __call__(self, request: Request) -> Page:
        om = takes_openmetrics(request.accept)
        return Page(self.chunks(om=om), openmetrics.CONTENT_TYPE_LATEST if om else CONTENT_TYPE_PLAIN_0_0_4)

    async def chunks(self, *, om: bool = False) -> AsyncIterator[bytes]:
        """Yield the page in pieces of a few dozen lines; the server gives the loop a turn between them."""
        for family in self._source.collect():
            one = _One(family)
            yield _openmetrics(one).removesuffix(END) if om else generate_latest(one)
        for histogram in self._histograms:
            for piece in histogram.render(om=om):
                yield piece
        if om:
            yield END


class _One(CollectorRegistry):
    """A registry of one family already collected, for the library's own renderer."""

    def __init__(self, family: Metric) -> None:
        super().__init__()
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def registry(daemon: str) -> CollectorRegistry:
    """Make a daemon's registry, inside its event loop: process metrics, the loop's lag and ``latency_build_info``."""
    own = CollectorRegistry()
    ProcessCollector(registry=own)
    own.register(LoopLag(daemon))
    own.register(_LogCollector(daemon))
    build = Gauge(
        "latency_build_info",
        "Constant 1, labelled with what is running",
        ["daemon", "version", "python"],
        registry=own,
    )
    build.labels(daemon, installed_version(), platform.python_version()).set(1)
    started = Gauge("latency_start_timestamp_seconds", "When this daemon started", ["daemon"], registry=own)
    started.labels(daemon).set(time.time())
    return own


class _LogCollector(Collector):
    """What the log of this process had no room for, and what nobody foresaw."""

    def __init__(self, daemon: str) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Metric]:
        dropped = CounterMetricFamily(
            "latency_log_lines_dropped",
            "Log lines that were not written: too many of their kind (limited), or nobody reads them (unread).",
            labels=["daemon", "reason"],
        )
        dropped.add_metric([self._daemon, "limited"], logs.limit.dropped)
        dropped.add_metric([self._daemon, "unread"], logs.writer.dropped)
        unexpected = CounterMetricFamily(
            "latency_unexpected_errors",
            "Exceptions that nobody foresaw, and that the daemon lives on after; the log has a line for each kind.",
            labels=["daemon"],
        )
        unexpected.add_metric([self._daemon], logs.counts.unexpected)
        yield from (dropped, unexpected)


def landing(title: str, links: dict[str, str]) -> Route:
    """Make a page that says what this is and links to the rest; what every daemon has is among it."""
    links = {
        "/metrics": "for Prometheus, as OpenMetrics where that is asked for",
        **links,
        "/-/healthy": "200 while the daemon lives",
        "/-/ready": "200 while it does its work, 503 and the reason while it does not",
    }
    items = "".join(f'<li><a href="{path}">{path}</a> {what}</li>' for path, what in links.items())
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto}</style>"
        f"<h1>{title}</h1><p>{DISTRIBUTION} {installed_version()}</p><ul>{items}</ul></html>\n"
    )

    async def route(_request: Request) -> Page:
        return Page(text(page), "text/html; charset=utf-8")

    return route


def _openmetrics(source: CollectorRegistry) -> bytes:
    rendered: bytes = openmetrics.generate_latest(source)  # type: ignore[no-untyped-call]
    return rendered


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escaped_help(value: Any) -> str:
    return str(value).replace("\\", r"\\").replace("\n", r"\n")
