"""Real Prometheus and Alertmanager with the shipped files, against all daemons at work."""

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import trustme
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.expressions import ROOT, Expression, alerts, metrics_in, queries, rules
from tests.monitoring.servers import Webhook, alertmanager, ask, configured, prometheus, webhook
from tests.processes import Program, running, until
from tests.programs import address_of, forwarder, free_port, log_lines, receiver, simulator

pytestmark = pytest.mark.process

JITTER_LIMIT_SECONDS = 0.02
"""Above what a busy build machine does by itself, far below what is injected."""

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("",)}

NORMALLY_EMPTY = {
    "ALERTS": "no alert fires on a good day",
    "absent(": "says that there is nothing",
    "unless on () latency:wins": "says that the recording rules are late, or that no receiver is scraped",
    "latency:jitter_seconds:same_hour": "needs yesterday",
    "latency:delay_seconds:p99_same_hour": "needs yesterday",
    "latency:clock_bound_seconds:path{": "unknown (NaN, which the query leaves out) while no clock is synchronised",
    "clock_error_bound_seconds{": "the same",
    "latency_probe_overlay_sent_total": "nothing is sent without the permission to ping",
    "latency_probe_overlay_lost_total": "needs answers or their absence, and these the permission to ping",
    "latency:probe_overlay_loss": "the same",
    "latency_probe_overlay_jitter_seconds": "needs answers, and these the permission to ping",
    "latency_probe_overlay_rtt_seconds_bucket": "the same",
    "[5m])))[$__interval:5m]) or": "what is counted in five minutes: on a good day nothing but the line of zeros",
}


WITHOUT_A_PANEL = {
    "latency_feed_connection_behind_seconds": "of feeds with several connections, for whoever compares them",
    "latency_feed_connection_copies": "of feeds with several connections, for whoever compares them",
    "latency_feed_connection_info": "an address, for whoever looks for one",
    "latency_feed_connection_pings": "for whoever compares the exchange's addresses",
    "latency_feed_connection_pongs": "the same",
    "latency_feed_connection_rtt_seconds": "the same; TCP's own round trip is shown",
    "latency_feed_connection_start_time_seconds": "replacements are shown",
    "latency_feed_connection_tcp_out_of_order_segments": "the sum of all connections is shown",
    "latency_feed_connection_tcp_retransmitted_segments": "the same",
    "latency_feed_connection_tcp_rtt_seconds": "the worst of all connections is shown",
    "latency_feed_connection_wins": "of feeds with several connections, for whoever compares them",
    "latency_feed_overlap_events": "as wanted: in no figure",
    "latency_forwarder_buffer_bytes": "the events in it are shown",
    "latency_forwarder_clock_disrupted": "a disruption is shown as a step",
    "latency_forwarder_clock_disruptions": "the same",
    "latency_forwarder_clock_disruptions_told": "a property of the machine",
    "latency_forwarder_clock_source_error_bound_seconds": "the bound that is used is shown",
    "latency_forwarder_config_last_reload_success_timestamp_seconds": "whether it was taken is shown",
    "latency_forwarder_departure_samples": "how many are sampled does not change",
    "latency_forwarder_departure_stamps": "the same",
    "latency_forwarder_events_without_event_time": "a property of the streams",
    "latency_forwarder_feed_delay_seconds": "a part of end to end, for whoever takes it apart",
    "latency_forwarder_hardware_clock_error_seconds": "of interfaces that stamp, for whoever has one",
    "latency_forwarder_hardware_clock_read_failures": "the same",
    "latency_forwarder_hardware_clock_steps": "the same",
    "latency_forwarder_hardware_stamps_refused": "the same",
    "latency_forwarder_hardware_stamps_used": "the same",
    "latency_forwarder_hold_kernel_seconds": "the hold of all events is shown",
    "latency_probe_attempts": "the sum of what is shown",
    "latency_probe_config_last_reload_success_timestamp_seconds": "whether it was taken is shown",
    "latency_probe_interim_seconds": "a part of the phase processing",
    "latency_probe_route_hops": "the hops themselves are shown",
    "latency_probe_route_missed_slots": "a trace that is slow",
    "latency_probe_route_slots": "the sum of others",
    "latency_probe_route_traces": "the hops themselves are shown",
    "latency_probe_scheduled_total_seconds": "the schedule lag is shown",
    "latency_receiver_archive_finished_files": "failures alert",
    "latency_receiver_archive_oldest_timestamp_seconds": "a property of the folder's bounds",
    "latency_receiver_archive_removed_files": "as wanted",
    "latency_receiver_archive_restarts": "for whoever looks for lost rows",
    "latency_receiver_archive_rows": "the events are shown",
    "latency_receiver_archive_rows_lost": "failures alert",
    "latency_receiver_archive_stored_bytes": "a property of the folder's bounds",
    "latency_receiver_archive_stored_files": "the same",
    "latency_receiver_archive_unknown_ends": "for whoever looks for lost rows",
    "latency_receiver_archive_upload_waiting_files": "failures alert",
    "latency_receiver_archive_uploaded_bytes": "as wanted",
    "latency_receiver_archive_uploaded_files": "the same",
    "latency_receiver_backbone_jitter_seconds": "jitter end to end is shown",
    "latency_receiver_clock_disrupted": "a disruption is shown as a step",
    "latency_receiver_clock_disruptions": "the same",
    "latency_receiver_clock_disruptions_told": "a property of the machine",
    "latency_receiver_clock_exchange_failures": "the offset is shown",
    "latency_receiver_clock_source_error_bound_seconds": "the bound that is used is shown",
    "latency_receiver_config_last_reload_success_timestamp_seconds": "whether it was taken is shown",
    "latency_receiver_delayed_seconds": "how many were delayed is shown",
    "latency_receiver_event_time_step_seconds": "a property of the streams",
    "latency_receiver_events_without_event_time": "a property of the streams",
    "latency_receiver_forwarder_time_step_seconds": "a property of the forwarder",
    "latency_receiver_hardware_clock_error_seconds": "of interfaces that stamp, for whoever has one",
    "latency_receiver_hardware_clock_read_failures": "the same",
    "latency_receiver_hardware_clock_steps": "the same",
    "latency_receiver_hardware_stamps_refused": "the same",
    "latency_receiver_hardware_stamps_used": "the same",
    "latency_receiver_link_connections": "their ends are shown",
    "latency_receiver_link_dscp": "what was configured, at the other end",
    "latency_receiver_link_ttl_changes": "how many, for whoever asks whether the route changed",
    "latency_receiver_link_ttl_hops": "the same",
    "latency_receiver_path_ties": "neither wins",
    "latency_receiver_race_waiting_events": "a second's worth",
    "latency_receiver_result_rows": "failures alert",
    "latency_receiver_result_rows_lost": "failures alert",
    "latency_receiver_run_delay_seconds": "for the live table of a run",
    "latency_receiver_run_lead_seconds": "for the live table of a run",
    "latency_receiver_run_link_rtt_seconds": "for the live table of a run",
    "latency_receiver_segment_samples": "how many are sampled does not change",
    "latency_receiver_segment_seconds": "parts of what is shown; a report has them",
    "latency_receiver_sequence_gaps": "the events in them are shown",
    "latency_receiver_sessions": "restarts are shown",
    "latency_receiver_tail_excess_seconds": "how many events are in the tail by cause is shown; a report has both",
    "latency_receiver_tail_threshold_seconds": "the p99 of end to end is shown",
    "latency_tcp_reordering_segments": "a setting of the kernel's",
    "latency_tcp_rtt_deviation_seconds": "the round trip is shown",
}


def _normally_empty(text: str) -> bool:
    return any(name in text + "{" for name in NORMALLY_EMPTY)


@dataclass
class Desk:
    """What a trader's desk has, on one machine."""

    prometheus: str
    alertmanager: str
    webhook: Webhook
    pages: tuple[str, ...]
    relay: Program
    jittery: ExitStack
    jittery_address: str

    def values(self, expression: str) -> list[tuple[dict[str, str], str]]:
        """Ask Prometheus; return labels and value of each series."""
        answer = ask(self.prometheus, "/api/v1/query", query=expression)
        return [(series["metric"], series["value"][1]) for series in answer["data"]["result"]]

    def firing(self, name: str, **labels: str) -> bool:
        """Whether Prometheus has an alert with these labels firing."""
        matchers = "".join(f',{key}="{value}"' for key, value in labels.items())
        return bool(self.values(f'ALERTS{{alertname="{name}",alertstate="firing"{matchers}}}'))


def _jittery(address: str, jitter_ms: int) -> tuple[str, ...]:
    return ("--far-listen", address, "--far-delay-ms", "400", "--far-jitter-ms", str(jitter_ms), "--rate", "5")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    certificate = folder / "server.pem"
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    jittery_address = f"127.0.0.1:{free_port()}"
    alertmanager_address = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack, ExitStack() as jittery:
        exchange = stack.enter_context(
            simulator("--far-listen", "127.0.0.1:0", "--far-delay-ms", "40", "--rate", "100")
        )
        jittery.enter_context(simulator(*_jittery(jittery_address, 200), "--stream", "ethusdt@trade"))
        (folder / "receiver.toml").write_text(
            f'[[path]]\nname = "direct"\nkind = "feed"\nurl = "ws://{exchange.ready["far"]}"\n'
            'streams = ["btcusdt@trade", "btcusdt@bookTicker"]\n'
            f'[[path]]\nname = "jittery"\nkind = "feed"\nurl = "ws://{jittery_address}"\nstreams = ["ethusdt@trade"]\n'
            '[[path]]\nname = "backbone"\nkind = "link"\nlisten = "127.0.0.1:0"\n'
        )
        receiving = stack.enter_context(receiver("--config", str(folder / "receiver.toml")))
        link = next(line["address"] for line in log_lines(receiving, "listening"))
        relay = stack.enter_context(running("experiments.local.relay", link, "20", ready="address"))
        forwarding = stack.enter_context(
            forwarder(
                *("--feed-url", f"ws://{exchange.ready['near']}", "--path-name", "backbone"),
                *("--stream", "btcusdt@trade", "--stream", "btcusdt@bookTicker"),
                *("--destination", relay.ready["address"]),
            )
        )
        hook, got = stack.enter_context(webhook())
        server = stack.enter_context(
            running("tests.daemons.probe.fast_server", str(certificate), ready="port", exit_code=-15)
        )
        url = f"https://localhost:{server.ready['port']}/"
        (folder / "probe.toml").write_text(
            f'[metrics]\nlisten = "127.0.0.1:0"\n[[target]]\nname = "api"\nurl = "{url}"\ninterval_seconds = 0.5\n'
            f'ca_file = "{folder}/ca.pem"\n'
            f'[egress]\nurl = "http://{hook}/"\ninterval_seconds = 1\nexpected_address = "203.0.113.10"\n'
            '[route]\ntarget = "127.0.0.1"\ninterval_seconds = 5\ncycles = 2\n'
            '[overlay]\npeer = "127.0.0.1"\ninterval_seconds = 0.2\n'
        )
        probe = stack.enter_context(running("daemons.probe.main", "--config", str(folder / "probe.toml")))
        stack.enter_context(alertmanager(folder, alertmanager_address, hook))
        targets = {
            "receiver": address_of(receiving, "metrics"),
            "forwarder": address_of(forwarding, "metrics"),
            "probe": probe.ready["metrics"],
        }
        config = configured(folder, targets, alertmanager_address, jitter_seconds=JITTER_LIMIT_SECONDS)
        address = stack.enter_context(prometheus(config))
        yield Desk(address, alertmanager_address, got, tuple(targets.values()), relay, jittery, jittery_address)


def _pages(desk: Desk) -> Iterator[str]:
    for page in desk.pages:
        with urllib.request.urlopen(f"http://{page}/metrics", timeout=300) as answer:
            yield answer.read().decode()


def _families(desk: Desk) -> list[Metric]:
    return [family for page in _pages(desk) for family in text_string_to_metric_families(page)]


def test_promtool_has_nothing_to_say_about_the_daemons_pages(desk: Desk) -> None:
    for page in _pages(desk):
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_dashboards_and_rules_use_only_what_the_daemons_export(desk: Desk) -> None:
    exported = {"up", "ALERTS"} | {rule["record"] for rule in rules() if "record" in rule}
    families = _families(desk)
    exported |= {sample.name for family in families for sample in family.samples}
    # What has no sample before its first event is on the page by its name.
    exported |= {f"{family.name}{suffix}" for family in families for suffix in SUFFIXES[family.type]}
    for expression in [query.text for query in queries()] + [rule["expr"] for rule in rules()]:
        assert metrics_in(expression) <= exported, expression


def test_what_an_alert_waits_for_or_a_panel_counts_is_counted_from_zero(desk: Desk) -> None:
    # A counter that is born with its first event has no increase then: the first would alert nobody, and be on no
    # panel.
    samples = {sample.name for family in _families(desk) for sample in family.samples}
    expressions = [query.text for query in queries()] + [rule["expr"] for rule in rules()]
    counters = {name for expression in expressions for name in metrics_in(expression) if name.endswith("_total")}
    assert len(counters) > 50
    assert counters <= samples


def test_every_family_is_documented_and_shown(desk: Desk) -> None:
    families = [family for family in _families(desk) if not family.name.startswith("process_")]
    exported = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    text = (ROOT / "docs" / "monitoring.md").read_text()
    assert set(re.findall(r"^\| `(latency_\w+)` \|", text, re.MULTILINE)) == exported
    used = {name for query in queries() for name in metrics_in(query.text)}
    used |= {name for rule in rules() for name in metrics_in(rule["expr"])}
    shown = {family.name for family in families if used & {family.name + end for end in SUFFIXES[family.type]}}
    unseen = {family.name for family in families} - shown
    assert unseen == set(WITHOUT_A_PANEL), "give it a panel, or say why it has none"


def test_every_query_returns_something(desk: Desk) -> None:
    recording = [Expression(rule["record"], rule["expr"]) for rule in rules() if "record" in rule]
    waiting = [query for query in (*queries(), *recording) if not _normally_empty(query.text + query.where)]
    # An alert's condition is empty on a good day, what it is made of is not.
    waiting += [
        Expression(name, metric)
        for name, alert in alerts().items()
        for metric in metrics_in(alert["expr"])
        if not _normally_empty(metric)
    ]

    def answered() -> bool:
        waiting[:] = [query for query in waiting if not desk.values(query.filled)]
        return not waiting

    try:
        # Rates over minutes, and the route's second trace, need theirs.
        until(answered, "every query returns a series")
    except AssertionError as error:
        error.add_note("\n".join(f"{query.where}: {query.filled}" for query in waiting))
        raise


def test_queries_that_are_normally_empty_are_right_all_the_same(desk: Desk) -> None:
    for query in (*queries(), *(Expression(name, alert["expr"]) for name, alert in alerts().items())):
        try:
            ask(desk.prometheus, "/api/v1/query", query=query.filled)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{query.where}: {error.read().decode()}")


def test_the_jitter_alert_reaches_the_webhook_and_resolves(desk: Desk) -> None:
    until(lambda: desk.webhook.told("page", "firing: Path jittery, ethusdt@trade: jitter is"), "a page about jitter")
    assert not any("backbone" in line for _receiver, line in desk.webhook.lines if "jitter is" in line)
    desk.jittery.close()
    desk.jittery.enter_context(simulator(*_jittery(desk.jittery_address, 0), "--stream", "ethusdt@trade"))
    # Alertmanager tells of changes to a group every half minute.
    until(lambda: desk.webhook.told("page", "resolved: Path jittery, ethusdt@trade"), "the page is resolved", 300)


def test_a_cut_link_pages_once_and_keeps_its_effects_quiet(desk: Desk) -> None:
    assert not desk.webhook.told("page", "firing: Path backbone: no forwarder")
    desk.relay.terminate()
    until(lambda: desk.webhook.told("page", "firing: Path backbone: no forwarder is connected"), "a page")
    # The silence and the forwarder's side follow, and are known, but nobody is told.
    until(lambda: desk.firing("PathSilent", path="backbone"), "the path is silent")
    until(lambda: desk.firing("ForwarderLinkDown"), "the forwarder's side")

    def suppressed() -> set[str]:
        found = ask(desk.alertmanager, "/api/v2/alerts")
        return {alert["labels"]["alertname"] for alert in found if alert["status"]["inhibitedBy"]}

    until(lambda: {"PathSilent", "ForwarderLinkDown"} <= suppressed(), "Alertmanager suppresses them")
    told = [line for _receiver, line in desk.webhook.lines if line.startswith("firing: ")]
    assert not [line for line in told if "path backbone: no event" in line or "has no connection to" in line]
