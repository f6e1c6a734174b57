"""Which events become samples, and what is told of them."""

import itertools
import random
from dataclasses import dataclass

from daemons.link.decoder import FrameDecoder
from daemons.link.messages import Departure, Departures
from daemons.link.sending.sampling import SAMPLE_NS, Sampling
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.records import Stamp, StampKind, exact


@dataclass
class Counts:
    samples: int = 0
    sampled: int = 0


def made() -> tuple[Sampling, Counts, BucketHistogram]:
    counts, hold = Counts(), BucketHistogram(octaves(-20, 4))
    return Sampling(counts, hold, random.Random(1)), counts, hold


def arrived(steady_ns: int, kind: StampKind = StampKind.KERNEL, *, step_ns: int = 0) -> Stamp:
    return Stamp(1_000_000 + steady_ns, kind, 1_000_000 + steady_ns, steady_ns, step_ns)


def test_samples_are_uneven_distances_apart_and_have_exact_arrivals() -> None:
    sampling, counts, _hold = made()
    assert not any(sampling.is_due(arrived(0, kind)) for kind in StampKind if not exact(kind))
    chosen: list[int] = []
    for steady_ns in range(0, 20 * SAMPLE_NS, SAMPLE_NS // 100):
        if sampling.is_due(arrived(steady_ns)):
            sampling.choose(len(chosen), arrived(steady_ns))
            chosen.append(steady_ns)
    distances = [after - before for before, after in itertools.pairwise(chosen)]
    assert all(SAMPLE_NS * 0.49 <= distance <= SAMPLE_NS * 1.52 for distance in distances)
    assert len(set(distances)) > 5
    assert counts.samples == len(chosen)


def test_what_the_kernel_says_is_measured_and_told_once() -> None:
    sampling, counts, hold = made()
    stamp = arrived(5)
    assert sampling.untold() == b""
    sampling.choose(7, stamp)(stamp.ns + 40_000, None)
    sampling.choose(9, stamp)(stamp.ns + 50_000, stamp.ns + 90_000)
    assert (counts.samples, counts.sampled, hold.count) == (2, 2, 2)
    decoder = FrameDecoder(65_536)
    assert decoder.feed(sampling.untold()) == [
        Departures((Departure(7, stamp.ns + 40_000, None), Departure(9, stamp.ns + 50_000, stamp.ns + 90_000)))
    ]
    assert sampling.untold() == b""


def test_around_a_step_of_the_clock_nothing_is_measured_but_all_is_told() -> None:
    sampling, counts, hold = made()
    stamp = arrived(5, step_ns=1_000)
    sampling.choose(7, stamp)(stamp.ns + 40_000, None)
    assert (counts.sampled, hold.count) == (1, 0)
    assert sampling.untold()
