"""``experiment watch`` on daemons that run: their figures, and what is shown when one ends or begins anew."""

import asyncio
import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from websockets.sync.client import connect

from daemons.service.console.screen import figure
from experiments.commands.watching import Watch, go_on
from experiments.live.figures import Watched
from experiments.live.scrape import PAGE_SECONDS
from experiments.live.targets import ScrapeTarget
from experiments.main import main
from tests.monitoring.servers import configured, prometheus
from tests.processes import DEADLINE_SECONDS, until
from tests.programs import address_of, forwarder, free_port, receiver, scrape, simulator
from tests.schemas import conforming
from tests.terminal import on_terminal, program

EXPERIMENT = "experiments.main"


def watch(*arguments: str) -> Watched:
    done = subprocess.run(
        program(EXPERIMENT, "watch", *arguments, "--once", "--json"), capture_output=True, text=True, check=True
    )
    conforming(done.stdout, "experiment-watch")
    return msgspec.json.decode(done.stdout, type=Watched)


@contextlib.contextmanager
def race(*flags: str, output: Path | None = None) -> Iterator[tuple[Any, Any, Any]]:
    """An exchange, a receiver that races a feed against a link, and the link's forwarder."""
    streams = ("--stream", "btcusdt@trade")
    far = ("--far-listen", "127.0.0.1:0", "--far-delay-ms", "40")
    with simulator(*streams, *far, "--wait-for-clients", "3", "--rate", "200", *flags) as exchange:
        paths = ("--mode", "race", "--feed-url", f"ws://{exchange.ready['far']}", *streams)
        kept = () if output is None else ("--output", str(output))
        with receiver(*paths, *kept) as receiving:
            link = ("--destination", address_of(receiving), "--path-name", "backbone", *streams)
            with forwarder("--feed-url", f"ws://{exchange.ready['near']}", *link) as forwarding:
                until(lambda: scrape(forwarding).sum("latency_forwarder_link_connected") == 1, "the link is up")
                # The third client has it begin: what came before the link was up would wait for it, and be in no race.
                with connect(f"ws://{exchange.ready['near']}/ws", open_timeout=None):
                    until(lambda: wins(receiving) > 100, "a hundred wins")
                yield exchange, receiving, forwarding


def wins(receiving: Any) -> float:
    return sum(scrape(receiving).matching("latency_receiver_path_wins_total"))


@pytest.mark.process
def test_figures_are_those_of_the_daemons_directly_and_by_prometheus(tmp_path: Path) -> None:
    # An exchange that rests after a while: whoever asks when must find the same.
    with race("--stop-after-events", "400") as (_exchange, receiving, forwarding):
        until(lambda: sum(scrape(receiving).matching("latency_receiver_events_total")) >= 800, "all is here")
        roles = {"receiver": address_of(receiving, "metrics"), "forwarder": address_of(forwarding, "metrics")}
        direct = watch(*roles.values())
        assert [(daemon.role, daemon.state) for daemon in direct.daemons] == [("receiver", "up"), ("forwarder", "up")]
        feed, link = direct.paths
        assert (feed.name, link.name, feed.connected, link.connected) == ("direct", "backbone", True, True)
        (lead,) = direct.leads
        assert (lead.path, lead.reference) == ("backbone", "direct")
        # Who is first is the machine's affair: a busy one holds the forwarder up for longer than the detour takes.
        assert (lead.wins, lead.reference_wins) == (link.wins, feed.wins)
        assert lead.wins + lead.reference_wins == wins(receiving) > 100
        # An event that waited for the link is no sample.
        assert all(path.samples == path.events - path.delayed for path in direct.paths)
        assert direct.links[0].connected
        assert {clock.daemon for clock in direct.clocks} == set(roles.values())

        config = configured(tmp_path, roles, "127.0.0.1:1")
        with prometheus(config) as server:
            seen: list[Watched] = []

            def by_server() -> Watched:
                done = subprocess.run(
                    program(EXPERIMENT, "watch", "--prometheus", server, "--once", "--json"),
                    capture_output=True,
                    text=True,
                    check=False,
                )
                return msgspec.json.decode(done.stdout or '{"time":"","daemons":[]}', type=Watched, strict=False)

            def all_up() -> bool:
                with contextlib.suppress(msgspec.ValidationError):
                    seen.append(by_server())
                    states = [one.state for one in seen[-1].daemons]
                    return states == ["up", "up"] and sum(path.events for path in seen[-1].paths) >= 800
                return False

            until(all_up, "Prometheus has scraped both")
            # What was seen then: asked again, a server on a busy machine may have missed a scrape.
            asked = seen[-1]
            assert {(daemon.role, daemon.address) for daemon in asked.daemons} == set(roles.items())
            figures = {
                path.name: (path.events, path.samples, path.median_ms, path.p99_ms, path.lost, path.wins)
                for path in direct.paths
            }
            for path in asked.paths:
                found = (path.events, path.samples, path.median_ms, path.p99_ms, path.lost, path.wins)
                assert found == pytest.approx(figures[path.name])
            assert (asked.leads[0].wins, asked.leads[0].median_ms) == (lead.wins, lead.median_ms)


@pytest.mark.process
def test_of_a_run_it_shows_the_figures_of_its_result(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    with race("--stop-after-events", "400", output=file) as (_exchange, receiving, _forwarding):
        until(lambda: sum(scrape(receiving).matching("latency_receiver_events_total")) >= 800, "all is here")
        address = address_of(receiving, "metrics")
        seen = watch(address)
        shown = subprocess.run(
            program(EXPERIMENT, "watch", address, "--once"), capture_output=True, text=True, check=True
        ).stdout
    results = json.loads(file.read_text())
    (race_result,) = results["race"]
    for path in seen.paths:
        stated = results["paths"][path.name]
        assert path.median_ms == pytest.approx(stated["median_latency_ms"], abs=1e-3)
        assert path.p99_ms == pytest.approx(stated["p99_latency_ms"], abs=1e-3)
        assert figure(stated["median_latency_ms"]) in shown
    (lead,) = seen.leads
    assert lead.median_ms == pytest.approx(race_result["lead_ms"]["median"], abs=1e-3)
    assert "p50 and p99 to within 0.05 %" in " ".join(shown.split())


class _Scripted(http.server.BaseHTTPRequestHandler):
    """Two daemons' metrics, a hundred events further at each reading: what is shown hangs on no machine's speed."""

    LATE_ENOUGH = 6
    """The reading after which the forwarder has ``WAITING`` events: what is on the screen then has trends."""
    WAITING = 4242

    def do_GET(self) -> None:
        server: Any = self.server
        server.readings += 1
        page = _receiver_page(server.readings) if server.role == "receiver" else _forwarder_page(server.readings)
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join(f"{line}\n" for line in page).encode())

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _receiver_page(reading: int) -> Iterator[str]:
    yield 'latency_build_info{daemon="receiver",version="1.2.3"} 1'
    yield "latency_receiver_clock_synchronized 1"
    events = 100 * reading
    for path, kind, seconds in (("direct", "feed", 0.12345), ("backbone", "link", 0.10345)):
        yield f'latency_receiver_{kind}_connected{{path="{path}"}} 1'
        yield f'latency_receiver_events_total{{path="{path}"}} {events}'
        yield f'latency_receiver_sequence_gap_events_total{{path="{path}"}} 0'
        yield f'latency_receiver_jitter_seconds{{path="{path}"}} 0.0012'
        for bound, count in ((seconds, 0), (seconds + 0.02, events), ("+Inf", events)):
            yield f'latency_receiver_end_to_end_seconds_bucket{{path="{path}",le="{bound}"}} {count}'
    pair = 'path="backbone",reference="direct"'
    yield f"latency_receiver_path_wins_total{{{pair}}} {events}"
    yield 'latency_receiver_path_wins_total{path="direct",reference="backbone"} 0'
    yield f"latency_receiver_path_lead_seconds_count{{{pair}}} {events}"
    for bound, count in ((0.019, 0), (0.021, events), ("+Inf", events)):
        yield f'latency_receiver_path_lead_seconds_bucket{{{pair},le="{bound}"}} {count}'


def _forwarder_page(reading: int) -> Iterator[str]:
    yield 'latency_build_info{daemon="forwarder",version="1.2.3"} 1'
    yield "latency_forwarder_clock_synchronized 1"
    yield 'latency_forwarder_link_connected{link="backbone"} 1'
    yield f'latency_forwarder_events_forwarded_total{{link="backbone"}} {100 * reading}'
    waiting = _Scripted.WAITING if reading > _Scripted.LATE_ENOUGH else 0
    yield f'latency_forwarder_buffer_events{{link="backbone"}} {waiting}'


@contextlib.contextmanager
def scripted(role: str) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Scripted) as server:
        server.role, server.readings = role, 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"{role}=127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.process
@pytest.mark.parametrize("width", [60, 80, 140])
def test_tables_are_whole_at_every_width(width: int) -> None:
    with scripted("receiver") as receiving, scripted("forwarder") as forwarding:
        command = program(EXPERIMENT, "watch", receiving, forwarding, "--interval", "100ms")
        # With Ctrl-C it ends well, and without a traceback.
        shown = on_terminal(command, width, interrupt_at=str(_Scripted.WAITING))
    assert shown.code == 0
    assert "Traceback" not in shown.text
    assert shown.too_long == []
    assert "…" not in shown.text
    last = shown.text[shown.text.rindex("figures of the last") :]
    assert re.search(r"p50 ms +\d+\.\d\d|\d+\.\d\d +\d+\.\d\d", last)
    assert "backbone leads direct by 20.00 ms" in " ".join(last.split())
    assert re.search(r"[▁▂▃▄▅▆▇█]{3}", last)
    assert "probe: not configured" in last


@pytest.mark.process
def test_a_daemon_that_ends_is_told_and_one_that_begins_anew_too() -> None:
    at = f"127.0.0.1:{free_port()}"
    command = program(EXPERIMENT, "watch", f"receiver={at}", "--interval", "200ms", "--json")
    with (
        simulator("--stream", "btcusdt@trade", "--rate", "200") as exchange,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching,
    ):
        assert watching.stdout is not None
        lines = watching.stdout

        def seen(wanted: str) -> Watched:
            """Read on until a state comes."""
            for _reading in range(2000):
                found = msgspec.json.decode(lines.readline(), type=Watched)
                (daemon,) = found.daemons
                if wanted in {daemon.state, f"restarts={daemon.restarts}"}:
                    return found
            raise AssertionError(wanted)

        try:
            first = seen("gone").daemons[0]
            assert (first.silent_seconds, "Connection refused" in first.trouble) == (None, True)
            flags = ("--mode", "baseline", "--feed-url", f"ws://{exchange.ready['near']}", "--stream", "btcusdt@trade")
            for life in range(2):
                with receiver(*flags, "--metrics", at) as receiving:
                    up = seen("up")
                    assert up.paths[0].name == "direct"
                    until(lambda: sum(scrape(receiving).matching("latency_receiver_events_total")) > 50, "fifty events")
                    if life:
                        assert seen("restarts=1").daemons[0].restarts == 1
                gone = seen("gone")
                assert gone.daemons[0].silent_seconds is not None
                assert gone.paths == []
        finally:
            watching.terminate()
        assert watching.wait(300) == 0


class _Strange(http.server.BaseHTTPRequestHandler):
    """Answers what no exporter of ours would."""

    answers = ((404, b"not here"), (200, b"<html>{</html>"), (200, b"\xff\xfe"), (200, b"x{a=} 1\n"), (200, b""))

    def do_GET(self) -> None:
        status, body = self.answers[int(self.headers.get("X-Number", "0")) or self.server.number]  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def strange(number: int) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Strange) as server:
        server.number = number  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("number", range(len(_Strange.answers)))
def test_what_is_no_exporter_is_told_in_a_line(number: int) -> None:
    with strange(number) as address:
        found = CliRunner().invoke(main, ["watch", address, "--once"])
        asked = CliRunner().invoke(main, ["watch", "--prometheus", address, "--once"])
    assert "Traceback" not in found.output + asked.output
    assert found.exit_code == 1
    assert f"daemon {address} does not answer: no metrics (" in " ".join(found.output.split())
    assert asked.exit_code == 1
    assert asked.output.startswith(f"error: http://{address}: no answer of Prometheus (")


def test_where_nothing_runs_it_says_what_to_name() -> None:
    found = CliRunner().invoke(main, ["watch", "127.0.0.1:1", "--once"])
    assert found.exit_code == 1
    assert "no daemon answers; name where metrics are" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["foo=h:1"], "TARGET: 'foo' is no role that has metrics"),
        (["h"], "TARGET: 'h' is not an address"),
        (["h:1", "--prometheus", "h:2"], "--prometheus: the server knows the targets; leave out TARGETS"),
        (["--prometheus", "ftp://h"], "--prometheus: 'ftp://h' is no server"),
        (["--prometheus", "h:99999"], "--prometheus: 'h:99999': "),
    ],
)
def test_what_cannot_be_watched_is_refused(arguments: list[str], why: str) -> None:
    found = CliRunner().invoke(main, ["watch", *arguments])
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: {why}")


def test_a_prometheus_that_knows_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()
    monkeypatch.setattr(_Strange, "answers", ((200, empty),))
    with strange(0) as address:
        found = CliRunner().invoke(main, ["watch", "--prometheus", address, "--once"])
    assert found.exit_code == 1
    assert "Prometheus has no target of job 'latency'" in found.stderr


class _Held(http.server.BaseHTTPRequestHandler):
    """A receiver whose page comes when it is let go."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.set()
        if not server.let_go.wait(DEADLINE_SECONDS):
            server.gave_up.set()
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.end_headers()
            self.wfile.write("".join(f"{line}\n" for line in _receiver_page(1)).encode())

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def held() -> Iterator[tuple[str, Any]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Held) as server:
        own: Any = server
        own.asked, own.let_go, own.gave_up = threading.Event(), threading.Event(), threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", own
        finally:
            own.let_go.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("named", [True, False])
def test_a_daemon_whose_page_is_late_is_slow_and_not_absent(named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.live.scrape.PAGE_SECONDS", 0.2)
    with held() as (address, _server):
        usual = (ScrapeTarget("receiver", address), ScrapeTarget("probe", f"127.0.0.1:{free_port()}"))
        monkeypatch.setattr("experiments.commands.watching._USUAL", usual)
        arguments = [f"receiver={address}"] if named else []
        shown = CliRunner().invoke(main, ["watch", *arguments, "--once"])
        told = CliRunner().invoke(main, ["watch", *arguments, "--once", "--json"])
    assert shown.exit_code == told.exit_code == 1
    text = " ".join(shown.output.split())
    assert f"receiver {address} is slow: it listens, and its page has not come within 0.2 s" in text
    assert "no daemon has answered in time" in text
    conforming(told.stdout, "experiment-watch")
    (daemon,) = msgspec.json.decode(told.stdout, type=Watched).daemons
    assert (daemon.role, daemon.address, daemon.state) == ("receiver", address, "slow")


def test_it_waits_for_a_page_as_long_as_prometheus_does_by_itself() -> None:
    assert PAGE_SECONDS >= 10


def test_it_ends_when_it_is_told_to_though_a_daemon_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.live.scrape.PAGE_SECONDS", 2 * DEADLINE_SECONDS)
    with held() as (address, server):

        def tell() -> None:
            if server.asked.wait(DEADLINE_SECONDS):
                os.kill(os.getpid(), signal.SIGINT)

        telling = threading.Thread(target=tell)
        telling.start()
        watch_one = Watch([ScrapeTarget("receiver", address)], None, 60.0)
        assert asyncio.run(go_on(watch_one, 1.0, None, as_json=True)) == 0
        telling.join()
        assert not server.gave_up.is_set()


def test_a_slow_daemon_makes_no_other_path_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    read_first, clock = threading.Event(), [1_000_000.0]

    def now() -> float:
        read_first.set()
        return clock[0]

    monkeypatch.setattr("experiments.live.scrape.time", SimpleNamespace(time=now, monotonic=now))
    page = [*_receiver_page(1), f'latency_last_event_timestamp_seconds{{path="direct"}} {clock[0] - 1}']
    monkeypatch.setattr(_Strange, "answers", ((200, "".join(f"{line}\n" for line in page).encode()),))
    with strange(0) as quick, held() as (slow, server):

        def let_go() -> None:
            read_first.wait(DEADLINE_SECONDS)
            clock[0] += 100
            server.let_go.set()

        later = threading.Thread(target=let_go)
        later.start()
        seen = asyncio.run(Watch([ScrapeTarget("receiver", quick), ScrapeTarget("receiver", slow)], None, 60.0).read())
        later.join()
    assert [daemon.state for daemon in seen.daemons] == ["up", "up"]
    assert seen.paths[0].silent_seconds == pytest.approx(1)
