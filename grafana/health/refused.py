"""What is kept out of the figures, and what the figures' stamps are worth."""

from grafana.board import DEPLOYMENT, PATH, Placed
from grafana.panels import A_SECOND, Panel, Query, lines

__all__ = ["refused"]


def refused() -> tuple[Placed, ...]:
    """Lay out refusals, and who stamps."""
    return ((_refused(), 12, 12), (_stamps(), 12, 12))


def _refused() -> Panel:
    return lines(
        "Figures and messages refused",
        "Counted and kept out of every figure. Good: 0; negative delays mean a wrong clock.",
        A_SECOND,
        [
            Query(
                "sum by (path, reason) (rate(latency_receiver_invalid_events_total"
                f"{{{PATH}}}[$__rate_interval])) > 0 or on (path) sum by (path) "
                f"(rate(latency_receiver_invalid_events_total{{{PATH}}}[$__rate_interval]))",
                "{{path}} {{reason}}",
            ),
            Query(
                f"sum by (host) (rate(latency_forwarder_events_invalid_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "forwarder {{host}}, no event",
            ),
            Query(
                f"sum by (host) (rate(latency_forwarder_invalid_delays_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "forwarder {{host}}, impossible delay",
            ),
        ],
        minimum=0,
        reaching=(1,),
        narrow=True,
    )


def _stamps() -> Panel:
    return lines(
        "Who stamps arrivals",
        "Part of the events by the origin of their arrival stamp. Good: kernel; shared means that several "
        "came in one read of a TCP stream and have the last one's stamp.",
        "percentunit",
        [
            Query(
                f"sum by (path, kind) (rate(latency_receiver_stamps_total{{{PATH}}}[$__rate_interval])) "
                "/ on (path) group_left () (sum by (path) "
                f"(rate(latency_receiver_stamps_total{{{PATH}}}[$__rate_interval])) > 0) > 0",
                "{{path}} {{kind}}",
            )
        ],
        minimum=0,
        maximum=1,
        narrow=True,
    )
