"""The receiver's histogram families: their names, labels and boundaries."""

from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import octaves
from daemons.measurement.race import LEAD_BOUNDS
from daemons.service.metrics.page import HistogramFamily

__all__ = ["ReceiverHistograms"]

PREFIX = "latency_receiver"


class ReceiverHistograms:
    """The receiver's histogram families."""

    def __init__(self) -> None:
        self.end_to_end = HistogramFamily(
            f"{PREFIX}_end_to_end_seconds",
            "Exchange's event time to arrival stamp here; trust it within the clock error bounds.",
            ["path", "stream"],
            octaves(-16, 4),
        )
        self.backbone = HistogramFamily(
            f"{PREFIX}_backbone_seconds",
            "Arrival stamp at the forwarder to arrival stamp here; trust it within both clock error bounds.",
            ["path", "stream"],
            octaves(-16, 4),
        )
        self.delayed = HistogramFamily(
            f"{PREFIX}_delayed_seconds",
            "Delay of events that waited while the link was down: an outage, not the path's delay.",
            ["path"],
            octaves(-4, 7),
        )
        self.host_delay = HistogramFamily(
            f"{PREFIX}_host_delay_seconds",
            "Kernel's arrival stamp to handling: how far this host lags behind its own network card.",
            ["path"],
            octaves(-20, 2),
        )
        self.lead = HistogramFamily(
            f"{PREFIX}_path_lead_seconds",
            "How much earlier path brought an event than reference; negative: later. One clock, no error bound.",
            ["path", "reference"],
            LEAD_BOUNDS,
        )
        self.rtt = HistogramFamily(
            f"{PREFIX}_link_rtt_seconds", "Round-trip time to the forwarder and back.", ["path"], octaves(-16, 3)
        )
        self.segments = HistogramFamily(
            f"{PREFIX}_segment_seconds",
            "Parts of an event's delay between two stamps, of the events that the forwarder samples.",
            ["path", "segment"],
            octaves(-20, 4),
        )

    def families(self) -> list[HistogramFamily]:
        """All of them."""
        mine = [self.end_to_end, self.backbone, self.delayed, self.host_delay]
        return [*mine, self.lead, self.rtt, self.segments]

    def instruments(self, path: str) -> Instruments:
        """The histograms of one path."""
        return Instruments(
            end_to_end=lambda stream: self.end_to_end.labels(path, stream),
            backbone=lambda stream: self.backbone.labels(path, stream),
            delayed=self.delayed.labels(path),
            host_delay=self.host_delay.labels(path),
            segments=lambda segment: self.segments.labels(path, segment),
        )
