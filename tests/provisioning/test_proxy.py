"""The proxy of a private client: its packet rules, and squid itself asked what its configuration lets pass."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from provisioning.firewall import firewall
from provisioning.loading import adjusted, load_topology
from provisioning.proxy import Destination, destinations, proxy_files, s3_host
from provisioning.topology import Access, Target, Topology
from tests.provisioning.aws import Operator, census
from tests.squid import squid

BUCKET = s3_host("bucket", "ap-southeast-1")
ANYWHERE = "0.0.0.0/0"
IN_FILE = "/etc/squid/latency.conf"


def rules(topology: Topology, host: str) -> tuple[set[str], set[str]]:
    """What may come and what may go, beside errors about packets."""
    ingress, egress = firewall(topology, topology.named_host(host))
    return {str(rule) for rule in ingress if rule.protocol != "icmp"}, {str(rule) for rule in egress}


def configuration(topology: Topology) -> str:
    ((path, mode, text),) = proxy_files(topology, topology.named_host("proxy"), BUCKET)
    assert (path, mode) == (IN_FILE, 0o644)
    return text


def asking(*targets: Target) -> Topology:
    """The built-in, with these targets for the proxy's client."""
    topology = load_topology("proxy")
    hosts = [
        msgspec.structs.replace(host, target=targets) if host.name == "proxied" else host for host in topology.host
    ]
    return msgspec.structs.replace(topology, host=tuple(hosts))


def test_the_client_can_send_to_the_proxy_only_and_the_proxy_takes_from_it_only() -> None:
    topology = load_topology("proxy")
    assert rules(topology, "proxied") == (set(), {"tcp 3128 10.1.1.20/32"})
    assert rules(topology, "proxy") == ({"tcp 3128 10.0.1.20/32"}, {f"tcp 443 {ANYWHERE}"})
    other = asking(Target(name="t", url="https://api.example:8443/"))
    assert rules(other, "proxy")[1] == {f"tcp 443 {ANYWHERE}", f"tcp 8443 {ANYWHERE}"}


def test_ssh_reaches_the_client_by_way_of_the_proxy() -> None:
    access = Access(
        ssh_from=("203.0.113.7/32",),
        ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI",
    )
    topology = adjusted(load_topology("proxy"), types={}, access=access)
    assert "tcp 22 203.0.113.7/32" in rules(topology, "proxy")[0]
    assert "tcp 22 10.0.1.20/32" in rules(topology, "proxy")[1]
    assert {rule for rule in rules(topology, "proxied")[0] if " 22 " in rule} == {"tcp 22 10.1.1.20/32"}


def test_what_the_client_needs_and_nothing_else_is_let_pass() -> None:
    topology = asking(
        Target(name="a", url="https://api.example/x"),
        Target(name="b", url="https://api.example:8443/y", resolve="198.51.100.7"),
    )
    assert topology.proxy is not None
    assert destinations(topology, topology.proxy, BUCKET) == [
        Destination("198.51.100.7", 8443),
        Destination("api.example", 443),
        Destination(BUCKET, 443),
        Destination("ipinfo.io", 443),
    ]
    assert proxy_files(topology, topology.named_host("proxied"), BUCKET) == []


def test_a_client_that_lacks_a_package_may_ask_the_mirrors() -> None:
    topology = load_topology("proxy")
    hosts = [msgspec.structs.replace(host, precision_time=host.name == "proxied") for host in topology.host]
    topology = msgspec.structs.replace(topology, host=tuple(hosts))
    assert topology.proxy is not None
    found = destinations(topology, topology.proxy, BUCKET)
    assert {Destination("deb.debian.org"), Destination("deb.debian.org", 80, tunnel=False)} <= set(found)
    assert f"tcp 80 {ANYWHERE}" in rules(topology, "proxy")[1]


def test_a_host_that_needs_a_package_of_ubuntu_reaches_its_mirrors() -> None:
    topology = adjusted(load_topology("backbone"), types={}, monitor=True, image="ubuntu-24.04")
    assert f"tcp 80 {ANYWHERE}" in rules(topology, "monitor")[1]
    assert f"tcp 80 {ANYWHERE}" not in rules(adjusted(load_topology("backbone"), types={}, monitor=True), "monitor")[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that squid can walk to; those of pytest are for one user only."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.process
def test_squid_takes_the_configuration_without_a_warning(folder: Path) -> None:
    file = folder / "squid.conf"
    file.write_text(configuration(load_topology("proxy")))
    parsed = subprocess.run(["squid", "-k", "parse", "-f", str(file)], capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    assert not re.search(r"WARNING|ERROR|FATAL", parsed.stderr), parsed.stderr


def status(proxy: str, *arguments: str) -> str:
    """The proxy's answer as curl tells it: to CONNECT, or to a request in the clear."""
    command = [
        "curl",
        "-s",
        "-m",
        "20",
        "-x",
        proxy,
        "-o",
        "/dev/null",
        "-w",
        "%{http_connect} %{http_code}",
        *arguments,
    ]
    tunnel, answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return tunnel if tunnel != "000" else answer


@pytest.mark.process
def test_squid_lets_pass_what_is_listed_for_the_client_and_refuses_all_else(folder: Path) -> None:
    text = configuration(
        asking(Target(name="t", url="https://api.example/"), Target(name="u", url="https://inside.example/"))
    )
    # The client is 127.0.0.1 here; the file's own rules stay as they are.
    text = text.replace("10.0.1.20/32", "127.0.0.1/32").replace("http_port 10.1.1.20:3128\n", "")
    hosts = folder / "hosts"
    hosts.write_text("169.254.169.254 inside.example\n192.0.2.1 other.example\n")
    # An answer that is not a refusal: the proxy tries, and finds nobody there.
    passed = {"500", "502", "503", "504"}
    with squid(folder, f"{text}\nhosts_file {hosts}\nconnect_timeout 1 second\nforward_timeout 2 seconds") as proxy:
        assert status(proxy, "https://api.example/") in passed
        for refused in (
            ["https://other.example/"],
            ["https://sub.api.example/"],
            ["https://api.example:8443/"],
            ["http://api.example/"],
            ["http://api.example:443/"],
            ["https://169.254.169.254/"],
            # A listed name that leads to the metadata service is not followed.
            ["https://inside.example/"],
            ["--interface", "127.0.0.2", "https://api.example/"],
            ["--request-target", "/squid-internal-mgr/info", "http://squid.example/"],
        ):
            assert status(proxy, *refused) == "403", refused


@pytest.mark.process
def test_the_topology_is_built_left_alone_and_taken_away(endpoint: str) -> None:
    topology = load_topology("proxy")
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    engine = Operator(endpoint, topology).engine()
    engine.read()
    hosts = {key: found.facts for key, found in engine.view.found.items() if found.kind == "instance"}
    with_public = {key for key, facts in hosts.items() if facts.get("PublicIpAddress")}
    assert with_public == {"host/proxy", "host/nat", "host/baseline"}
    # It is the NAT instance alone that passes on packets of others.
    assert {key for key, facts in hosts.items() if not facts["SourceDestCheck"]} == {"host/nat"}
    assert Operator(endpoint, topology).up().aws.changing() == []
    assert Operator(endpoint, topology).down().left() == []
    assert census(endpoint, topology.regions) == empty
