"""Placement groups and key pairs. moto has no placement groups: a stand-in answers for them."""

from typing import Any

import pytest

from provisioning.loading import adjusted, load_topology
from provisioning.topology import Access
from tests.provisioning.aws import Call, Operator, census
from tests.provisioning.emulator import NEWEST_IMAGE

pytestmark = pytest.mark.process

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5m0nOQ9qg6xG4yqkVbQ4mGqPl6X1nqkqH2m0vZk0aA"


class Groups:
    """EC2's placement groups, and instances that name one (moto would look it up)."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], dict[str, Any]] = {}
        self.launched: list[str] = []

    def __call__(self, call: Call) -> Any:
        here = [group for (region, _), group in self.groups.items() if region == call.region]
        if call.operation == "CreatePlacementGroup":
            name = call.params["GroupName"]
            tags = call.params["TagSpecifications"][0]["Tags"]
            group = {
                "GroupName": name,
                "GroupId": f"pg-{name}",
                "Strategy": call.params["Strategy"],
                "State": "available",
                "Tags": tags,
            }
            self.groups[call.region, name] = group
            return {"PlacementGroup": group}
        if call.operation == "DescribePlacementGroups":
            return {"PlacementGroups": here}
        if call.operation == "DeletePlacementGroup":
            del self.groups[call.region, call.params["GroupName"]]
            return {}
        kinds = [item["Values"] for item in call.params.get("Filters", []) if item["Name"] == "resource-type"]
        if call.operation == "DescribeTags" and kinds == [["placement-group"]]:
            return {"Tags": [{"ResourceId": group["GroupName"]} for group in here]}
        if call.operation == "RunInstances":
            self.launched.append(call.params["Placement"]["GroupName"])
        return None


def test_precision_time_hosts_stand_in_a_group_of_their_site(endpoint: str) -> None:
    topology = adjusted(
        load_topology("backbone"),
        types={"forwarder": "c7i.large", "receiver": "c7i.large"},
        image=NEWEST_IMAGE,
        precision_time=True,
    )
    groups = Groups()

    def operator() -> Operator:
        operator = Operator(endpoint, topology)
        operator.aws.before.append(groups)
        return operator

    operator().up()
    assert set(groups.launched) == {"latency.test.frankfurt", "latency.test.tokyo"}
    assert {group["Strategy"] for group in groups.groups.values()} == {"precision-time"}
    assert operator().up().aws.changing() == []
    operator().down()
    assert groups.groups == {}


def test_a_key_pair_stands_in_every_region_and_goes_with_the_deployment(endpoint: str) -> None:
    empty = census(endpoint, ("ap-northeast-1", "eu-central-1"))
    access = Access(ssh_from=("203.0.113.7/32",), ssh_key=KEY)
    topology = adjusted(load_topology("backbone"), types={}, access=access)
    up = Operator(endpoint, topology).up()
    names = [call.params["KeyName"] for call in up.aws.calls if call.operation == "RunInstances"]
    assert set(names) == {"latency.test"}
    assert Operator(endpoint, topology).up().aws.changing() == []
    other = adjusted(topology, types={}, access=Access(ssh_from=("203.0.113.7/32",), ssh_key=OTHER))
    engine = Operator(endpoint, other).engine()
    engine.read()
    replaced = {step.key for step in engine.plan() if step.verb == "replace"}
    assert replaced == {"key/ap-northeast-1", "key/eu-central-1", "host/forwarder", "host/receiver"}
    Operator(endpoint, other).up()
    assert Operator(endpoint, other).up().aws.changing() == []
    Operator(endpoint, other).down()
    assert census(endpoint, ("ap-northeast-1", "eu-central-1")) == empty
