"""What the account of a path fills in: a run's distributions and the live histograms."""

from collections.abc import Callable
from dataclasses import dataclass, field

from daemons.measurement.histogram import BucketHistogram, QuantileHistogram, octaves

__all__ = ["Figures", "Instruments"]


@dataclass(slots=True)
class Figures:
    """Fine-grained distributions that the report of a run needs, in nanoseconds.

    A backbone latency is the forwarder's hold (arrival there to departure) and the one-way delay (departure to arrival
    here, RFC 7679); both are kept, so that the measurer's own share can be told from the network's.
    """

    end_to_end: QuantileHistogram = field(default_factory=QuantileHistogram)
    backbone: QuantileHistogram = field(default_factory=QuantileHistogram)
    hold: QuantileHistogram = field(default_factory=QuantileHistogram)
    one_way: QuantileHistogram = field(default_factory=QuantileHistogram)
    host_delay: QuantileHistogram = field(default_factory=QuantileHistogram)
    rtt: QuantileHistogram = field(default_factory=QuantileHistogram)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The live histograms that a path feeds.

    Attributes:
        end_to_end, backbone: made for each stream as it appears.
        delayed: time in transit of events that waited in an outage, kept apart.
        host_delay: arrival stamp to handling.
        segments: made for each part of a link's delay; of a feed there are none.
    """

    end_to_end: Callable[[str], BucketHistogram]
    backbone: Callable[[str], BucketHistogram]
    delayed: BucketHistogram
    host_delay: BucketHistogram
    segments: Callable[[str], BucketHistogram] = lambda _name: BucketHistogram(octaves(-20, 4))
