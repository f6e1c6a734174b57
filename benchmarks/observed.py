"""``latency-receiver``, unchanged, with a witness beside it: when each event had been accounted for, by the wall clock.

Other contestants measure in their own process after parsing; our figures are kernel stamps, which leave our own work
out. The witness makes the two comparable, and costs what it costs on our side of the scale. The file to leave samples
in comes from the environment; the stamps that the receiver itself used go to a second file beside it.
"""

import os
import sys
import time
from array import array
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import cast

from benchmarks.feeder import SBE_TIME_AT, TIME_AT
from benchmarks.samples import Samples
from daemons.link.receiving.sink import SessionKey
from daemons.measurement.account import PathAccount
from daemons.measurement.histogram import BucketHistogram
from daemons.measurement.segments import Segments
from daemons.receiver.forwarders import Forwarders
from daemons.receiver.main import main as receiver_main
from daemons.records import LinkEvent, Stamp

__all__ = ["FILE_VARIABLE", "kernel_file", "main", "parts_file", "user_file", "witnessed_file"]

FILE_VARIABLE = "BENCHMARK_SAMPLES"


def kernel_file(file: Path) -> Path:
    """Where the arrival stamps are, beside the times when events had been accounted for."""
    return file.with_suffix(".kernel")


def user_file(file: Path) -> Path:
    """Where the times right after each read are: what a receiver without kernel stamps would use."""
    return file.with_suffix(".user")


def witnessed_file(file: Path) -> Path:
    """Where the times are, by another reading of the clock, when sampled events had been accounted for."""
    return file.with_suffix(".witnessed")


def parts_file(file: Path) -> Path:
    """Where the sums of the parts of a delay are, of sampled events."""
    return file.with_suffix(".parts")


class Summed:
    """A histogram that adds up what it observes, in a list."""

    def __init__(self, within: BucketHistogram, parts_ns: list[int]) -> None:
        self._within = within
        self._parts_ns = parts_ns

    def observe(self, ns: int) -> None:
        self._parts_ns.append(ns)
        self._within.observe(ns)


def witness_parts(event_ns: "array[int]", sum_ns: "array[int]") -> None:
    """Have each event's parts, as they are measured, added up from now on."""
    parts_ns: list[int] = []
    begin, depart = Segments.__init__, Segments.departed

    def made(self: Segments, live: Callable[[str], BucketHistogram], *, keep: bool) -> None:
        begin(self, live, keep=keep)
        for name, within in self._live.items():
            cast("dict[str, object]", self._live)[name] = Summed(within, parts_ns)

    def departed(self: Segments, session: Hashable, sequence: int, kernel_ns: int) -> None:
        event = self._awaited.get((session, sequence))
        parts_ns.clear()
        depart(self, session, sequence, kernel_ns)
        if parts_ns and event is not None and event.event_time_ns is not None:
            event_ns.append(event.event_time_ns)
            sum_ns.append(sum(parts_ns))

    for name, instead in (("__init__", made), ("departed", departed)):
        setattr(Segments, name, instead)


def main() -> None:
    file = Path(os.environ[FILE_VARIABLE])
    event_ns, done_ns, stamp_ns, read_ns, ended_ns, witnessed_ns, parted_ns, sum_ns = (array("q") for _of in range(8))
    witness_parts(parted_ns, sum_ns)
    unwitnessed, kept = Forwarders.on_link_events, PathAccount._keep_sampled  # noqa: SLF001 where a read's account ends

    def keep(self: PathAccount, stamp: Stamp) -> None:
        if sampled := self._sampled:
            now_ns = time.time_ns()
            for _session, event in sampled:
                if event.event_time_ns is not None:
                    ended_ns.append(event.event_time_ns)
                    witnessed_ns.append(now_ns)
        kept(self, stamp)

    def on_link_events(
        self: Forwarders, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool
    ) -> None:
        unwitnessed(self, key, events, stamp, together=together)
        now_ns = time.time_ns()
        for event in events:
            # Not the event's own field: in the JSON format that has milliseconds only.
            payload = event.payload
            if payload.startswith(b"{"):
                event_us = int(payload[TIME_AT : TIME_AT + 16])
            else:
                event_us = int.from_bytes(payload[SBE_TIME_AT : SBE_TIME_AT + 8], "little")
            event_ns.append(event_us * 1000)
            done_ns.append(now_ns)
            stamp_ns.append(stamp.ns)
            read_ns.append(stamp.handled_ns)

    setattr(Forwarders, "on_link_events", on_link_events)  # noqa: B010 a method may not be assigned to plainly
    setattr(PathAccount, "_keep_sampled", keep)  # noqa: B010 likewise
    try:
        receiver_main(args=sys.argv[1:])
    finally:
        Samples(event_ns, done_ns).save(file)
        Samples(event_ns, stamp_ns).save(kernel_file(file))
        Samples(event_ns, read_ns).save(user_file(file))
        Samples(ended_ns, witnessed_ns).save(witnessed_file(file))
        Samples(parted_ns, sum_ns).save(parts_file(file))


if __name__ == "__main__":
    main()
