"""The hosts of a deployment that stands in an emulated account, as the experiments see them."""

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.hosts.deployment import inventory_of
from provisioning.cloud import Cloud
from provisioning.errors import ProvisionError
from provisioning.loading import adjusted, load_topology
from provisioning.topology import Access, Topology
from tests.provisioning.aws import RECORDED, Aws
from tests.provisioning.emulator import serve
from tests.provisioning.test_remote import ACCESS, KEY, standing
from tests.provisioning.world import Clock

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    server, endpoint = serve()
    yield endpoint
    server.shutdown()


@pytest.fixture
def account(emulator: str) -> str:
    """An empty account."""
    RECORDED.clear()
    with urllib.request.urlopen(urllib.request.Request(f"{emulator}/moto-api/reset", method="POST"), timeout=300):
        return emulator


def built(endpoint: str, name: str, access: Access) -> tuple[Topology, Cloud]:
    """Build a deployment called ``test``; its hosts have told their keys."""
    topology = adjusted(load_topology(name), types={}, access=access)
    return topology, standing(endpoint, topology).cloud


def test_an_egress_deployment_is_found_with_its_keys_and_public_addresses(account: str, tmp_path: Path) -> None:
    topology, cloud = built(account, "egress", ACCESS)
    # What let the operator in need not be repeated: the account knows it.
    inventory = inventory_of(cloud, load_topology("egress"), "test", tmp_path, "~/.ssh/mine")
    assert {host.name: host.role for host in inventory.host} == {"client": "probe", "baseline": "probe", "nat": "nat"}
    client, nat = inventory.named("client"), inventory.named("nat")
    assert nat.address
    # The private client leaves from the NAT instance.
    assert client.address == nat.address
    assert inventory.named("baseline").address not in ("", nat.address)
    assert client.programs == "/opt/backbone-latency/current/bin"
    known = (tmp_path / "known_hosts").read_text().splitlines()
    assert sorted(known) == sorted(f"latency-test-{host.name} {KEY}" for host in topology.host)
    # OpenSSH itself understands the configuration.
    found = subprocess.run(
        ["ssh", "-G", "-F", inventory.ssh_config, "client"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "hostname 10.0.1.10" in found
    assert "proxyjump nat" in found
    assert "stricthostkeychecking true" in found


def test_a_deployment_that_lets_nobody_in_is_refused(account: str, tmp_path: Path) -> None:
    topology, cloud = built(account, "backbone", Access())
    with pytest.raises(ProvisionError, match="no access was asked for; run up with --ssh-from"):
        inventory_of(cloud, topology, "test", tmp_path)


def test_a_deployment_that_does_not_stand_is_refused(account: str, tmp_path: Path) -> None:
    topology = adjusted(load_topology("backbone"), types={}, access=ACCESS)
    with pytest.raises(ProvisionError, match=r"host/\w+: does not stand in deployment \w+; run `provision up` first"):
        inventory_of(Cloud(Aws(account).session, Clock()), topology, "other", tmp_path)
