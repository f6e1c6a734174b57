"""The probe's histogram families: their names, labels and boundaries."""

from daemons.measurement.histogram import octaves
from daemons.service.metrics.page import HistogramFamily

__all__ = ["Families"]

# 0.24 ms to 16 s: less than a round trip within a city, more than any request that still helps.
_TOTAL = octaves(-12, 4)
_PART = octaves(-13, 4)
_SCHEDULED = octaves(-12, 6)
# 1 µs to 1 s: how late the probe itself may be.
_OWN = octaves(-20, 0)
# 15 µs to 4 s.
_RTT = octaves(-16, 2)


class Families:
    """All histograms of the metrics page.

    Attributes:
        phase: of requests.
        total: of requests, from their actual start.
        scheduled: of requests, from their intended start.
        lag: of attempts behind their slots.
        host_delay: of our reading behind the kernel's stamp.
        interim: of first interim responses behind their requests.
        overlay_rtt: of echoes from the tunnel peer.
    """

    def __init__(self) -> None:
        self.phase = HistogramFamily(
            "latency_probe_phase_seconds",
            "Duration of one phase of a successful request; a warm one has none of dns, connect, tunnel and tls",
            ("target", "connection", "phase"),
            _PART,
        )
        self.total = HistogramFamily(
            "latency_probe_total_seconds",
            "A successful request from its actual start to the last byte of the response",
            ("target", "connection"),
            _TOTAL,
        )
        self.scheduled = HistogramFamily(
            "latency_probe_scheduled_total_seconds",
            "A successful request from its intended start on the fixed schedule to the last byte of the response",
            ("target", "connection"),
            _SCHEDULED,
        )
        self.interim = HistogramFamily(
            "latency_probe_interim_seconds",
            "From a request to the first byte of its first interim response (1xx); part of the phase processing",
            ("target", "connection"),
            _PART,
        )
        self._lag = HistogramFamily(
            "latency_probe_schedule_lag_seconds",
            "How much later than intended attempts started: the probe's own lateness",
            (),
            _OWN,
        )
        self._host_delay = HistogramFamily(
            "latency_probe_host_delay_seconds",
            "From the kernel's stamp on a response's first byte to its reading; not part of any latency above",
            (),
            _OWN,
        )
        self.overlay_rtt = HistogramFamily(
            "latency_probe_overlay_rtt_seconds",
            "Round trip of an ICMP echo to the tunnel peer",
            ("peer",),
            _RTT,
        )
        self.lag = self._lag.labels()
        self.host_delay = self._host_delay.labels()

    @property
    def all(self) -> tuple[HistogramFamily, ...]:
        """Every family, in the order of the page."""
        return (self.phase, self.total, self.scheduled, self.interim, self._lag, self._host_delay, self.overlay_rtt)

    def remove(self, target: str) -> None:
        """Take a target's histograms off the page."""
        for family in (self.phase, self.total, self.scheduled, self.interim):
            family.remove(target)
