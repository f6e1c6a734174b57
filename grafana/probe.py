"""HTTPS probe and egress: cold and warm requests by phase, from which address, by which route."""

from grafana.between import highest, lowest
from grafana.board import DEPLOYMENT, TARGET, Board
from grafana.counts import counted, counts
from grafana.limits import limit
from grafana.panels import (
    AMBER,
    GREEN,
    GREY,
    NOTHING,
    RED,
    Column,
    Panel,
    Query,
    State,
    by_name,
    lines,
    numbers,
    rows,
    states,
)

__all__ = ["probe"]

_NO_ECHOES = "not configured, or no echoes: see Success"
"""Where the probe may not ping a peer, that panel has a red bar for it; where no peer is configured, none."""
_FAILING = ((None, GREEN), (0.01, AMBER), (limit("probe_failure_ratio"), RED))


def _quantiles(metric: str, by: str, matchers: str) -> list[Query]:
    """Ask for the median, drawn solid, and p99."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return [
        Query(
            f"histogram_quantile({fraction}, sum by ({by}, le) "
            # Nothing observed, no quantile: leave the line out.
            f"(rate({metric}_bucket{{{matchers}}}[$__rate_interval]))) >= 0",
            legend,
            dashed=fraction > 0.5,
        )
        for fraction in (0.5, 0.99)
    ]


def _phases(connection: str) -> list[Query]:
    matchers = f'{TARGET},connection="{connection}"'
    return [
        Query(
            f"sum by (phase) (rate(latency_probe_phase_seconds_sum{{{matchers}}}[$__rate_interval])) "
            f"/ sum by (phase) (rate(latency_probe_phase_seconds_count{{{matchers}}}[$__rate_interval]) > 0)",
            "{{phase}}",
        )
    ]


def probe() -> Board:
    """Build the dashboard."""
    return (
        Board(
            "latency-probe",
            "HTTPS probe and egress",
            "What a request to the exchange's API takes, by phase; from which address it leaves, and by which route.",
            ("deployment", "target"),
            "now-1h",
        )
        .row("", (_success(), 8, 6), (_egress(), 8, 6), (_expected(), 4, 6), (_certificate(), 4, 6))
        .row(
            "Requests",
            (_cold_and_warm(), 12, 10),
            (_failures(), 12, 10),
            (_cold_phases(), 12, 9),
            (_warm_phases(), 12, 9),
        )
        .row("Way out", (_overlay(), 7, 9), (_overlay_lost(), 5, 9), (_route(), 12, 9))
        .row("The probe itself", (_lateness(), 8, 9), (_besides(), 8, 9), (_targets(), 8, 9))
    )


def _success() -> Panel:
    return states(
        "Success",
        "Whether the latest attempts of each target succeeded, and whether this host lets the probe ping "
        "its tunnel peer. Good: green throughout.",
        [
            by_name(f"min by (target) ({lowest('latency_probe_success', TARGET)})", "target"),
            Query(f"min by (peer) ({lowest('latency_probe_overlay_socket_open', DEPLOYMENT)})", "may ping {{peer}}"),
            # Of all panels this kind alone cannot say that it has no series.
            Query(f"-absent(max_over_time(latency_probe_success{{{TARGET}}}[$__range] @ end()))", NOTHING),
        ],
        (State(-1, NOTHING, GREY), State(0, "failing", RED), State(1, "ok", GREEN)),
    )


def _egress() -> Panel:
    return rows(
        "Egress identity",
        "Where the internet sees us. Good: the Elastic IP of the NAT instance, match 1, no changes.",
        {
            "info": Query(f"latency_probe_egress_info{{{DEPLOYMENT}}}"),
        },
        labels={"ip": "Address", "city": "City", "country": "Country", "host": "Host"},
        widths={"Address": 130, "Country": 75},
        values={},
    )


def _expected() -> Panel:
    return numbers(
        "As expected",
        "Whether the egress address, city and country are those in the probe's configuration. Good: yes.",
        "short",
        [Query(f"min(latency_probe_egress_match{{{DEPLOYMENT}}})", "match")],
        steps=((None, GREY), (0, RED), (1, GREEN)),
        states=(State(0, "NO", RED), State(1, "yes", GREEN)),
        names=False,
        none="not configured",
    )


def _certificate() -> Panel:
    return numbers(
        "Certificate",
        "Time until the first certificate expires. Good: more than two weeks.",
        "s",
        [Query(f"min(latency_probe_certificate_expiry_timestamp_seconds{{{TARGET}}}) - time()", "expires")],
        # A certificate that has expired is below zero.
        steps=((None, GREY), (-1e12, RED), (3 * 86400, AMBER), (limit("certificate_seconds"), GREEN)),
        names=False,
        decimals=1,
        none="no HTTPS",
    )


def _cold_and_warm() -> Panel:
    return lines(
        "Cold and warm: p50 and p99",
        "A whole request on a new connection and on a kept one. Good: warm near one round trip, cold near "
        "three; p99, which is dashed, close to p50.",
        "s",
        _quantiles("latency_probe_total_seconds", "target, connection", TARGET),
        connect=True,
    )


def _failures() -> Panel:
    return counts(
        "Failures, in 5 minutes",
        "Attempts that failed, by reason, and slots of the schedule that were missed. Good: 0.",
        [
            counted("latency_probe_failures_total", TARGET, "target, reason", "{{target}} {{reason}}"),
            counted(
                "latency_probe_missed_slots_total", TARGET, "target, connection", "{{target}} {{connection}} missed"
            ),
        ],
        [f"latency_probe_slots_total{{{TARGET}}}"],
    )


def _cold_phases() -> Panel:
    return lines(
        "Phases of a cold request (mean)",
        "Where the time goes, stacked: means add up, percentiles do not. Good: dns near zero, connect one "
        "round trip, tls one or two, processing one and the server's own time. With a proxy, "
        "connect leads to it and tunnel from it to the target; tls and processing go all the way.",
        "s",
        _phases("cold"),
        stacked=True,
        minimum=0,
        connect=True,
    )


def _warm_phases() -> Panel:
    return lines(
        "Phases of a warm request (mean)",
        "No dns, connect, tunnel or tls. Good: one round trip and the server's own time.",
        "s",
        _phases("warm"),
        stacked=True,
        minimum=0,
        connect=True,
    )


def _overlay() -> Panel:
    return lines(
        "Overlay: round trip to the tunnel peer",
        "ICMP echoes through the tunnel; p99 is dashed. Good: the peering's round trip, flat, nothing lost. No echoes: "
        "Success says so where this host does not let the probe ping; else no peer is configured.",
        "s",
        [
            *_quantiles("latency_probe_overlay_rtt_seconds", "peer", DEPLOYMENT),
            Query(f"max by (peer) ({highest('latency_probe_overlay_jitter_seconds', DEPLOYMENT)})", "{{peer}} jitter"),
        ],
        narrow=True,
        none=_NO_ECHOES,
    )


def _overlay_lost() -> Panel:
    return lines(
        "Overlay: lost echoes",
        "Part of the echoes without an answer in time. Good: 0.",
        "percentunit",
        [
            Query(
                f"sum by (peer) (rate(latency_probe_overlay_lost_total{{{DEPLOYMENT}}}[$__rate_interval])) "
                f"/ (sum by (peer) (rate(latency_probe_overlay_sent_total{{{DEPLOYMENT}}}"
                "[$__rate_interval])) > 0)",
                "{{peer}}",
            )
        ],
        minimum=0,
        reaching=(0.01,),
        narrow=True,
        none=_NO_ECHOES,
    )


def _route() -> Panel:
    return rows(
        "Route",
        "The hops of the last trace. A hop that answers badly and passes traffic well is no fault: look "
        "at the last line.",
        {
            "address": Query(f"latency_probe_route_hop_info{{{DEPLOYMENT}}}"),
            "rtt": Query(
                f"latency_probe_route_hop_rtt_seconds{{{DEPLOYMENT}}} * ignoring (address) "
                f"group_left (address) latency_probe_route_hop_info{{{DEPLOYMENT}}}"
            ),
            "worst": Query(
                f"latency_probe_route_hop_rtt_worst_seconds{{{DEPLOYMENT}}} * ignoring (address) "
                f"group_left (address) latency_probe_route_hop_info{{{DEPLOYMENT}}}"
            ),
            "loss": Query(
                f"latency_probe_route_hop_loss_ratio{{{DEPLOYMENT}}} * ignoring (address) "
                f"group_left (address) latency_probe_route_hop_info{{{DEPLOYMENT}}}"
            ),
        },
        labels={"target": "Target", "hop": "Hop", "address": "Address"},
        values={
            "rtt": Column("Mean", "s"),
            "worst": Column("Worst", "s"),
            "loss": Column("Loss", "percentunit"),
        },
        widths={"Target": 150, "Hop": 50},
    )


def _lateness() -> Panel:
    return lines(
        "Probe's own lateness: p99",
        "How late attempts start, and answers are read after the kernel had them. Good: a few "
        "milliseconds at most; else the probe's host is too busy to be believed.",
        "s",
        [
            Query(
                f"histogram_quantile(0.99, sum by (host, le) (rate({metric}_bucket{{{DEPLOYMENT}}}"
                "[$__rate_interval])))",
                f"{{{{host}}}} {name}",
            )
            for metric, name in (
                ("latency_probe_schedule_lag_seconds", "start"),
                ("latency_probe_host_delay_seconds", "reading"),
            )
        ],
        minimum=0,
        narrow=True,
    )


def _besides() -> Panel:
    return counts(
        "Besides, in 5 minutes",
        "Connections that had to be made anew, by reason; interim responses; traces that failed, and "
        "routes that changed; echoes answered late, twice, or refused by this host's kernel. Good: 0, but "
        "for what a server closes when it has been idle.",
        [
            counted("latency_probe_reconnects_total", TARGET, "target, reason", "{{target}} {{reason}}"),
            counted("latency_probe_interim_responses_total", TARGET, "target", "{{target}} interim"),
            counted("latency_probe_route_failures_total", DEPLOYMENT, "reason", "route {{reason}}"),
            counted("latency_probe_route_changes_total", DEPLOYMENT, "target", "route changes"),
            counted("latency_probe_overlay_late_total", DEPLOYMENT, "peer", "{{peer}} late"),
            counted("latency_probe_overlay_duplicates_total", DEPLOYMENT, "peer", "{{peer}} twice"),
            counted("latency_probe_overlay_send_errors_total", DEPLOYMENT, "peer", "{{peer}} refused"),
        ],
        [f"latency_probe_slots_total{{{TARGET}}}"],
    )


def _targets() -> Panel:
    return rows(
        "Targets",
        "What was negotiated with each target, and the last 5 minutes.",
        {
            "info": Query(f"latency_probe_target_info{{{TARGET}}}"),
            "failures": Query(
                f"latency:probe_failures:ratio5m{{{TARGET}}} "
                "* ignoring (address, cipher, http_version, proxy, tls_version) "
                "group_left (address, proxy, http_version, tls_version) "
                f"latency_probe_target_info{{{TARGET}}}"
            ),
        },
        labels={
            "target": "Target",
            "address": "Address",
            "proxy": "Proxy",
            "http_version": "HTTP",
            "tls_version": "TLS",
        },
        values={
            "failures": Column(
                "Failing",
                "percentunit",
                _FAILING,
            )
        },
    )
