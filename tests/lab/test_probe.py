"""The probe under its own unit: HTTPS phases, mtr with the one capability it has, and echoes through a ping socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deadline import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.scrape import Scrape, scrape
from tests.lab.shape import Shape

pytestmark = pytest.mark.lab

PROBE = "latency-probe.service"
SAID = "latency_probe"
PORT = 9473
ONE_WAY_MS = 20.0
CONFIG = """
[[target]]
name = "exchange"
url = "https://tokyo/api/v3/time"
ca_file = "/etc/latency/ca.pem"
interval_seconds = 0.5
expect = { json_field = "serverTime" }

[route]
target = "tokyo"
interval_seconds = 3
cycles = 1
protocol = "udp"

[overlay]
peer = "10.86.2.11"
interval_seconds = 0.2
timeout_seconds = 10
"""
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tokyo "
    "-addext subjectAltName=DNS:tokyo -keyout /srv/tls.key -out /srv/tls.pem 2>&1"
)
SERVER = """
import http.server, json, ssl, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True
    def do_GET(self):
        body = json.dumps({"serverTime": time.time_ns() // 1_000_000}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/tls.pem", "/srv/tls.key")
server = http.server.ThreadingHTTPServer(("", 443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
"""An exchange's answer to "what time is it", on connections that are kept."""

WITHOUT_CAPABILITY = "[Service]\nAmbientCapabilities=\n"


@pytest.fixture(scope="module")
def host(installed: tuple[Path, ...]) -> Iterator[Host]:
    with Lab() as lab:
        singapore, tokyo = lab.site("singapore", "10.86.1.0/24"), lab.site("tokyo", "10.86.2.0/24")
        lab.link(singapore, tokyo, Shape(delay_ms=ONE_WAY_MS))
        exchange = lab.host("tokyo", {tokyo: "10.86.2.11"})
        exchange.shell(CERTIFICATE)
        exchange.run("systemd-run", "--quiet", "--unit=exchange", "/usr/bin/python3", "-c", SERVER)
        exchange.shell("until ss -Hltn sport = :443 | grep -q .; do sleep 0.05; done", seconds=30.0)
        host = lab.host("singapore", {singapore: "10.86.1.11"}, layers=installed)
        host.write("/etc/latency/ca.pem", exchange.path("/srv/tls.pem").read_text())
        host.write("/etc/latency/probe.toml", CONFIG)
        host.systemctl("enable", "--now", PROBE)
        yield host


def page(host: Host) -> Scrape:
    return scrape(host, PORT)


def count(host: Host, name: str, **labels: str) -> float:
    return sum(page(host).values(f"{SAID}_{name}", **labels))


def within(host: Host, connection: str, seconds: float) -> float:
    """Return how many requests took no longer, by the nearest bucket below."""
    buckets = {
        float(labels["le"]): value
        for name, labels, value in page(host).samples
        if name == f"{SAID}_total_seconds_bucket" and labels["connection"] == connection
    }
    return buckets[max(le for le in buckets if le < seconds)]


def test_requests_succeed_and_take_as_long_as_the_link_makes_them(host: Host) -> None:
    assert host.systemctl("is-active", PROBE).strip() == "active"
    for connection in ("cold", "warm"):
        wait_until(
            f"{connection} requests were made",
            lambda connection=connection: count(host, "total_seconds_count", connection=connection) >= 5,  # type: ignore[misc]
        )
    found = page(host)
    assert found.total(f"{SAID}_success", target="exchange") == 1
    assert found.total(f"{SAID}_failures_total") == 0
    round_trip = 2 * ONE_WAY_MS / 1e3
    # A cold request is three round trips (TCP, TLS 1.3, HTTP), a warm one is one; nothing is faster than the link. A
    # warm one may meet a stall, which a mean would keep; a cold one that were called warm is never as quick.
    assert within(host, "cold", 3 * round_trip) == within(host, "warm", round_trip) == 0
    wait_until("warm requests take a round trip", lambda: within(host, "warm", 3 * round_trip) >= 5)


def test_mtr_finds_every_router_on_the_way(host: Host) -> None:
    # By UDP, which needs the capability: for ICMP echoes the ping socket alone would do.
    wait_until("a route was traced", lambda: count(host, "route_traces_total") >= 1)

    def near() -> bool:
        rtt = page(host).values(f"{SAID}_route_hop_rtt_seconds", hop="1")
        return bool(rtt) and min(rtt) < ONE_WAY_MS / 1e3

    # A trace has one probe for each hop, which mtr may be late to see.
    wait_until("the first router is on this side of the link", near)
    found = page(host)
    assert found.total(f"{SAID}_route_hops") == 3
    hops = {labels["hop"]: labels["address"] for name, labels, _ in found.samples if name == f"{SAID}_route_hop_info"}
    assert hops["1"] == "10.86.1.1"
    assert hops["3"] == "10.86.2.11"
    assert found.total(f"{SAID}_route_hop_rtt_seconds", hop="3") >= 2 * ONE_WAY_MS / 1e3
    assert found.total(f"{SAID}_route_failures_total") == 0


def test_echoes_go_through_the_ping_socket_that_the_sysctl_file_allows(host: Host) -> None:
    wait_until("echoes were answered", lambda: count(host, "overlay_received_total") >= 10)
    found = page(host)
    assert found.total(f"{SAID}_overlay_socket_open") == 1
    assert found.total(f"{SAID}_overlay_send_errors_total") == 0
    assert found.total(f"{SAID}_overlay_lost_total") == 0
    mean = found.total(f"{SAID}_overlay_rtt_seconds_sum") / found.total(f"{SAID}_overlay_rtt_seconds_count")
    assert mean >= 2 * ONE_WAY_MS / 1e3


def test_without_capability_and_ping_sockets_mtr_is_refused_and_all_else_goes_on(host: Host) -> None:
    host.shell("sysctl --quiet --write net.ipv4.ping_group_range='1 0'")
    host.write(f"/etc/systemd/system/{PROBE}.d/without.conf", WITHOUT_CAPABILITY)
    host.systemctl("daemon-reload")
    host.systemctl("restart", PROBE)
    wait_until("mtr is refused", lambda: count(host, "route_failures_total", reason="refused") >= 1)
    wait_until("requests succeed", lambda: count(host, "successes_total", target="exchange") >= 2)
    wait_until("echoes are missed", lambda: count(host, "overlay_missed_slots_total") >= 2)
    found = page(host)
    assert found.total(f"{SAID}_overlay_socket_open") == 0
    assert found.total(f"{SAID}_overlay_lost_total") == 0
    assert found.total(f"{SAID}_route_traces_total") == 0
    assert host.restarts(PROBE) == 0
