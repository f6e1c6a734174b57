import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from provisioning.desired import KEY_OBJECT, desired, objects_of
from provisioning.errors import ProvisionError
from provisioning.loading import BUILT_IN, adjusted, load_topology
from provisioning.model import Deployment
from provisioning.roleconfig import units_of
from provisioning.topology import Host, Target, Topology
from provisioning.userdata import MAX_BYTES, host_files, user_data
from tests.provisioning.test_properties import topologies


def script(topology: Topology, host: Host) -> str:
    return user_data(topology, host, "desk", "bucket", "eu-central-1", objects_of(topology, host))


def every_host() -> list[tuple[Topology, Host]]:
    all_topologies = [load_topology(name) for name in BUILT_IN]
    all_topologies.append(adjusted(load_topology("egress"), types={}, overlay="wireguard"))
    all_topologies.append(adjusted(load_topology("backbone"), types={}, monitor=True))
    return [(topology, host) for topology in all_topologies for host in topology.host]


@pytest.mark.process
@pytest.mark.parametrize(("topology", "host"), every_host(), ids=lambda value: getattr(value, "name", ""))
def test_the_script_puts_every_file_in_place_and_starts_the_rest(
    topology: Topology, host: Host, tmp_path: Path
) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    systemctl = commands / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/systemctl.log\n')
    systemctl.chmod(0o755)
    root = tmp_path / "root"
    environment = {"PATH": f"{commands}:{os.environ['PATH']}", "LATENCY_ROOT": str(root)}
    for _ in range(2):  # a second run finds its own traces and changes nothing
        subprocess.run(["sh"], input=script(topology, host), text=True, env=environment, check=True, timeout=300)
        files = host_files(topology, host, "desk", "bucket", "eu-central-1", objects_of(topology, host))
        for path, mode, text in files:
            placed = root / path.lstrip("/")
            assert placed.read_text().rstrip() == text.rstrip()
            assert placed.stat().st_mode & 0o777 == mode
        assert {f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()} == {f[0] for f in files}
    asked = (tmp_path / "systemctl.log").read_text().splitlines()
    assert asked[-1] == "start --no-block latency-bootstrap.service"
    assert "enable latency-bootstrap.service" in asked
    config = json.loads((root / "etc/latency/bootstrap.json").read_text())
    assert config["units"] == list(units_of(host))
    assert config["role"] == host.role


@pytest.mark.parametrize(("topology", "host"), every_host(), ids=lambda value: getattr(value, "name", ""))
def test_no_placeholder_is_left_and_no_secret_is_in(topology: Topology, host: Host) -> None:
    for path, _, text in host_files(topology, host, "desk", "bucket", "eu-central-1", objects_of(topology, host)):
        left = set(re.findall(r"@[A-Z_]+@", text)) if "bootstrap" not in path else set()
        assert left <= ({"@PEER_KEY@"} if path == "/etc/latency/wireguard.netdev.in" else set()), path
    text = script(topology, host)
    assert not re.search(r"AKIA|X-Amz-Signature|PrivateKey ?=|BEGIN [A-Z ]*PRIVATE", text)
    assert len(text.encode()) <= MAX_BYTES


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_host_may_have_many_targets(name: str) -> None:
    topology = load_topology(name)
    many = tuple(Target(name=f"t{n}", url=f"https://fapi{n}.binance.com/fapi/v1/time") for n in range(100))
    for host in topology.host:
        if host.role == "probe":
            asking = msgspec.structs.replace(host, target=many)
            assert len(script(topology, asking).encode()) <= MAX_BYTES


def test_the_script_says_how_to_read_it(tmp_path: Path) -> None:
    topology = load_topology("egress")
    text = script(topology, topology.named_host("client"))
    (how,) = (line.removeprefix("# To read it: ") for line in text.splitlines() if line.startswith("# To read it: "))
    done = subprocess.run(["sh", "-c", how], input=text, text=True, capture_output=True, check=True, timeout=300)
    assert "put 0755 /usr/local/lib/latency/bootstrap <<'" in done.stdout
    assert done.stdout.endswith("systemctl start --no-block latency-bootstrap.service\n")


def test_it_is_the_same_every_time() -> None:
    """It is part of a client token: anything that varies would make a second instance of a repeated request."""
    for name in ("full", "ways"):
        topology = load_topology(name)
        first, second = (desired(topology, Deployment("desk"), "1" * 12, lambda: b"") for _ in range(2))
        for key, node in first.items():
            if node.kind == "instance":
                known = tuple((outside, "192.0.2.1") for outside in node.spec.outside)
                for made in ("user_data", "digest"):
                    once, again = (getattr(graph[key].spec, made)("bucket", known) for graph in (first, second))
                    assert once == again


@settings(deadline=None)
@given(topologies())
def test_every_host_of_any_topology_fits(topology: Topology) -> None:
    for host in topology.host:
        assert len(script(topology, host).encode()) <= MAX_BYTES


def test_what_does_not_fit_is_refused() -> None:
    topology = load_topology("egress")
    many = tuple(Target(name=f"t{n}", url=f"https://host-{n}.example/{'x' * 60}") for n in range(90))
    host = msgspec.structs.replace(topology.host[1], target=many, name="b")
    topology = msgspec.structs.replace(topology, host=(topology.host[0], host, topology.host[2]))
    assert len(script(topology, host).encode()) <= MAX_BYTES  # long files travel compressed
    import random  # noqa: PLC0415

    noise = random.Random(1)
    many = tuple(Target(name=f"t{n}", url=f"https://{noise.randbytes(60).hex()}.example/") for n in range(300))
    host = msgspec.structs.replace(host, target=many)
    with pytest.raises(ProvisionError, match=r"host/b: user data is \d+ bytes, EC2 takes 16384"):
        script(topology, host)


def test_role_configurations_are_toml_with_the_agreed_keys() -> None:
    topology = load_topology("backbone")
    files = {}
    for host in topology.host:
        for path, _, text in host_files(topology, host, "desk", "bucket", "r", objects_of(topology, host)):
            if path == f"/etc/latency/{host.role}.toml":
                files[host.role] = tomllib.loads(text)
    (destination,) = files["forwarder"]["destination"]
    assert destination["address"] == "10.1.1.10:8080"
    assert destination["path_name"] == "backbone"
    assert destination["transport"] == "tcp"
    assert files["forwarder"]["feed"]["url"].startswith("wss://")
    link, direct = files["receiver"]["path"]
    assert (link["kind"], link["listen"], link["allowed_sources"]) == ("link", "0.0.0.0:8080", ["10.0.1.10/32"])
    assert (direct["kind"], direct["name"]) == ("feed", "direct")
    assert files["receiver"]["metrics"] == {"listen": "127.0.0.1:9472"}


def test_metrics_are_offered_on_the_private_address_only_to_a_monitor() -> None:
    topology = adjusted(load_topology("backbone"), types={}, monitor=True)
    receiver = topology.named_host("receiver")
    files = {path: text for path, _, text in host_files(topology, receiver, "desk", "b", "r", ())}
    assert tomllib.loads(files["/etc/latency/receiver.toml"])["metrics"] == {"listen": "10.1.1.10:9472"}


def test_only_linked_hosts_may_read_the_link_key() -> None:
    topology = load_topology("full")
    for host in topology.host:
        assert (KEY_OBJECT in objects_of(topology, host)) == (host.role in ("forwarder", "receiver"))
