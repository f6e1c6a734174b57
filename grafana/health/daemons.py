"""The daemons: what runs, with which configuration, and what of the delay is their own."""

from grafana.between import lowest
from grafana.board import DEPLOYMENT, PATH, Placed
from grafana.counts import counted, counts
from grafana.panels import GREEN, RED, Column, Panel, Query, State, lines, rows, states

__all__ = ["own_delay", "running"]

_SCRAPED = f'job="latency",{DEPLOYMENT}'
# By all labels of the target: one that is scraped twice, or by two servers, is two rows, and no error.
_WHAT_RUNS = f"ignoring (daemon, version, python) group_right () latency_build_info{{{DEPLOYMENT}}}"


def running() -> tuple[Placed, ...]:
    """Lay out whether the daemons run, as what, and what went wrong in them."""
    return ((_answering(), 8, 7), (_running(), 16, 7), (_configuration(), 8, 7), (_faults(), 16, 7))


def own_delay() -> tuple[Placed, ...]:
    """Lay out what the daemons and their hosts add to a delay."""
    return ((_host_delay(), 8, 9), (_hold(), 8, 9), (_loop_lag(), 8, 9))


def _answering() -> Panel:
    return states(
        "Daemons",
        "Whether each daemon answers scrapes. Good: green throughout.",
        # A daemon whose address has changed is the same daemon.
        [Query(f"min by (role, host) ({lowest('up', _SCRAPED)})", "{{role}} {{host}}")],
        (State(0, "down", RED), State(1, "up", GREEN)),
    )


def _running() -> Panel:
    return rows(
        "What is running",
        "Version, time since the start, processor and memory use of each daemon. Good: the same version "
        "everywhere, memory flat.",
        {
            "build": Query(f"latency_build_info{{{DEPLOYMENT}}}"),
            "age": Query(
                f"(time() - sum without (daemon) (latency_start_timestamp_seconds{{{DEPLOYMENT}}})) * {_WHAT_RUNS}"
            ),
            "cpu": Query(f"rate(process_cpu_seconds_total{{{DEPLOYMENT}}}[1m]) * {_WHAT_RUNS}"),
            "memory": Query(f"process_resident_memory_bytes{{{DEPLOYMENT}}} * {_WHAT_RUNS}"),
            "descriptors": Query(f"process_open_fds{{{DEPLOYMENT}}} * {_WHAT_RUNS}"),
        },
        labels={"daemon": "Daemon", "host": "Host", "version": "Version", "python": "Python"},
        values={
            "age": Column("Up for", "s"),
            "cpu": Column("CPU", "percentunit"),
            "memory": Column("Memory", "bytes"),
            "descriptors": Column("Open files", "short"),
        },
    )


def _configuration() -> Panel:
    return states(
        "Configuration",
        "Whether the last reload was taken. Good: green throughout; a refused one leaves an old "
        "configuration in force, and the log says why.",
        [
            Query(
                f"min by (host) ({lowest(f'latency_{daemon}_config_last_reload_successful', DEPLOYMENT)})",
                f"{daemon} {{{{host}}}}",
            )
            for daemon in ("receiver", "forwarder", "probe")
        ],
        (State(0, "an old one: the last was refused", RED), State(1, "as in the file", GREEN)),
    )


def _faults() -> Panel:
    return counts(
        "Faults, in 5 minutes",
        "Exceptions that nobody foresaw, log lines that were not written and clients that a locked page "
        "did not serve, by daemon; steps of the wall clocks. Good: 0. The log has a line for each kind of "
        "exception.",
        [
            counted(
                "latency_unexpected_errors_total",
                DEPLOYMENT,
                "daemon, host",
                "{{daemon}} {{host}} unexpected",
            ),
            counted(
                "latency_log_lines_dropped_total",
                DEPLOYMENT,
                "daemon, host",
                "{{daemon}} {{host}} log lines",
            ),
            counted(
                "latency_page_refusals_total",
                DEPLOYMENT,
                "daemon, host",
                "{{daemon}} {{host}} page refusals",
            ),
            counted("latency_receiver_clock_steps_total", DEPLOYMENT, "host", "receiver {{host}} clock steps"),
            counted("latency_forwarder_clock_steps_total", DEPLOYMENT, "host", "forwarder {{host}} clock steps"),
        ],
        [f"latency_unexpected_errors_total{{{DEPLOYMENT}}}"],
    )


def _host_delay() -> Panel:
    return lines(
        "Host delay: p99",
        "From the kernel's arrival stamp to handling. It is in no latency figure, but it says whether the "
        "host keeps up. Good: below a millisecond, below the limit in any case.",
        "s",
        [
            Query(
                _p99("latency_receiver_host_delay_seconds", PATH, "path"),
                "{{path}}",
            ),
        ],
        limit="host_delay_seconds",
        minimum=0,
        narrow=True,
    )


def _hold() -> Panel:
    return lines(
        "Forwarder's hold: p99",
        "From arrival at the forwarder to hand-over to the link's socket. Good: below a millisecond.",
        "s",
        [
            Query(
                _p99("latency_forwarder_hold_seconds", DEPLOYMENT, "link"),
                "{{link}}",
            )
        ],
        minimum=0,
        narrow=True,
    )


def _loop_lag() -> Panel:
    return lines(
        "Event loop lag: p99",
        "How late each daemon's event loop serves a timer. Good: a millisecond or two, the timer's grain.",
        "s",
        [
            Query(
                _p99("latency_event_loop_lag_seconds", DEPLOYMENT, "daemon, host"),
                "{{daemon}} {{host}}",
            ),
        ],
        limit="loop_lag_seconds",
        logarithmic=True,
        narrow=True,
    )


def _p99(metric: str, matchers: str, by: str) -> str:
    return f"histogram_quantile(0.99, sum by ({by}, le) (rate({metric}_bucket{{{matchers}}}[$__rate_interval])))"
