import json

import msgspec
import pytest

from provisioning.loading import BUILT_IN, load_topology
from provisioning.targets import targets


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_exporter_once_with_its_labels(name: str) -> None:
    topology = load_topology(name)
    groups = json.loads(targets(topology, "desk"))
    assert [group["labels"]["host"] for group in groups] == [host.name for host in topology.host]
    for group in groups:
        host = topology.named_host(group["labels"]["host"])
        port = {"forwarder": 9471, "receiver": 9472, "probe": 9473, "nat": 9474, "proxy": 9474}[host.role]
        assert group["targets"] == [f"{host.address}:{port}"]
        assert group["labels"]["role"] == host.role
        assert group["labels"]["site"] == host.site
        assert group["labels"]["deployment"] == "desk"
        assert group["labels"].get("zone", "") == topology.subnet_of(host).zone_id


def test_a_monitor_is_told_only_what_it_can_reach() -> None:
    frankfurt = msgspec.structs.replace(
        load_topology("full").named_host("receiver"), name="monitor", role="monitor", address="10.1.1.30", feed=""
    )
    full = load_topology("full")
    topology = msgspec.structs.replace(full, host=(*full.host, frankfurt))
    reached = {group["labels"]["host"] for group in json.loads(targets(topology, "desk", local=True))}
    assert reached == {"forwarder", "receiver", "nat"}  # Frankfurt and its peer Tokyo, not Singapore
