"""The clocks: whether they are disciplined, and how far they can be wrong."""

from grafana.between import highest, lowest
from grafana.board import DEPLOYMENT, PATH, Placed
from grafana.panels import GREEN, RED, Panel, Query, State, by_name, lines, states

__all__ = ["clocks"]


def clocks() -> tuple[Placed, ...]:
    """Lay out the clocks of all hosts."""
    return ((_synchronised(), 8, 8), (_error_bounds(), 8, 8), (_offsets(), 8, 8))


def _synchronised() -> Panel:
    return states(
        "Synchronised",
        "Whether something disciplines each clock, and, by path, whether its one-way delays can be. Good: green "
        "throughout.",
        [
            Query(f"max by (host) ({lowest('latency_receiver_clock_synchronized', DEPLOYMENT)})", "receiver {{host}}"),
            Query(
                f"max by (host) ({lowest('latency_forwarder_clock_synchronized', DEPLOYMENT)})",
                "forwarder {{host}}",
            ),
            by_name(f"1 - max by (path) ({highest('latency_receiver_clock_suspect', PATH)})", "path"),
        ],
        (State(0, "no", RED), State(1, "yes", GREEN)),
    )


def _error_bounds() -> Panel:
    return lines(
        "Error bounds",
        "How far each clock can be wrong, and for each path the sum of both ends'. Good: far below the "
        "jitter. A clock that is not synchronised has no line: nothing is known of it.",
        "s",
        [
            Query(
                f"max by (host) ({highest('latency_receiver_clock_error_bound_seconds', DEPLOYMENT)}) >= 0",
                "receiver {{host}}",
            ),
            Query(
                f"max by (host) ({highest('latency_forwarder_clock_error_bound_seconds', DEPLOYMENT)}) >= 0",
                "forwarder {{host}}",
            ),
            Query(f"max by (path) ({highest('latency:clock_bound_seconds:path', PATH)}) >= 0", "{{path}}"),
        ],
        logarithmic=True,
        narrow=True,
        none="unknown: no clock is synchronised",
    )


def _offsets() -> Panel:
    return lines(
        "Offsets",
        "Each clock's own estimate of its error, and for each link the difference that its clock exchange "
        "sees, which is true to half its round trip. Good: all near zero.",
        "s",
        [
            Query(
                f"max by (host) (latency_receiver_clock_offset_seconds{{{DEPLOYMENT}}})",
                "receiver {{host}}",
            ),
            Query(
                f"max by (host) (latency_forwarder_clock_offset_seconds{{{DEPLOYMENT}}})",
                "forwarder {{host}}",
            ),
            Query(
                f"max by (path) (latency_receiver_link_clock_offset_seconds{{{PATH}}})",
                "{{path}}",
            ),
        ],
        narrow=True,
        reaching=(-0.0001, 0.0001),
    )
