"""What of a host can be reached: the sockets that are there, and what a stranger gets from them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.daemons.service.web.certificates import issue
from tests.lab.bundle import INSTALL
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.main_job import RECEIVER
from tests.lab.paths import CHECKOUT
from tests.lab.scrape import Scrape

pytestmark = pytest.mark.lab

METRICS = {"forwarder": 9471, "receiver": 9472, "probe": 9473}
ADDRESS = "10.84.1.11"
KNOCK = """
import json, socket, sys
def knock(port):
    try:
        with socket.create_connection((sys.argv[1], port), timeout=10) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            return connection.recv(4096).hex()
    except OSError as error:
        return type(error).__name__
print(json.dumps({port: knock(int(port)) for port in sys.argv[2:]}))
"""


@pytest.fixture(scope="module")
def hosts(installed: tuple[Path, ...]) -> Iterator[tuple[Host, Host]]:
    """A host with every daemon's first configuration, all of them up, and a neighbour."""
    with Lab() as lab:
        site = lab.site("here", "10.84.1.0/24")
        host = lab.host("exposed", {site: ADDRESS}, layers=installed)
        host.run(*INSTALL, *(word for daemon in (*METRICS, "simulator") for word in ("--role", daemon)))
        for daemon in (*METRICS, "simulator"):
            host.systemctl("start", f"latency-{daemon}.service")
        yield host, lab.host("stranger", {site: "10.84.1.12"}, layers=installed)


def knock(stranger: Host, *ports: int) -> dict[int, str]:
    """Say a request for a page to each port; return what came back first, in hexadecimal, or why nothing did."""
    said = stranger.run("/usr/bin/python3", "-c", KNOCK, ADDRESS, *map(str, ports)).stdout
    return {int(port): answer for port, answer in json.loads(said).items()}


def exposure(host: Host, daemon: str) -> float:
    """Ask systemd how much a unit is exposed, of 10."""
    said = host.run("systemd-analyze", "security", "--no-pager", f"latency-{daemon}.service").stdout
    (found,) = re.findall(r"Overall exposure level for .*: ([\d.]+)", said)
    return float(found)


def test_all_listen_on_loopback_but_the_link(hosts: tuple[Host, Host]) -> None:
    host, stranger = hosts
    # Of the systemd in the host, which holds the link's sockets, and of the daemons: the host has no others of theirs.
    listed = {" ".join((line.split()[0], line.split()[4])) for line in host.shell("ss -Hltnu").splitlines()}
    ours = {line for line in listed if int(line.rpartition(":")[2]) in {8080, 9443, *METRICS.values()}}
    assert ours == {
        *("tcp 0.0.0.0:8080", "udp 0.0.0.0:8080", "tcp 127.0.0.1:9443"),
        *(f"tcp 127.0.0.1:{port}" for port in METRICS.values()),
    }
    pids = {f"pid={host.main_pid(f'latency-{daemon}.service')}," for daemon in (*METRICS, "simulator")}
    owned = [line for line in host.shell("ss -Hltnup").splitlines() if any(pid in line for pid in pids)]
    # The first configuration takes TCP alone: nobody reads the other socket, which holds its buffer's worth alone.
    assert len(owned) == len(ours - {"udp 0.0.0.0:8080"}), owned
    heard = knock(stranger, 8080, 9443, *METRICS.values())
    # The link's challenge, and then nothing: a request for a page is no handshake.
    assert heard.pop(8080).startswith("b1")
    assert set(heard.values()) == {"ConnectionRefusedError"}


def lock(host: Host, folder: Path) -> None:
    """Lock all pages as docs/security.md has it, and open them to the network."""
    page = (CHECKOUT / "docs/security.md").read_text()
    (web,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (drop_in,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    authority = trustme.CA()
    issue(authority, folder, "metrics", ADDRESS)
    issue(authority, folder, "prometheus", "prometheus.test")
    for name in ("metrics.pem", "metrics.key"):
        host.write(f"/etc/latency/{name}", (folder / name).read_text(), 0o600)
    host.write("/etc/latency/ca.pem", authority.cert_pem.bytes().decode())
    host.write("/etc/latency/web.yml", web, 0o600)
    for daemon, port in METRICS.items():
        config = host.path(f"/etc/latency/{daemon}.toml")
        text = config.read_text()
        was = f'listen = "127.0.0.1:{port}"'
        assert was in text
        config.write_text(text.replace(was, f'listen = "0.0.0.0:{port}"\nweb_config_file = "credential:web.yml"'))
        host.write(f"/etc/systemd/system/latency-{daemon}.service.d/pages.conf", drop_in)
    host.systemctl("daemon-reload")
    for daemon in METRICS:
        host.systemctl("restart", f"latency-{daemon}.service")
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())


def test_pages_that_are_locked_open_to_the_right_key_alone(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    host, stranger = hosts
    before = {daemon: exposure(host, daemon) for daemon in METRICS}
    lock(host, tmp_path)
    assert {daemon: exposure(host, daemon) for daemon in METRICS} == before
    assert max(before.values()) <= 2.0
    for name in ("ca.pem", "prometheus.pem", "prometheus.key"):
        stranger.write(f"/root/{name}", (tmp_path / name).read_text(), 0o600)
    # Plain HTTP gets nothing.
    assert all("HTTP/1.1 200" not in bytes.fromhex(said).decode(errors="replace") for said in knocked(stranger))
    for daemon, port in METRICS.items():
        curl = ("curl", "--silent", "--show-error", "--max-time", "100", "--cacert", "/root/ca.pem")
        url = f"https://{ADDRESS}:{port}/metrics"
        certificate = ("--cert", "/root/prometheus.pem", "--key", "/root/prometheus.key")
        password = ("--user", "prometheus:a long password")
        # Once it was right it is remembered, and does not wait behind guesses.
        assert "latency_" in stranger.run(*curl, *certificate, *password, url).stdout
        # A handshake without a certificate is ended by the server, whose word comes after TLS 1.3's handshake.
        assert stranger.run(*curl, *password, url, check=False).returncode in {35, 55, 56}
        code = ("--output", "/dev/null", "--write-out", "%{http_code}")
        assert stranger.run(*curl, *certificate, *code, url).stdout == "401"
        assert stranger.run(*curl, *certificate, *code, "--user", "prometheus:guessed", url).stdout == "401"
        page = Scrape.of(stranger.run(*curl, *certificate, *password, url).stdout)
        assert page.total("latency_page_refusals_total", daemon=daemon, reason="tls") >= 1
        assert page.total("latency_page_refusals_total", daemon=daemon, reason="credentials") >= 2
    assert host.restarts(RECEIVER) == 0


def knocked(stranger: Host) -> list[str]:
    return [said if re.fullmatch("[0-9a-f]*", said) else "" for said in knock(stranger, *METRICS.values()).values()]
