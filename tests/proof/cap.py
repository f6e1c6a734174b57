"""What a proof may cost at most, item by item, computed before anything is spent."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from provisioning.cost import Item, Traffic, estimate
from provisioning.topology import Topology

__all__ = ["Cap", "spend_cap"]

REQUESTS_USD = 0.01
"""S3's requests and a few megabytes stored for an hour cost far less; EC2's and IAM's calls nothing."""
TRAFFIC = Traffic(link_gb=1.0, overlay_gb=1.0, internet_gb=1.0)
"""GB in all: bundles, an exchange's feed for an hour, and more than ten times that."""
SURELY = 1.5
"""Prices of the table may be old, and taxes come on top."""


@dataclass(frozen=True, slots=True)
class Cap:
    """An upper bound in USD."""

    hours: int
    items: tuple[Item, ...]
    surplus_hour: float
    date: str

    @property
    def total(self) -> float:
        """Everything for all the hours, rounded up to a cent."""
        each = sum(self._cost(item) for item in self.items) + self.surplus_hour * self.hours + REQUESTS_USD
        return math.ceil(each * SURELY * 100) / 100

    def _cost(self, item: Item) -> float:
        return (item.hour or 0.0) * self.hours + (item.per_gb or 0.0) * item.gb_per_30_days

    def lines(self, topology: str) -> Iterator[str]:
        """What is told before anything is done."""
        yield "This has been tested against an emulator only; it has not met a real account."
        yield f"It builds `{topology}` on the account of your credentials, measures a minute and removes everything."
        yield f"At most, with every step taking all its time ({self.hours} h, prices of {self.date}):"
        for item in self.items:
            yield f"  {self._cost(item):8.4f} USD  {item.what} ({item.where})"
        yield f"  {self.surplus_hour * self.hours:8.4f} USD  CPU credits beyond the baseline"
        yield f"  {REQUESTS_USD:8.4f} USD  requests and storage of S3"
        yield f"  {self.total:8.2f} USD  in all, with half as much again for old prices and taxes"


def spend_cap(topology: Topology, longest_seconds: float) -> Cap:
    """The bound for a topology that stands for so long; begun hours count whole."""
    result = estimate(topology, TRAFFIC)
    return Cap(math.ceil(longest_seconds / 3600), result.items, result.surplus_hour, result.date)
