"""Health: the daemons, their clocks, buffers and own delays."""

from grafana.board import Board
from grafana.health.clocks import clocks
from grafana.health.daemons import own_delay, running
from grafana.health.links import links
from grafana.health.refused import refused
from grafana.health.tcp import tcp

__all__ = ["health"]


def health() -> Board:
    """Build the dashboard."""
    return (
        Board(
            "latency-health",
            "Health of the measurement",
            "Whether the daemons, their clocks and their hosts are fit to measure.",
            ("deployment", "path"),
            "now-1h",
        )
        .row("Daemons", *running())
        .row("Own delay", *own_delay())
        .row("Clocks", *clocks())
        .row("Links, feeds and buffers", *links())
        .row("TCP, as the kernel measures it", *tcp())
        .row("What was refused", *refused())
    )
