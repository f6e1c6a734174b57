import threading
from collections import Counter
from typing import Any

import boto3
import msgspec
import pytest

from provisioning.loading import BUILT_IN, load_topology
from tests.provisioning.aws import Call, Once, Operator, catch_up, census, client, lost, operation

pytestmark = pytest.mark.process


def single(found: Counter[tuple[str, str, str]]) -> bool:
    """Nothing exists twice; moto does not tag interfaces, so those cannot be told apart."""
    return all(count == 1 for (_, kind, _), count in found.items() if kind != "interface")


def ec2(endpoint: str, region: str) -> Any:
    return boto3.client("ec2", region_name=region, endpoint_url=endpoint)


@pytest.mark.parametrize("name", BUILT_IN)
def test_up_builds_once_and_down_leaves_nothing(endpoint: str, name: str) -> None:
    topology = load_topology(name)
    empty = census(endpoint, topology.regions)
    planner = Operator(endpoint, topology)
    engine = planner.engine()
    engine.read()
    assert {step.verb for step in engine.plan()} == {"create"}
    assert planner.aws.changing() == []
    assert census(endpoint, topology.regions) == empty

    Operator(endpoint, topology).up()
    full = census(endpoint, topology.regions)
    assert sum(count for (_, kind, _), count in full.items() if kind == "instance") == len(topology.host)
    assert single(full)

    again = Operator(endpoint, topology).up()
    assert again.aws.changing() == []
    assert census(endpoint, topology.regions) == full

    Operator(endpoint, topology).down()
    assert Operator(endpoint, topology).left() == []
    assert census(endpoint, topology.regions) == empty


def test_two_deployments_and_strangers_do_not_touch_each_other(endpoint: str) -> None:
    topology = load_topology("egress")
    stranger = ec2(endpoint, "ap-northeast-1")
    foreign = stranger.create_vpc(
        CidrBlock="10.1.0.0/16",
        TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "one/vpc/tokyo"}]}],
    )["Vpc"]["VpcId"]
    stranger.create_tags(Resources=[foreign], Tags=[{"Key": "latency:deployment", "Value": "one-more"}])
    address = stranger.allocate_address(Domain="vpc")["AllocationId"]
    outside = census(endpoint, topology.regions)
    Operator(endpoint, topology, "one").up()
    only_one = census(endpoint, topology.regions)
    Operator(endpoint, topology, "two").up()
    assert Operator(endpoint, topology, "one").up().aws.changing() == []
    Operator(endpoint, topology, "two").down()
    assert census(endpoint, topology.regions) == only_one
    Operator(endpoint, topology, "one").down()
    assert census(endpoint, topology.regions) == outside
    assert [item["AllocationId"] for item in stranger.describe_addresses()["Addresses"]] == [address]


def test_a_rule_and_a_route_changed_by_hand_are_shown_and_mended(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    hand = ec2(endpoint, "eu-central-1")
    tagged = [{"Name": "tag:latency:key", "Values": ["firewall/receiver"]}]
    group = hand.describe_security_groups(Filters=tagged)["SecurityGroups"][0]
    hand.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    link = next(item for item in group["IpPermissions"] if item.get("FromPort") == 8080)
    hand.revoke_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[{k: link[k] for k in ("IpProtocol", "FromPort", "ToPort", "IpRanges")}],
    )
    tables = hand.describe_route_tables(Filters=[{"Name": "tag:latency:key", "Values": ["routes/frankfurt/public"]}])
    table = tables["RouteTables"][0]["RouteTableId"]
    hand.delete_route(RouteTableId=table, DestinationCidrBlock="10.0.0.0/16")
    gateway = next(
        route["GatewayId"]
        for route in tables["RouteTables"][0]["Routes"]
        if route.get("GatewayId", "").startswith("igw")
    )
    hand.create_route(RouteTableId=table, DestinationCidrBlock="192.0.2.0/24", GatewayId=gateway)

    engine = Operator(endpoint, topology).engine()
    engine.read()
    texts = {step.key: " | ".join(step.texts) for step in engine.plan()}
    assert set(texts) == {"firewall/receiver", "routes/frankfurt/public"}
    assert "remove ingress tcp 22 0.0.0.0/0" in texts["firewall/receiver"]
    assert "allow ingress tcp 8080 10.0.1.10/32" in texts["firewall/receiver"]
    assert "route 10.0.0.0/16 to peering/tokyo-frankfurt" in texts["routes/frankfurt/public"]
    assert "remove route 192.0.2.0/24" in texts["routes/frankfurt/public"]

    mender = Operator(endpoint, topology).up()
    assert {call.operation for call in mender.aws.changing()} == {
        "RevokeSecurityGroupIngress",
        "AuthorizeSecurityGroupIngress",
        "CreateRoute",
        "DeleteRoute",
    }
    assert Operator(endpoint, topology).up().aws.changing() == []


def test_a_stopped_host_and_an_address_taken_away_are_put_right(endpoint: str) -> None:
    topology = load_topology("egress")
    Operator(endpoint, topology).up()
    hand = ec2(endpoint, "ap-northeast-1")
    host = hand.describe_instances(Filters=[{"Name": "tag:latency:key", "Values": ["host/nat"]}])
    instance = host["Reservations"][0]["Instances"][0]["InstanceId"]
    address = hand.describe_addresses()["Addresses"][0]
    hand.disassociate_address(AssociationId=address["AssociationId"])
    hand.modify_instance_attribute(InstanceId=instance, SourceDestCheck={"Value": True})
    hand.stop_instances(InstanceIds=[instance])
    Operator(endpoint, topology).up()
    address = hand.describe_addresses()["Addresses"][0]
    assert address["InstanceId"] == instance
    state = hand.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert state["State"]["Name"] == "running"
    assert state["SourceDestCheck"] is False


@pytest.mark.parametrize("associated", [True, False])
def test_a_profile_made_anew_by_hand_is_given_to_its_host_again(endpoint: str, associated: bool) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    good = census(endpoint, topology.regions)
    hand, iam = client(endpoint, "ec2", "eu-central-1"), client(endpoint, "iam", "eu-central-1")
    (host,) = (item for found in hand.describe_instances()["Reservations"] for item in found["Instances"])
    name = host["IamInstanceProfile"]["Arn"].rpartition("/")[2]
    path = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Path"]
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.delete_instance_profile(InstanceProfileName=name)
    iam.create_instance_profile(InstanceProfileName=name, Path=path)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    if not associated:
        (tie,) = hand.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
        hand.disassociate_iam_instance_profile(AssociationId=tie["AssociationId"])
    engine = Operator(endpoint, topology).engine()
    engine.read()
    steps = {step.key: (step.verb, step.texts) for step in engine.plan()}
    assert steps == {
        "identity/receiver": ("change", ("tag the instance profile",)),
        "host/receiver": ("change", ("give it the profile of identity/receiver, made anew since",)),
    }
    mender = Operator(endpoint, topology)
    fault = Once(lambda call: "IamInstanceProfile" in call.operation and call.changes, lost)
    mender.aws.after.append(fault)
    mender.up()
    assert fault.struck
    (host,) = (item for found in hand.describe_instances()["Reservations"] for item in found["Instances"])
    profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert host["IamInstanceProfile"]["Id"] == profile["InstanceProfileId"]
    assert census(endpoint, topology.regions) == good
    assert Operator(endpoint, topology).up().aws.changing() == []


def test_another_type_replaces_the_host_and_a_dropped_host_goes(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    hosts = tuple(
        msgspec.structs.replace(host, type="t3.small") if host.name == "receiver" else host for host in topology.host
    )
    bigger = msgspec.structs.replace(topology, host=hosts)
    engine = Operator(endpoint, bigger).engine()
    engine.read()
    assert [(step.verb, step.key) for step in engine.plan()] == [("replace", "host/receiver")]
    Operator(endpoint, bigger).up()
    assert Operator(endpoint, bigger).up().aws.changing() == []
    smaller = msgspec.structs.replace(bigger, host=bigger.host[1:], link=())
    Operator(endpoint, smaller).up()
    catch_up(endpoint)
    left = Operator(endpoint, smaller).left()
    assert not [found for found in left if found.key in ("host/forwarder", "firewall/forwarder", "identity/forwarder")]
    assert Operator(endpoint, smaller).up().aws.changing() == []


def test_another_address_block_is_refused_with_the_way_out(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    site = msgspec.structs.replace(
        topology.site[0],
        cidr="10.7.0.0/16",
        subnet=(msgspec.structs.replace(topology.site[0].subnet[0], cidr="10.7.1.0/24"),),
    )
    host = msgspec.structs.replace(topology.host[0], address="10.7.1.10")
    moved = msgspec.structs.replace(topology, site=(site, topology.site[1]), host=(host, topology.host[1]))
    with pytest.raises(Exception, match=r"vpc/tokyo .*10\.0\.0\.0/16, not 10\.7\.0\.0/16: needs `down` first"):
        Operator(endpoint, moved).up()


def test_two_operators_at_once_settle_for_one_deployment(endpoint: str) -> None:
    topology = load_topology("egress")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            Operator(endpoint, topology).up()
        except Exception as error:  # noqa: BLE001  # whoever loses a race may fail; what counts is what is left
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Operator(endpoint, topology).up()
    both = census(endpoint, topology.regions)
    Operator(endpoint, topology).down()
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    assert both == census(endpoint, topology.regions), errors
    assert not empty


def test_duplicates_of_a_whole_site_are_removed(endpoint: str) -> None:
    """Two operators who could not see each other's VPC built one each: the first by id stays, with its parts."""
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    good = census(endpoint, topology.regions)
    blind = Operator(endpoint, topology)

    def hide(call: Call) -> dict[str, Any] | None:
        keys = {"DescribeVpcs": "Vpcs", "DescribeSubnets": "Subnets"}
        if call.operation in keys and call.region == "eu-central-1" and not blind.aws.changing():
            return {keys[call.operation]: []}
        return None

    blind.aws.before.append(hide)
    blind.up()
    assert census(endpoint, topology.regions) == good
    assert Operator(endpoint, topology).up().aws.changing() == []


def test_of_two_gateways_the_attached_one_stays(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS takes no gateway from a VPC whose hosts have public addresses, so the other one has to go."""
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    good = census(endpoint, topology.regions)
    hand = client(endpoint, "ec2", "eu-central-1")
    (attached,) = (item for item in hand.describe_internet_gateways()["InternetGateways"] if item.get("Tags"))
    lowest = "igw-00000000000000000"
    monkeypatch.setattr("moto.ec2.models.internet_gateways.random_internet_gateway_id", lambda: lowest)
    tags = [{"ResourceType": "internet-gateway", "Tags": attached["Tags"]}]
    made = hand.create_internet_gateway(TagSpecifications=tags)["InternetGateway"]
    assert made["InternetGatewayId"] == lowest
    calls = Operator(endpoint, topology).up().aws.calls
    assert census(endpoint, topology.regions) == good
    assert not [call for call in calls if call.operation == "DetachInternetGateway"]


def test_a_lost_answer_to_each_kind_of_creation_makes_no_duplicate(endpoint: str) -> None:
    topology = load_topology("egress")
    operator = Operator(endpoint, topology)
    faults = [
        Once(operation(name), lost)
        for name in ("CreateVpc", "CreateSubnet", "CreateInternetGateway", "CreateRouteTable", "AllocateAddress")
    ]
    faults += [
        Once(operation(name), lost) for name in ("RunInstances", "CreateVpcPeeringConnection", "CreateSecurityGroup")
    ]
    operator.aws.after.extend(faults)
    operator.up()
    assert all(fault.struck for fault in faults)
    with_losses = census(endpoint, topology.regions)
    assert single(with_losses)
    assert Operator(endpoint, topology).up().aws.changing() == []


@pytest.mark.process
def test_what_stands_in_the_way_and_is_not_listed_yet_goes_when_it_is(endpoint: str) -> None:
    """A run was killed right after it made something of a site that the next topology has not any more."""
    whole = load_topology("egress")
    singapore = msgspec.structs.replace(whole.site[0], subnet=whole.site[0].subnet[1:])
    baseline = tuple(host for host in whole.host if host.name == "baseline")
    less = msgspec.structs.replace(whole, site=(singapore,), host=baseline, peering=(), overlay=None)
    Operator(endpoint, less).up()
    good = census(endpoint, whole.regions)
    Operator(endpoint, less).down()
    world = Operator(endpoint, whole).up().aws.world
    tokyo = whole.site[1].region
    hidden = [
        table["RouteTableId"]
        for table in client(endpoint, "ec2", tokyo).describe_route_tables()["RouteTables"]
        if {"Key": "latency:key", "Value": "routes/tokyo/public"} in table.get("Tags", [])
    ]
    assert len(hidden) == 1
    world._listed[tokyo, hidden[0]] = world.clock.now + 60
    Operator(endpoint, less).up()
    assert census(endpoint, whole.regions) == good
    assert Operator(endpoint, less).up().aws.changing() == []
