"""The clock's metrics, the same for every daemon that measures one-way delay."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from daemons.records import ClockState

__all__ = ["clock_families"]


def clock_families(prefix: str, state: ClockState) -> Iterator[Metric]:
    """Yield the families of this host's clock state.

    Args:
        prefix: ``latency_<daemon>``.
        state: the state now.
    """
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
    yield CounterMetricFamily(f"{prefix}_clock_steps", "Steps of the wall clock noticed.", state.steps)
