"""Logging in and deploying, with an `ssh` on the path that checks what it is told and notes what it is to run."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from provisioning.errors import DeployError, ProvisionError
from provisioning.loading import adjusted, load_topology
from provisioning.model import View
from provisioning.remote import Remote, choose, ssh_config
from provisioning.topology import Access, Host, Topology
from tests.provisioning.aws import Call, Operator

pytestmark = pytest.mark.process

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
ACCESS = Access(ssh_from=("203.0.113.7/32",), ssh_key=KEY)

SSH = """#!/usr/bin/python3
import json, os, pathlib, subprocess, sys
arguments = sys.argv[1:]
config = pathlib.Path(arguments[arguments.index("-F") + 1]).read_text()
assert "StrictHostKeyChecking yes" in config
known = config.split('UserKnownHostsFile "')[1].split('"')[0]
assert "ssh-ed25519" in pathlib.Path(known).read_text()
host, command = [a for a in arguments[2:] if a not in ("-o", "BatchMode=yes")]
place = pathlib.Path(os.environ["HOSTS"]) / host
place.mkdir(exist_ok=True)
with (place / "log").open("a") as log:
    log.write(command + "\\n")
content = sys.stdin.buffer.read()
if command.startswith("umask"):
    (place / "bundle").write_bytes(content)
if "deploy" in command and (place / "sick").exists():
    print("backbone-latency: failed deploy: unit is not active; it was put back and is healthy")
    sys.exit(1)
"""


def topology_with_access(name: str) -> Topology:
    return adjusted(load_topology(name), types={}, access=ACCESS)


def standing(endpoint: str, topology: Topology, output: str = f"backbone-latency: host-key {KEY}\n") -> View:
    """A deployment that stands, whose hosts have said something on their consoles."""
    Operator(endpoint, topology).up()
    operator = Operator(endpoint, topology)

    def console(call: Call) -> dict[str, Any] | None:
        return {"Output": base64.b64encode(output.encode()).decode()} if call.operation == "GetConsoleOutput" else None

    operator.aws.before.append(console)
    # botocore decodes console output in an event of its own, which faked answers pass through as well
    engine = operator.engine()
    engine.read()
    return engine.view


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "ssh").write_text(SSH)
    (commands / "ssh").chmod(0o755)
    places = tmp_path / "hosts"
    places.mkdir()
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("HOSTS", str(places))
    return places


def test_the_private_client_is_reached_by_way_of_the_gateway(endpoint: str, tmp_path: Path) -> None:
    topology = topology_with_access("egress")
    view = standing(endpoint, topology)
    config = ssh_config(view, topology, tmp_path / "known_hosts", "~/.ssh/mine")
    blocks = {block.split()[1]: block for block in config.split("\n\n")}
    assert "HostName 10.0.1.10" in blocks["client"]
    assert "ProxyJump nat" in blocks["client"]
    assert "ProxyJump" not in blocks["baseline"]
    assert re.search(r"HostName (?!10\.)\d+\.\d+\.\d+\.\d+", blocks["nat"])
    assert "User admin" in blocks["nat"]
    assert 'IdentityFile "~/.ssh/mine"' in blocks["*"]
    assert "StrictHostKeyChecking yes" in blocks["*"]
    known = (tmp_path / "known_hosts").read_text().splitlines()
    assert sorted(known) == sorted(f"latency-test-{host.name} {KEY}" for host in topology.host)


def test_a_host_that_told_no_key_is_not_connected_to(endpoint: str, tmp_path: Path) -> None:
    topology = topology_with_access("backbone")
    view = standing(endpoint, topology, output="Linux version 6.1")
    with pytest.raises(ProvisionError, match=r"host/forwarder: i-\w+ told no SSH host key on its console yet"):
        ssh_config(view, topology, tmp_path / "known_hosts")


def test_without_access_there_is_no_login(endpoint: str, tmp_path: Path) -> None:
    topology = load_topology("backbone")
    with pytest.raises(ProvisionError, match="no access was asked for; run up with --ssh-from"):
        ssh_config(standing(endpoint, topology), topology, tmp_path / "known_hosts")


def test_deploy_takes_receivers_first_and_puts_the_bundle_on_each(endpoint: str, hosts: Path) -> None:
    topology = topology_with_access("backbone")
    told: list[tuple[str, str]] = []

    def report(host: Host, text: str) -> None:
        told.append((host.name, text))

    with Remote.connect(standing(endpoint, topology), topology) as remote:
        remote.deploy(topology.host, b"new bundle", report)
    assert told == [("receiver", "healthy"), ("forwarder", "healthy")]
    for name in ("receiver", "forwarder"):
        assert (hosts / name / "bundle").read_bytes() == b"new bundle"
        deploys = [line for line in (hosts / name / "log").read_text().splitlines() if "bootstrap" in line]
        assert deploys == ["sudo /usr/local/lib/latency/bootstrap deploy /tmp/latency-bundle.tar.gz"]


def test_one_sick_host_takes_all_back(endpoint: str, hosts: Path) -> None:
    topology = topology_with_access("backbone")
    (hosts / "forwarder").mkdir()
    (hosts / "forwarder/sick").touch()
    told: list[tuple[str, str]] = []
    view = standing(endpoint, topology)
    with (
        Remote.connect(view, topology) as remote,
        pytest.raises(
            DeployError, match=r"host/forwarder: .*put back and is healthy; the hosts done before it were put back"
        ),
    ):
        remote.deploy(topology.host, b"new bundle", lambda host, text: told.append((host.name, text)))
    assert told == [("receiver", "healthy"), ("receiver", "put back")]
    assert "sudo /usr/local/lib/latency/bootstrap rollback" in (hosts / "receiver/log").read_text()


def test_a_role_that_two_hosts_have_needs_a_name() -> None:
    topology = load_topology("egress")
    assert choose(topology, "nat").name == "nat"
    assert choose(topology, "baseline").role == "probe"
    with pytest.raises(ProvisionError, match="probe: several hosts of that role; name one of client, baseline, nat"):
        choose(topology, "probe")


def test_wireguard_keys_go_from_each_console_to_the_other_hosts_tag(endpoint: str) -> None:
    topology = adjusted(load_topology("egress"), types={}, overlay="wireguard")
    first = Operator(endpoint, topology).up()
    assert not [call for call in first.aws.changing() if "peer-key" in json.dumps(call.params, default=str)]
    keys = {name: base64.b64encode(name.encode().ljust(32)).decode() for name in ("client", "nat")}
    operator = Operator(endpoint, topology)
    names = {found.id: key.removeprefix("host/") for key, found in _read(endpoint, topology).found.items()}

    def console(call: Call) -> dict[str, Any] | None:
        if call.operation != "GetConsoleOutput":
            return None
        key = keys[names[call.params["InstanceId"]]]
        return {"Output": base64.b64encode(f"backbone-latency: wireguard-key {key}\n".encode()).decode()}

    operator.aws.before.append(console)
    operator.up()
    tagged = {
        names[call.params["Resources"][0]]: call.params["Tags"]
        for call in operator.aws.changing()
        if call.operation == "CreateTags"
    }
    assert tagged == {
        "client": [{"Key": "latency:peer-key", "Value": keys["nat"]}],
        "nat": [{"Key": "latency:peer-key", "Value": keys["client"]}],
    }
    assert len(operator.aws.changing()) == 2


def _read(endpoint: str, topology: Topology) -> View:
    engine = Operator(endpoint, topology).engine()
    engine.read()
    return engine.view
