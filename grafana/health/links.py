"""Links and feeds: what goes through them, where it stays, and when they break."""

from grafana.between import highest, lowest
from grafana.board import DEPLOYMENT, PATH, Placed
from grafana.counts import counted, counts
from grafana.panels import A_SECOND, Panel, Query, lines

__all__ = ["links"]


def links() -> tuple[Placed, ...]:
    """Lay out the forwarders' buffers, connections, and what is missing."""
    return (
        (_buffers(), 8, 8),
        (_throughput(), 8, 8),
        (_reconnects(), 8, 8),
        (_turned_away(), 8, 8),
        (_missing(), 8, 8),
        (_replacements(), 8, 8),
    )


def _buffers() -> Panel:
    return lines(
        "Buffers",
        "Part of each forwarder's buffer in use, and the limit. Good: near zero.",
        "percentunit",
        [
            Query(
                f"max by (host, link) ({highest('latency_forwarder_buffer_events', DEPLOYMENT)} "
                f"/ {lowest('latency_forwarder_buffer_capacity_events', DEPLOYMENT)})",
                "{{link}}",
            ),
        ],
        limit="buffer_ratio",
        minimum=0,
        narrow=True,
    )


def _throughput() -> Panel:
    return lines(
        "Received, forwarded, dropped",
        "Events a second at the forwarders. Good: forwarded equals received for each link, none dropped.",
        A_SECOND,
        [
            Query(
                f"sum by (host) (rate(latency_forwarder_events_received_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "{{host}} received",
            ),
            Query(
                f"sum by (link) (rate(latency_forwarder_events_forwarded_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "to {{link}}",
            ),
            Query(
                f"sum by (link) (rate(latency_forwarder_events_dropped_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "{{link}} dropped",
            ),
        ],
        minimum=0,
        reaching=(1,),
        narrow=True,
    )


def _reconnects() -> Panel:
    return counts(
        "Reconnects, in 5 minutes",
        "Connections that ended or could not be made, and datagrams that found nobody listening. Good: one "
        "reconnect a day for each feed.",
        [
            counted("latency_forwarder_reconnects_total", DEPLOYMENT, "side", "forwarder {{side}}"),
            counted("latency_receiver_reconnects_total", DEPLOYMENT, "side", "receiver {{side}}"),
            counted("latency_forwarder_datagrams_refused_total", DEPLOYMENT, "link", "{{link}} nobody listens"),
        ],
        [f"latency_forwarder_reconnects_total{{{DEPLOYMENT}}}", f"latency_receiver_reconnects_total{{{DEPLOYMENT}}}"],
    )


def _turned_away() -> Panel:
    return counts(
        "Peers turned away, in 5 minutes",
        "By reason: key, forged and replayed are of a wrong key or an attack; source and limit of "
        "strangers; busy of too many forwarders; descriptors and unexpected of this daemon. Shared: a link whose "
        "path other forwarders serve, too, which is one too many. Good: 0.",
        [
            counted("latency_receiver_link_refusals_total", PATH, "path, reason", "{{path}} {{reason}}"),
            counted("latency_forwarder_link_shared_total", DEPLOYMENT, "link", "{{link}} shared"),
        ],
        [f"latency_receiver_link_refusals_total{{{PATH}}}", f"latency_forwarder_link_shared_total{{{DEPLOYMENT}}}"],
    )


def _missing() -> Panel:
    return counts(
        "Missing, in 5 minutes, and why",
        "Holes that stayed open, by path alone; what came late after all; what the forwarder gave up, and "
        "what this host's kernel had no room for, which the way did not lose; arrivals and numberings that "
        "could not be followed. Good: 0.",
        [
            counted("latency_receiver_sequence_gap_events_total", PATH, "path", "{{path}}"),
            counted("latency_receiver_late_events_total", PATH, "path", "{{path}} late"),
            counted("latency_receiver_given_up_events_total", PATH, "path", "{{path}} given up"),
            counted("latency_receiver_socket_dropped_datagrams_total", PATH, "path", "{{path}} no room"),
            counted("latency_receiver_stale_events_total", PATH, "path", "{{path}} stale"),
            counted("latency_receiver_sequence_leaps_total", PATH, "path", "{{path}} leaps"),
        ],
        [f"latency_receiver_sequence_gap_events_total{{{PATH}}}"],
    )


def _replacements() -> Panel:
    return counts(
        "Feeds: connections taken over, in 5 minutes",
        "Replacements without a gap, by reason; notices of the exchange that it will close; streams whose "
        "ids began anew. Good: now and then.",
        [
            counted("latency_feed_replacements_total", DEPLOYMENT, "path, reason", "{{path}} {{reason}}"),
            counted("latency_feed_notices_total", DEPLOYMENT, "path", "{{path}} notices"),
            counted("latency_feed_id_resets_total", DEPLOYMENT, "path", "{{path}} ids anew"),
        ],
        [f"latency_feed_replacements_total{{{DEPLOYMENT}}}"],
    )
