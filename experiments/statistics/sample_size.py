"""Which percentiles a sample can have; no numpy here, for hosts that only measure."""

from daemons.measurement.sample_size import minimum_samples

__all__ = ["PERCENTILES", "minimum_samples", "supported"]

PERCENTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def supported(count: float) -> list[str]:
    """Name the percentiles that a sample of so many can have.

    >>> supported(400)
    ['median', 'p95', 'p99']
    """
    return [name for name, p in PERCENTILES.items() if count >= minimum_samples(p)]
