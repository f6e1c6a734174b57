"""What the kernel says of the TCP connections."""

from grafana.between import highest, lowest
from grafana.board import DEPLOYMENT, Placed
from grafana.counts import counted, counts
from grafana.panels import Panel, Query, lines

__all__ = ["tcp"]


def tcp() -> tuple[Placed, ...]:
    """Lay out round trips, losses and queues."""
    return ((_round_trip(), 8, 8), (_sent_again(), 8, 8), (_send_queue(), 8, 8))


def _round_trip() -> Panel:
    return lines(
        "Round trip",
        "Of each link and feed by name (smoothed), and the least of late, dashed. Good: flat, and the two "
        "close together; the difference is queues on the way.",
        "s",
        [
            Query(f"max by (side) ({highest('latency_tcp_rtt_seconds', DEPLOYMENT)})", "{{side}}"),
            Query(f"min by (side) ({lowest('latency_tcp_least_rtt_seconds', DEPLOYMENT)})", "{{side}}", dashed=True),
        ],
        minimum=0,
        narrow=True,
    )


def _sent_again() -> Panel:
    return counts(
        "Sent again, or out of order, in 5 minutes",
        "Segments that our side sent again; packets that came while one before them was missing; packets "
        "of ours that overtook each other. Good: 0; else the way loses, and what follows a loss waits.",
        [
            counted("latency_tcp_retransmitted_segments_total", DEPLOYMENT, "side", "{{side}}"),
            counted("latency_tcp_out_of_order_segments_total", DEPLOYMENT, "side", "{{side}} out of order"),
            counted("latency_tcp_reorderings_total", DEPLOYMENT, "side", "{{side}} overtaken"),
        ],
        [f"latency_tcp_retransmitted_segments_total{{{DEPLOYMENT}}}"],
    )


def _send_queue() -> Panel:
    return lines(
        "Send queue",
        "Written by us and not acknowledged. Good: a few packets; a queue that stays is a way or a peer "
        "too slow for the market.",
        "bytes",
        [Query(f"max by (side) ({highest('latency_tcp_send_queue_bytes', DEPLOYMENT)})", "{{side}}")],
        minimum=0,
        reaching=(1000,),
        narrow=True,
    )
