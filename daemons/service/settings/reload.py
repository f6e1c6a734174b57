"""Reading the configuration again on SIGHUP: all of it is taken, or none, and which it was can be seen in a metric."""

import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from daemons.errors import LatencyError
from daemons.sections import Section
from daemons.service.settings.config import effective

__all__ = ["Reloader"]

ConfigT = TypeVar("ConfigT", bound=Section)


class Reloader(Generic[ConfigT]):
    """Keeps the configuration in force.

    Args:
        config: the first one.
        reread: loads it again from the same file and flags.
        prefix: ``latency_<daemon>``.
    """

    def __init__(self, config: ConfigT, reread: Callable[[], ConfigT], prefix: str) -> None:
        self.config = config
        self._reread = reread
        self._prefix = prefix
        self._successful = True
        self._at = time.time()
        self._log = structlog.get_logger("config")

    def reload(self, check: Callable[[ConfigT, ConfigT], None]) -> ConfigT | None:
        """Load the configuration again.

        Args:
            check: raises ConfigError when the step from the old to the new one cannot be made while running.

        Returns:
            The new configuration, now in force; None when it is bad, and the old one stays.
        """
        try:
            config = self._reread()
            check(self.config, config)
        except LatencyError as error:
            self._successful = False
            self._log.error("reload refused; the old configuration stays", error=str(error))
            return None
        self.config = config
        self._successful = True
        self._at = time.time()
        self._log.info("reloaded", config=effective(config))
        return config

    def families(self) -> Iterator[Metric]:
        """Yield the metrics of the last reload."""
        yield GaugeMetricFamily(
            f"{self._prefix}_config_last_reload_successful",
            "1 unless the last reload was refused and an old configuration is in force.",
            int(self._successful),
        )
        yield GaugeMetricFamily(
            f"{self._prefix}_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded.",
            self._at,
        )
