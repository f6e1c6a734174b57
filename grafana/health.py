"""Health: the daemons, their clocks, buffers and own delays."""

from grafana.board import DEPLOYMENT, PATH, Board
from grafana.panels import GREEN, RED, Column, Query, State, lines, rows, states

__all__ = ["health"]


def health() -> Board:
    """Build the dashboard."""
    p99 = "histogram_quantile(0.99, sum by ({by}, le) (rate({metric}_bucket{{{matchers}}}[$__rate_interval])))"
    return (
        Board(
            "latency-health",
            "Health of the measurement",
            "Whether the daemons, their clocks and their hosts are fit to measure.",
            ("deployment", "path"),
            "now-1h",
        )
        .row(
            "Daemons",
            (
                states(
                    "Daemons",
                    "Whether each daemon answers scrapes. Good: green throughout.",
                    [Query(f'up{{job="latency",{DEPLOYMENT}}}', "{{role}} {{host}}")],
                    (State(0, "down", RED), State(1, "up", GREEN)),
                ),
                8,
                7,
            ),
            (
                rows(
                    "What is running",
                    "Version, time since the start, processor and memory use of each daemon. Good: the same version "
                    "everywhere, memory flat.",
                    {
                        "build": Query(f"latency_build_info{{{DEPLOYMENT}}}"),
                        "age": Query(
                            f"(time() - sum by (instance) (latency_start_timestamp_seconds{{{DEPLOYMENT}}})) "
                            "* on (instance) group_right () latency_build_info"
                        ),
                        "cpu": Query(
                            f"sum by (instance) (rate(process_cpu_seconds_total{{{DEPLOYMENT}}}[1m])) "
                            "* on (instance) group_right () latency_build_info"
                        ),
                        "memory": Query(
                            f"sum by (instance) (process_resident_memory_bytes{{{DEPLOYMENT}}}) "
                            "* on (instance) group_right () latency_build_info"
                        ),
                        "descriptors": Query(
                            f"sum by (instance) (process_open_fds{{{DEPLOYMENT}}}) "
                            "* on (instance) group_right () latency_build_info"
                        ),
                    },
                    labels={"daemon": "Daemon", "host": "Host", "version": "Version", "python": "Python"},
                    values={
                        "age": Column("Up for", "s"),
                        "cpu": Column("CPU", "percentunit"),
                        "memory": Column("Memory", "bytes"),
                        "descriptors": Column("Open files", "short"),
                    },
                ),
                16,
                7,
            ),
        )
        .row(
            "Own delay",
            (
                lines(
                    "Host delay: p99",
                    "From the kernel's arrival stamp to handling. It is in no latency figure, but it says whether the "
                    "host keeps up. Good: below a millisecond, below the limit in any case.",
                    "s",
                    [
                        Query(
                            p99.format(by="path", metric="latency_receiver_host_delay_seconds", matchers=PATH),
                            "{{path}}",
                        ),
                        Query("max(latency:threshold:host_delay_seconds)", "limit"),
                    ],
                    limits="^limit$",
                    minimum=0,
                    narrow=True,
                ),
                8,
                8,
            ),
            (
                lines(
                    "Forwarder's hold: p99",
                    "From arrival at the forwarder to hand-over to the link's socket. Good: below a millisecond.",
                    "s",
                    [
                        Query(
                            p99.format(by="link", metric="latency_forwarder_hold_seconds", matchers=DEPLOYMENT),
                            "{{link}}",
                        )
                    ],
                    minimum=0,
                    narrow=True,
                ),
                8,
                8,
            ),
            (
                lines(
                    "Event loop lag: p99",
                    "How late each daemon's event loop serves a timer. Good: a millisecond or two, the timer's grain.",
                    "s",
                    [
                        Query(
                            p99.format(by="daemon, host", metric="latency_event_loop_lag_seconds", matchers=DEPLOYMENT),
                            "{{daemon}} {{host}}",
                        ),
                        Query("max(latency:threshold:loop_lag_seconds)", "limit"),
                    ],
                    limits="^limit$",
                    logarithmic=True,
                    narrow=True,
                ),
                8,
                8,
            ),
        )
        .row(
            "Clocks",
            (
                states(
                    "Synchronised",
                    "Whether something disciplines each clock. Good: green throughout.",
                    [
                        Query(
                            f"max by (host) (latency_receiver_clock_synchronized{{{DEPLOYMENT}}})", "receiver {{host}}"
                        ),
                        Query(
                            f"max by (host) (latency_forwarder_clock_synchronized{{{DEPLOYMENT}}})",
                            "forwarder {{host}}",
                        ),
                        Query(f"1 - max by (path) (latency_receiver_clock_suspect{{{PATH}}})", "{{path}} plausible"),
                    ],
                    (State(0, "no", RED), State(1, "yes", GREEN)),
                ),
                8,
                8,
            ),
            (
                lines(
                    "Error bounds",
                    "How far each clock can be wrong, and for each path the sum of both ends'. Good: far below the "
                    "jitter. A clock that is not synchronised has no line: nothing is known of it.",
                    "s",
                    [
                        Query(
                            f"max by (host) (latency_receiver_clock_error_bound_seconds{{{DEPLOYMENT}}}) >= 0",
                            "receiver {{host}}",
                        ),
                        Query(
                            f"max by (host) (latency_forwarder_clock_error_bound_seconds{{{DEPLOYMENT}}}) >= 0",
                            "forwarder {{host}}",
                        ),
                        Query(f"max by (path) (latency:clock_bound_seconds:path{{{PATH}}}) >= 0", "{{path}}"),
                    ],
                    logarithmic=True,
                    narrow=True,
                    none="unknown: no clock is synchronised",
                ),
                8,
                8,
            ),
            (
                lines(
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
                ),
                8,
                8,
            ),
        )
        .row(
            "Links, feeds and buffers",
            (
                lines(
                    "Buffers",
                    "Part of each forwarder's buffer in use, and the limit. Good: near zero.",
                    "percentunit",
                    [
                        Query(
                            f"max by (host, link) (latency_forwarder_buffer_events{{{DEPLOYMENT}}} "
                            f"/ latency_forwarder_buffer_capacity_events{{{DEPLOYMENT}}})",
                            "{{link}}",
                        ),
                        Query("max(latency:threshold:buffer_ratio)", "limit"),
                    ],
                    limits="^limit$",
                    minimum=0,
                    narrow=True,
                ),
                8,
                8,
            ),
            (
                lines(
                    "Received, forwarded, dropped",
                    "Events a second at the forwarders. Good: forwarded equals received for each link, none dropped.",
                    "short",
                    [
                        Query(
                            "sum by (host) (rate(latency_forwarder_events_received_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "{{host}} received",
                        ),
                        Query(
                            "sum by (link) (rate(latency_forwarder_events_forwarded_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "to {{link}}",
                        ),
                        Query(
                            "sum by (link) (rate(latency_forwarder_events_dropped_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "{{link}} dropped",
                        ),
                    ],
                    minimum=0,
                    reaching=(1,),
                    narrow=True,
                ),
                8,
                8,
            ),
            (
                lines(
                    "Reconnects and refusals",
                    "Connections that ended or were turned away. Good: one reconnect a day for each feed.",
                    "short",
                    [
                        Query(
                            f"sum by (side) (increase(latency_forwarder_reconnects_total{{{DEPLOYMENT}}}[5m]))",
                            "forwarder {{side}}",
                        ),
                        Query(
                            f"sum by (side) (increase(latency_receiver_reconnects_total{{{DEPLOYMENT}}}[5m]))",
                            "receiver {{side}}",
                        ),
                        Query(
                            f"sum by (path) (increase(latency_receiver_link_refusals_total{{{PATH}}}[5m]))",
                            "{{path}} refused",
                        ),
                    ],
                    minimum=0,
                    reaching=(1,),
                    narrow=True,
                ),
                8,
                8,
            ),
        )
        .row(
            "What was refused",
            (
                lines(
                    "Figures and messages refused",
                    "Counted and kept out of every figure. Good: 0; negative delays mean a wrong clock.",
                    "short",
                    [
                        Query(
                            "sum by (path, reason) (rate(latency_receiver_invalid_events_total"
                            f"{{{PATH}}}[$__rate_interval])) > 0 or sum by (path) "
                            f"(rate(latency_receiver_invalid_events_total{{{PATH}}}[$__rate_interval]))",
                            "{{path}} {{reason}}",
                        ),
                        Query(
                            "sum by (host) (rate(latency_forwarder_events_invalid_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "forwarder {{host}}, no event",
                        ),
                        Query(
                            "sum by (host) (rate(latency_forwarder_invalid_delays_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "forwarder {{host}}, impossible delay",
                        ),
                    ],
                    minimum=0,
                    reaching=(1,),
                ),
                12,
                8,
            ),
            (
                lines(
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
                ),
                12,
                8,
            ),
        )
    )
