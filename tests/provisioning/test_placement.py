"""Placement groups and key pairs. moto has no placement groups: a stand-in answers for them."""

from typing import Any

import msgspec
import pytest

from provisioning.errors import ProvisionError
from provisioning.loading import adjusted, load_topology
from provisioning.topology import Access
from provisioning.validation import check, zone_id_prefix
from tests.provisioning.aws import Call, Operator, census
from tests.provisioning.emulator import NEWEST_IMAGE, load_images

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
        if call.operation == "RunInstances" and "Placement" in call.params:
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


def test_hosts_near_to_each_other_stand_in_a_group_of_their_subnet(endpoint: str) -> None:
    topology = adjusted(load_topology("zones"), types={"forwarder": "c7i.large"})
    hosts = (msgspec.structs.replace(h, placement="cluster" if h.role == "forwarder" else "") for h in topology.host)
    topology = msgspec.structs.replace(topology, host=tuple(hosts))
    check(topology)
    groups = Groups()

    def operator() -> Operator:
        operator = Operator(endpoint, topology)
        operator.aws.before.append(groups)
        return operator

    operator().up()
    assert set(groups.launched) == {f"latency.test.tokyo-az{number}-cluster" for number in (1, 2, 4)}
    assert {group["Strategy"] for group in groups.groups.values()} == {"cluster"}
    assert operator().up().aws.changing() == []
    operator().down()
    assert groups.groups == {}


def test_a_zone_has_its_place_by_its_id_in_whatever_account(endpoint: str) -> None:
    topology = load_topology("zones")
    aws = Operator(endpoint, topology).up().aws
    asked = {call.params["CidrBlock"]: call.answer["Subnet"] for call in aws.calls if call.operation == "CreateSubnet"}
    for number, name in ((1, "az1"), (2, "az2"), (3, "az4")):
        assert asked[f"10.0.{number}.0/24"]["AvailabilityZoneId"] == f"apne1-{name}"
    (tokyo, frankfurt) = topology.site
    elsewhere = tuple(msgspec.structs.replace(part, zone_id="apne1-az3") for part in tokyo.subnet[:1])
    moved = msgspec.structs.replace(
        topology, site=(msgspec.structs.replace(tokyo, subnet=(*elsewhere, *tokyo.subnet[1:])), frankfurt)
    )
    with pytest.raises(ProvisionError, match=r"subnet/tokyo/az1 .*\(apne1-az1\), not apne1-az3: needs `down` first"):
        Operator(endpoint, moved).up()
    Operator(endpoint, topology).down()
    with pytest.raises(ProvisionError, match=r"no zone apne1-az3 in ap-northeast-1, but ap-northeast-1a \(apne1-az"):
        Operator(endpoint, moved).up()


def test_ids_of_zones_begin_as_the_emulator_has_them() -> None:
    """The oracle is moto's table of real zones."""
    load_images()  # which moto reads when it is first imported
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend  # noqa: PLC0415

    zones = [zone for of_region in RegionsAndZonesBackend.zones.values() for zone in of_region]
    assert len(zones) > 50
    for zone in zones:
        assert zone.zone_id.startswith(f"{zone_id_prefix(zone.region_name)}-az"), zone.zone_id


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
