"""The hosts of a deployment that ``provision`` built, as an inventory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.hosts.inventory import HostEntry, Inventory
from provisioning.cloud import Cloud
from provisioning.desired import desired
from provisioning.engine import Engine
from provisioning.loading import deployment_name, load_topology
from provisioning.model import Deployment, View
from provisioning.remote import ssh_config
from provisioning.topology import Topology

__all__ = ["deployed", "inventory_of"]


@contextmanager
def deployed(name: str, topology: str, profile: str | None, identity: str) -> Iterator[Inventory]:
    """Read a deployment from AWS, and make its ssh configuration for the length of a block.

    Args:
        name: of the deployment.
        topology: what it was built from: a built-in name, or a file.
        profile: of the AWS configuration files.
        identity: private key to log in with.

    Raises:
        LatencyError: it does not stand, lets nobody log in, or a host told no host key yet.
    """
    loaded = load_topology(topology)
    with tempfile.TemporaryDirectory(prefix="backbone-latency-hosts-") as folder:
        yield inventory_of(Cloud.connect(profile), loaded, deployment_name(name), Path(folder), identity)


def inventory_of(cloud: Cloud, topology: Topology, name: str, folder: Path, identity: str = "") -> Inventory:
    """Make the inventory of a deployment.

    Args:
        cloud: the account.
        topology: what the deployment was built from.
        name: of the deployment.
        folder: gets the ssh configuration and the known host keys.
        identity: private key to log in with.

    Raises:
        LatencyError: see :func:`deployed`.
    """
    deployment = Deployment(name)
    home = topology.regions[0]
    account = cloud.account(home)
    nodes = desired(topology, deployment, account, bytes)
    engine = Engine(View(cloud, deployment, home, account, nodes), lambda _event: None)
    engine.read()
    config = folder / "ssh_config"
    config.write_text(ssh_config(engine.view, topology, folder / "known_hosts", identity), encoding="utf-8")
    egress = {}
    for host in topology.host:
        facts = engine.view.found[f"host/{host.name}"].facts
        egress[host.name] = str(facts.get("PublicIpAddress") or "")
    for client, gateway in topology.gateways.items():
        # What leaves by the tunnel or the proxy leaves from the gateway.
        egress[client] = egress[gateway]
    hosts = [HostEntry(name=host.name, role=host.role, address=egress[host.name]) for host in topology.host]
    return Inventory(ssh_config=str(config), host=tuple(hosts))
