"""What is known of one stream on one path."""

from daemons.measurement.histogram import BucketHistogram
from daemons.measurement.identity import IdAccount
from daemons.measurement.jitter import InterarrivalJitter
from daemons.measurement.time_step import STEPS_NS

__all__ = ["StreamAccount"]


class StreamAccount:
    """One stream on one path.

    Args:
        name: as subscribed.
        label: under which metrics show it.
        identity: symbol and kind of its events.
        end_to_end: live histogram.
        backbone: likewise; None on a feed.

    Attributes:
        ids: accounts of its ids by symbol: one, but for a stream of all symbols.
        kind: of its events, for their identity; empty while it is not known.
        symbol: of its events; empty for a stream of all symbols.
        step_ns: in what step its event times are told, as they have shown.
    """

    __slots__ = (
        "backbone",
        "backbone_jitter",
        "end_to_end",
        "end_to_end_jitter",
        "events",
        "ids",
        "kind",
        "label",
        "name",
        "step_ns",
        "symbol",
        "without_event_time",
    )

    def __init__(
        self,
        name: str,
        label: str,
        identity: tuple[str, str],
        end_to_end: BucketHistogram,
        backbone: BucketHistogram | None,
    ) -> None:
        self.name = name
        self.label = label
        self.symbol, self.kind = identity
        self.events = 0
        self.without_event_time = 0
        self.step_ns = STEPS_NS[0]
        self.end_to_end = end_to_end
        self.backbone = backbone
        self.end_to_end_jitter = InterarrivalJitter()
        self.backbone_jitter = InterarrivalJitter()
        self.ids: dict[str, IdAccount] = {}

    @property
    def id_resets(self) -> int:
        """How often the exchange began ids anew."""
        return sum(ids.resets for ids in self.ids.values())

    def named_for(self, symbol: str) -> str:
        """Return the name in rows: of a stream of all symbols (``!bookTicker``) the one that brings this symbol's."""
        return self.name if self.symbol or not symbol else f"{symbol}@{self.name[1:]}"

    def interrupt(self) -> None:
        """Note that the next event does not succeed the last."""
        self.end_to_end_jitter.interrupt()
        self.backbone_jitter.interrupt()
        for ids in self.ids.values():
            ids.rejoin()
