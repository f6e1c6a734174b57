"""``latency-receiver``, unchanged, with a witness beside it: when each event had been accounted for, by the wall clock.

Other contestants measure in their own process after parsing; our figures are kernel stamps, which leave our own work
out. The witness makes the two comparable, and costs what it costs on our side of the scale. The file to leave samples
in comes from the environment; the stamps that the receiver itself used go to a second file beside it.
"""

import os
import sys
import time
from array import array
from pathlib import Path

from benchmarks.feeder import TIME_AT
from benchmarks.samples import Samples
from daemons.link.receiving.sink import SessionKey
from daemons.receiver.forwarders import Forwarders
from daemons.receiver.main import main as receiver_main
from daemons.records import LinkEvent, Stamp

__all__ = ["FILE_VARIABLE", "kernel_file", "user_file"]

FILE_VARIABLE = "BENCHMARK_SAMPLES"


def kernel_file(file: Path) -> Path:
    """Where the arrival stamps are, beside the times when events had been accounted for."""
    return file.with_suffix(".kernel")


def user_file(file: Path) -> Path:
    """Where the times right after each read are: what a receiver without kernel stamps would use."""
    return file.with_suffix(".user")


def main() -> None:
    file = Path(os.environ[FILE_VARIABLE])
    event_ns, done_ns, stamp_ns, read_ns = array("q"), array("q"), array("q"), array("q")
    unwitnessed = Forwarders.on_link_events

    def on_link_events(
        self: Forwarders, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool
    ) -> None:
        unwitnessed(self, key, events, stamp, together=together)
        now_ns = time.time_ns()
        for event in events:
            # Not the event's own field: in the JSON format that has milliseconds only.
            event_ns.append(int(event.payload[TIME_AT : TIME_AT + 16]) * 1000)
            done_ns.append(now_ns)
            stamp_ns.append(stamp.ns)
            read_ns.append(stamp.handled_ns)

    setattr(Forwarders, "on_link_events", on_link_events)  # noqa: B010 a method may not be assigned to plainly
    try:
        receiver_main(args=sys.argv[1:])
    finally:
        Samples(event_ns, done_ns).save(file)
        Samples(event_ns, stamp_ns).save(kernel_file(file))
        Samples(event_ns, read_ns).save(user_file(file))


if __name__ == "__main__":
    main()
