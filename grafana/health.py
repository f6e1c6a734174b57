"""Health: the daemons, their clocks, buffers and own delays."""

from grafana.board import DEPLOYMENT, PATH, Board
from grafana.panels import GREEN, RED, Column, Query, State, lines, rows, states

__all__ = ["health"]


def _counted(metric: str, matchers: str, by: str, legend: str, *, any_at_all: bool = False) -> Query:
    """Count in five minutes; where there is a line of zeros beside it, only if there was any at all."""
    return Query(f"sum by ({by}) (increase({metric}{{{matchers}}}[5m])){' > 0' if any_at_all else ''}", legend)


def _reasons(metric: str, matchers: str, by: str) -> Query:
    """Count by reason where anything was counted, else one line of zero."""
    counted = f"increase({metric}{{{matchers}}}[5m])"
    return Query(
        f"sum by ({by}, reason) ({counted}) > 0 or on ({by}) sum by ({by}) ({counted})",
        " ".join(f"{{{{{label}}}}}" for label in f"{by}, reason".split(", ")),
    )


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
                    # A daemon whose address has changed is the same daemon.
                    [Query(f'min by (role, host) (up{{job="latency",{DEPLOYMENT}}})', "{{role}} {{host}}")],
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
                            f"* on (instance) group_right () latency_build_info{{{DEPLOYMENT}}}"
                        ),
                        "cpu": Query(
                            f"sum by (instance) (rate(process_cpu_seconds_total{{{DEPLOYMENT}}}[1m])) "
                            f"* on (instance) group_right () latency_build_info{{{DEPLOYMENT}}}"
                        ),
                        "memory": Query(
                            f"sum by (instance) (process_resident_memory_bytes{{{DEPLOYMENT}}}) "
                            f"* on (instance) group_right () latency_build_info{{{DEPLOYMENT}}}"
                        ),
                        "descriptors": Query(
                            f"sum by (instance) (process_open_fds{{{DEPLOYMENT}}}) "
                            f"* on (instance) group_right () latency_build_info{{{DEPLOYMENT}}}"
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
            (
                states(
                    "Configuration",
                    "Whether the last reload was taken. Good: green throughout; a refused one leaves an old "
                    "configuration in force, and the log says why.",
                    [
                        Query(
                            f"min by (host) (latency_{daemon}_config_last_reload_successful{{{DEPLOYMENT}}})",
                            f"{daemon} {{{{host}}}}",
                        )
                        for daemon in ("receiver", "forwarder", "probe")
                    ],
                    (State(0, "an old one: the last was refused", RED), State(1, "as in the file", GREEN)),
                ),
                8,
                7,
            ),
            (
                lines(
                    "Faults, in 5 minutes",
                    "Exceptions that nobody foresaw, log lines that were not written and clients that a locked page "
                    "did not serve, by daemon; steps of the wall clocks. Good: 0. The log has a line for each kind of "
                    "exception.",
                    "short",
                    [
                        _counted(
                            "latency_unexpected_errors_total",
                            DEPLOYMENT,
                            "daemon, host",
                            "{{daemon}} {{host}} unexpected",
                        ),
                        _counted(
                            "latency_log_lines_dropped_total",
                            DEPLOYMENT,
                            "daemon, host",
                            "{{daemon}} {{host}} log lines",
                        ),
                        _counted(
                            "latency_page_refusals_total",
                            DEPLOYMENT,
                            "daemon, host",
                            "{{daemon}} {{host}} page refusals",
                        ),
                        _counted(
                            "latency_receiver_clock_steps_total", DEPLOYMENT, "host", "receiver {{host}} clock steps"
                        ),
                        _counted(
                            "latency_forwarder_clock_steps_total", DEPLOYMENT, "host", "forwarder {{host}} clock steps"
                        ),
                    ],
                    minimum=0,
                    reaching=(1,),
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
                    "Reconnects, in 5 minutes",
                    "Connections that ended or could not be made, and datagrams that found nobody listening. Good: one "
                    "reconnect a day for each feed.",
                    "short",
                    [
                        _counted("latency_forwarder_reconnects_total", DEPLOYMENT, "side", "forwarder {{side}}"),
                        _counted("latency_receiver_reconnects_total", DEPLOYMENT, "side", "receiver {{side}}"),
                        _counted(
                            "latency_forwarder_datagrams_refused_total", DEPLOYMENT, "link", "{{link}} nobody listens"
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
                    "Peers turned away, in 5 minutes",
                    "By reason: key, forged and replayed are of a wrong key or an attack; source and limit of "
                    "strangers; busy of too many forwarders; descriptors and unexpected of this daemon. Good: 0.",
                    "short",
                    [_reasons("latency_receiver_link_refusals_total", PATH, "path")],
                    minimum=0,
                    reaching=(1,),
                    narrow=True,
                ),
                8,
                8,
            ),
            (
                lines(
                    "Missing, in 5 minutes, and why",
                    "Holes that stayed open, by path; what came late after all; what the forwarder gave up, and "
                    "what this host's kernel had no room for, which the way did not lose; arrivals and numberings that "
                    "could not be followed. Good: 0.",
                    "short",
                    [
                        _counted("latency_receiver_sequence_gap_events_total", PATH, "path", "{{path}}"),
                        _counted("latency_receiver_late_events_total", PATH, "path", "{{path}} late", any_at_all=True),
                        _counted(
                            "latency_receiver_given_up_events_total", PATH, "path", "{{path}} given up", any_at_all=True
                        ),
                        _counted(
                            "latency_receiver_socket_dropped_datagrams_total",
                            PATH,
                            "path",
                            "{{path}} no room",
                            any_at_all=True,
                        ),
                        _counted(
                            "latency_receiver_stale_events_total", PATH, "path", "{{path}} stale", any_at_all=True
                        ),
                        _counted(
                            "latency_receiver_sequence_leaps_total", PATH, "path", "{{path}} leaps", any_at_all=True
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
                    "Feeds: connections taken over, in 5 minutes",
                    "Replacements without a gap, by reason; notices of the exchange that it will close; streams whose "
                    "ids began anew. Good: now and then.",
                    "short",
                    [
                        _reasons("latency_feed_replacements_total", DEPLOYMENT, "path"),
                        _counted("latency_feed_notices_total", DEPLOYMENT, "path", "{{path}} notices"),
                        _counted("latency_feed_id_resets_total", DEPLOYMENT, "path", "{{path}} ids anew"),
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
            "TCP, as the kernel measures it",
            (
                lines(
                    "Round trip",
                    "Of each link and feed by name (smoothed), and the least of late, dashed. Good: flat, and the two "
                    "close together; the difference is queues on the way.",
                    "s",
                    [
                        Query(f"max by (side) (latency_tcp_rtt_seconds{{{DEPLOYMENT}}})", "{{side}}"),
                        Query(
                            f"min by (side) (latency_tcp_least_rtt_seconds{{{DEPLOYMENT}}})", "{{side}}", dashed=True
                        ),
                    ],
                    minimum=0,
                    narrow=True,
                ),
                8,
                8,
            ),
            (
                lines(
                    "Sent again, or out of order, in 5 minutes",
                    "Segments that our side sent again; packets that came while one before them was missing; packets "
                    "of ours that overtook each other. Good: 0; else the way loses, and what follows a loss waits.",
                    "short",
                    [
                        _counted("latency_tcp_retransmitted_segments_total", DEPLOYMENT, "side", "{{side}}"),
                        _counted(
                            "latency_tcp_out_of_order_segments_total",
                            DEPLOYMENT,
                            "side",
                            "{{side}} out of order",
                            any_at_all=True,
                        ),
                        _counted(
                            "latency_tcp_reorderings_total", DEPLOYMENT, "side", "{{side}} overtaken", any_at_all=True
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
                    "Send queue",
                    "Written by us and not acknowledged. Good: a few packets; a queue that stays is a way or a peer "
                    "too slow for the market.",
                    "bytes",
                    [Query(f"max by (side) (latency_tcp_send_queue_bytes{{{DEPLOYMENT}}})", "{{side}}")],
                    minimum=0,
                    reaching=(1000,),
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
                            f"{{{PATH}}}[$__rate_interval])) > 0 or on (path) sum by (path) "
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
