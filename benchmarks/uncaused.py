"""``latency-receiver`` with its witness, which asks of no event why it was slow: for what the asking costs."""

from benchmarks.observed import main
from daemons.measurement.tail.tail import Tail

__all__: list[str] = []


def _know_no_percentile(_self: Tail, _now_ns: int, _events: int) -> None:
    """Do nothing: without a percentile no event is above it."""


def _take_nothing(_self: Tail, *_taken: object, **_kept: object) -> None:
    """Do nothing."""


if __name__ == "__main__":
    for name, instead in (("tend", _know_no_percentile), ("take_link", _take_nothing)):
        setattr(Tail, name, instead)
    main()
