"""Metric families made and filled in one statement, so that a metric's name, text and figures stand together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

__all__ = ["Rows", "counter", "each", "each_of", "gauge", "quantiles"]

Rows = Iterable[tuple[Sequence[str], float]]
"""Label values, and the figure that they have."""
_Label = TypeVar("_Label", bound=str)


def counter(name: str, documentation: str, labels: Sequence[str], rows: Rows) -> CounterMetricFamily:
    """Make a family of counters.

    Args:
        name: without ``_total``.
        documentation: the HELP text.
        labels: the label names.
        rows: the figures.
    """
    family = CounterMetricFamily(name, documentation, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def gauge(name: str, documentation: str, labels: Sequence[str], rows: Rows) -> GaugeMetricFamily:
    """Make a family of gauges; arguments as for :func:`counter`."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def quantiles(name: str, documentation: str, labels: Sequence[str], rows: Rows) -> SummaryMetricFamily:
    """Make a summary of quantiles alone; arguments as for :func:`counter`, and in a row the level comes last.

    That label belongs to summaries (https://prometheus.io/docs/instrumenting/exposition_formats/).
    """
    family = SummaryMetricFamily(name, documentation, labels=labels)
    for values, figure in rows:
        family.add_sample(name, dict(zip([*labels, "quantile"], values, strict=True)), figure)
    return family


def each(figures: Mapping[_Label, float]) -> Rows:
    """Give figures that stand under one label as rows."""
    return (([name], figure) for name, figure in figures.items())


def each_of(figures: Mapping[str, Mapping[_Label, float]]) -> Rows:
    """Give figures that stand under two labels, such as a path and a reason, as rows."""
    return (([name, below], figure) for name, inner in figures.items() for below, figure in inner.items())
