"""The clock's metrics, the same for every daemon that measures one-way delay."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from daemons.records import ClockReport

__all__ = ["clock_families"]


def clock_families(prefix: str, report: ClockReport) -> Iterator[Metric]:
    """Yield the families of this host's clock state.

    Args:
        prefix: ``latency_<daemon>``.
        report: what is known now.
    """
    state = report.state
    yield GaugeMetricFamily(
        f"{prefix}_clock_synchronized", "1 while something disciplines this host's clock.", int(state.synchronized)
    )
    yield GaugeMetricFamily(
        f"{prefix}_clock_offset_seconds",
        "Estimated error of the clock; positive: ahead.",
        state.offset_ns / 1e9,
    )
    bound = state.error_bound_ns
    yield GaugeMetricFamily(
        f"{prefix}_clock_error_bound_seconds",
        "|offset| + root dispersion + root delay / 2, aged; NaN while unknown.",
        float("nan") if bound is None else bound / 1e9,
    )
    yield CounterMetricFamily(
        f"{prefix}_clock_steps", "Steps of the wall clock noticed, and disruptions by the host.", state.steps
    )
    beside = GaugeMetricFamily(
        f"{prefix}_clock_source_error_bound_seconds",
        "Error bound that each source gives: chrony, the kernel, the interface's own clock (phc).",
        labels=["source"],
    )
    for source, source_ns in report.bounds_ns.items():
        beside.add_metric([source], source_ns / 1e9)
    yield beside
    yield GaugeMetricFamily(
        f"{prefix}_clock_disruptions_told",
        "1 where the machine's host tells of disruptions (VMClock).",
        int(report.has_device),
    )
    yield CounterMetricFamily(
        f"{prefix}_clock_disruptions", "Disruptions of the clock that the machine's host told of.", report.disruptions
    )
    yield GaugeMetricFamily(
        f"{prefix}_clock_disrupted", "1 from a disruption until the clock is believed again.", int(state.disrupted)
    )
