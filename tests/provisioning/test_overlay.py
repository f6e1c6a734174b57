"""The overlay's files say what they must, and the tools that read them on a host accept them here."""

import configparser
import runpy
import subprocess
import threading
import urllib.request
from http.server import HTTPServer
from pathlib import Path

import pytest

from provisioning.loading import adjusted, load_topology
from provisioning.overlay import overlay_files, source

ROOT = Path(__file__).parents[2]


def files(host: str, kind: str = "ipip") -> dict[str, str]:
    topology = adjusted(load_topology("egress"), types={}, overlay=kind)
    return {path: text for path, _, text in overlay_files(topology, topology.named_host(host))}


def test_hosts_outside_the_overlay_get_none() -> None:
    assert files("baseline") == {}


def test_the_tunnel_has_fixed_ends_and_an_explicit_mtu() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(files("client")["/etc/systemd/network/50-latency-tunnel.netdev"])
    assert parser["NetDev"]["MTUBytes"] == "1480"
    assert (parser["Tunnel"]["Local"], parser["Tunnel"]["Remote"]) == ("10.0.1.10", "10.1.1.10")
    parser.read_string(files("nat")["/etc/systemd/network/50-latency-tunnel.network"])
    assert parser["Network"]["Address"] == "10.99.0.2/30"


def test_names_are_resolved_on_the_egress_side_and_link_local_stays_out_of_the_tunnel() -> None:
    client = files("client")
    assert "DNS=10.1.0.2" in client["/etc/systemd/network/50-latency-tunnel.network"]
    guard = client["/etc/systemd/network/49-latency-guard.network"]
    rules = [block for block in guard.split("\n\n") if "RoutingPolicyRule" in block]
    where = [
        tuple(line.split("=")[1] for line in rule.splitlines() if line.startswith(("To", "Table"))) for rule in rules
    ]
    assert where == [
        ("169.254.0.0/16", "main"),
        ("10.1.0.2/32", "4242"),
        ("10.0.0.0/16", "main"),
        ("10.1.0.0/16", "main"),
        ("10.99.0.0/30", "main"),
        ("4242",),
    ]
    priorities = [int(line.split("=")[1]) for line in guard.splitlines() if line.startswith("Priority")]
    assert priorities == sorted(priorities)
    assert "Type=unreachable" in guard


def test_the_wireguard_key_is_never_written_here() -> None:
    client = files("client", "wireguard")
    template = client["/etc/latency/wireguard.netdev.in"]
    assert "PrivateKeyFile=/etc/latency/wireguard.key" in template
    assert "@PEER_KEY@" in template
    assert "PersistentKeepalive=25" in template
    assert "AllowedIPs=10.99.0.0/30" in files("nat", "wireguard")["/etc/latency/wireguard.netdev.in"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("client", "-A OUTPUT -j REJECT --reject-with icmp-admin-prohibited"),
        ("client", "-A OUTPUT -j REJECT --reject-with icmp6-adm-prohibited"),
        ("nat", "-A POSTROUTING -s 10.99.0.0/30 ! -o latency0 -p tcp -j MASQUERADE --to-ports 1024-65535"),
        ("nat", "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"),
        ("nat", ":FORWARD DROP [0:0]"),
    ],
)
def test_iptables_accepts_the_rules_twice(host: str, words: str) -> None:
    """In a network namespace of its own; the second load replaces the first, so a reload changes nothing."""
    rules = files(host)
    load = "".join(
        f"{program}-restore <<'E'\n{rules[f'/etc/latency/overlay.{family}']}E\n"
        for program, family in (("iptables", "v4"), ("ip6tables", "v6"))
    )
    list_all = "iptables-save; ip6tables-save"
    script = f"{load}{list_all}; echo ---\n{load}{list_all}"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    once, twice = ([line for line in part.splitlines() if line[:1] in "-:"] for part in done.stdout.split("---\n"))
    assert once == twice
    assert words in once


@pytest.mark.process
def test_the_nic_exporter_serves_a_page() -> None:
    program = runpy.run_path(str(ROOT / "systemd/overlay/nic-exporter"))
    server = HTTPServer(("127.0.0.1", 0), program["Handler"])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=300) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "# TYPE latency_nic_read_errors gauge" in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rsplit(" ", 1)[1]) >= 0


def test_the_drivers_counters_are_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ioctl's layout (linux/ethtool.h), played by a driver with three counters."""
    program = runpy.run_path(str(ROOT / "systemd/overlay/nic-exporter"))
    names = ["rx_packets", "pps_allowance_exceeded", "conntrack_allowance_available"]

    def driver(interface: str, request: bytes) -> bytes:
        command = int.from_bytes(request[:4], "little")
        if command == program["ETHTOOL_GSSET_INFO"]:
            return request[:16] + len(names).to_bytes(4, "little")
        if command == program["ETHTOOL_GSTRINGS"]:
            return request[:12] + b"".join(name.encode().ljust(32, b"\0") for name in names)
        return request[:8] + b"".join((n + 7).to_bytes(8, "little") for n in range(len(names)))

    counters = program["driver_counters"]
    monkeypatch.setitem(counters.__globals__, "ioctl", driver)
    assert counters("ens5") == {"rx_packets": 7, "pps_allowance_exceeded": 8, "conntrack_allowance_available": 9}
    page = program["page"]()
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()} - {"lo"}
    for interface in interfaces:
        assert f'latency_nic_pps_allowance_exceeded_total{{interface="{interface}"}} 8' in page
    assert "rx_packets" not in page


@pytest.mark.process
@pytest.mark.parametrize("unit", ["latency-filter", "latency-overlay", "latency-bootstrap", "latency-nic-exporter"])
def test_systemd_accepts_the_units(unit: str, tmp_path: Path) -> None:
    for name in ("latency-filter", "latency-overlay", "latency-bootstrap", "latency-nic-exporter"):
        text = source(f"{name}.service")
        (tmp_path / f"{name}.service").write_text(text.replace("/usr/local/lib/latency/bootstrap", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{unit}.service")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or f"{unit}.service:" in line]
    assert [line for line in ours if "tables-restore is not executable" not in line] == []


@pytest.mark.process
def test_the_exporter_is_locked_in() -> None:
    unit = ROOT / "systemd/overlay/latency-nic-exporter.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]
