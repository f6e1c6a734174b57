"""Reading a daemon's metrics page, as Prometheus would."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.lab.host import Host

__all__ = ["Scrape", "scrape"]


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one page."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    @classmethod
    def of(cls, page: str) -> Self:
        """Read a page in the text format."""
        return cls(
            tuple(
                (sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(page)
                for sample in family.samples
            )
        )

    def values(self, name: str, **labels: str) -> Iterable[float]:
        """Return all values of a metric whose labels include these."""
        return [
            value
            for sample, its, value in self.samples
            if sample == name and all(its.get(key) == wanted for key, wanted in labels.items())
        ]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over a metric's series with these labels.

        Raises:
            KeyError: there is none: a metric that is asked for and absent is never zero.
        """
        values = list(self.values(name, **labels))
        if not values:
            raise KeyError(f"{name} {labels}: no such series")
        return sum(values)


def scrape(host: Host, port: int) -> Scrape:
    """Read the page that a daemon of the host serves on loopback."""
    return Scrape.of(host.fetch(f"http://127.0.0.1:{port}/metrics"))
