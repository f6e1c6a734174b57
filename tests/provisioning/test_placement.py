"""Placement groups and key pairs."""

import msgspec
import pytest
from botocore.exceptions import ClientError

from daemons.errors import ConfigError
from provisioning.errors import ProvisionError
from provisioning.loading import adjusted, load_topology
from provisioning.topology import Access, Topology
from provisioning.validation import check, zone_id_prefix
from tests.provisioning.aws import Operator, census, client
from tests.provisioning.emulator import NEWEST_IMAGE, load_images

pytestmark = pytest.mark.process

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5m0nOQ9qg6xG4yqkVbQ4mGqPl6X1nqkqH2m0vZk0aA"


def groups(endpoint: str, topology: Topology) -> dict[str, str]:
    """The strategies of all placement groups in the account, by name."""
    return {
        group["GroupName"]: group["Strategy"]
        for region in topology.regions
        for group in client(endpoint, "ec2", region).describe_placement_groups()["PlacementGroups"]
    }


def launched(operator: Operator) -> set[str]:
    calls = (call for call in operator.aws.calls if call.operation == "RunInstances" and call.error is None)
    return {call.params["Placement"]["GroupName"] for call in calls if "Placement" in call.params}


def test_precision_time_hosts_stand_in_a_group_of_their_site(endpoint: str) -> None:
    topology = adjusted(
        load_topology("backbone"),
        types={"forwarder": "c7i.large", "receiver": "c7i.large"},
        image=NEWEST_IMAGE,
        precision_time=True,
    )
    up = Operator(endpoint, topology).up()
    assert launched(up) == set(groups(endpoint, topology)) == {"latency.test.frankfurt", "latency.test.tokyo"}
    assert set(groups(endpoint, topology).values()) == {"precision-time"}
    assert Operator(endpoint, topology).up().aws.changing() == []
    Operator(endpoint, topology).down()
    assert groups(endpoint, topology) == {}


def test_hosts_near_to_each_other_stand_in_a_group_of_their_subnet(endpoint: str) -> None:
    topology = adjusted(load_topology("zones"), types={"forwarder": "c7i.large"})
    hosts = (msgspec.structs.replace(h, placement="cluster" if h.role == "forwarder" else "") for h in topology.host)
    topology = msgspec.structs.replace(topology, host=tuple(hosts))
    check(topology)
    up = Operator(endpoint, topology).up()
    assert (
        launched(up)
        == set(groups(endpoint, topology))
        == {f"latency.test.tokyo-az{number}-cluster" for number in (1, 2, 4)}
    )
    assert set(groups(endpoint, topology).values()) == {"cluster"}
    assert Operator(endpoint, topology).up().aws.changing() == []
    ec2 = client(endpoint, "ec2", "ap-northeast-1")
    subnets = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.2.0/24"]}])["Subnets"]
    with pytest.raises(ClientError, match="in use in another availability zone"):
        ec2.run_instances(
            ImageId=NEWEST_IMAGE,
            MinCount=1,
            MaxCount=1,
            SubnetId=subnets[0]["SubnetId"],
            Placement={"GroupName": "latency.test.tokyo-az1-cluster"},
        )
    Operator(endpoint, topology).down()
    assert groups(endpoint, topology) == {}


def test_the_command_line_places_by_role_or_host() -> None:
    types = {"forwarder": "c7i.large"}
    topology = adjusted(
        load_topology("zones"), types=types, placement={"forwarder": "cluster", "forwarder-az2": "none"}
    )
    told = {host.name: host.placement for host in topology.host}
    assert told == {
        name: "cluster" if name.startswith("forwarder") and name != "forwarder-az2" else "" for name in told
    }
    for placement, message in (
        ({"nobody": "cluster"}, "--placement: 'nobody' is neither a host nor a role"),
        ({"forwarder": "spread"}, "--placement: 'spread' is no strategy; write cluster, or none"),
        ({"receiver": "cluster"}, "t3.micro cannot stand in a cluster placement group"),
    ):
        with pytest.raises(ConfigError, match=message):
            adjusted(load_topology("zones"), types=types, placement=placement)


def test_a_zone_has_its_place_by_its_id_in_whatever_account(endpoint: str) -> None:
    topology = load_topology("zones")
    aws = Operator(endpoint, topology).up().aws
    made = (call for call in aws.calls if call.operation == "CreateSubnet" and call.error is None)
    asked = {call.params["CidrBlock"]: call.answer["Subnet"] for call in made}
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
