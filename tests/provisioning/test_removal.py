"""`down` in an account whose owner's programs and services do things too, and what it says about what stays."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from provisioning.errors import AwsError, RemainsError
from provisioning.loading import BUILT_IN, load_topology
from provisioning.topology import Topology
from tests.provisioning import world as account_world
from tests.provisioning.aws import Call, Once, Operator, catch_up, census, client, operation, world
from tests.provisioning.transit_world import SLOW_TRANSIT_SECONDS

pytestmark = pytest.mark.process

TOKYO = "ap-northeast-1"
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::x"}]}
PATIENCE_SECONDS = 120
"""From the first call to the last, with whatever AWS takes to end hosts and peerings."""


def small() -> Topology:
    return load_topology("backbone")


def organisation(endpoint: str) -> Callable[[Call, dict[str, Any]], None]:
    """A program that versions every bucket, puts its own tags on, and has policies and profiles of its own on roles."""
    s3, iam = client(endpoint, "s3", TOKYO), client(endpoint, "iam", TOKYO)
    policy = iam.create_policy(PolicyName="guard", PolicyDocument=json.dumps(DENY))["Policy"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="theirs")
    taken: list[str] = []

    def act(call: Call, answer: dict[str, Any]) -> None:
        if call.operation == "CreateBucket":
            bucket = call.params["Bucket"]
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "cost-centre", "Value": "7"}]})
        if call.operation == "CreateRole":
            role = call.params["RoleName"]
            iam.attach_role_policy(RoleName=role, PolicyArn=policy)
            iam.put_role_policy(RoleName=role, PolicyName="telemetry", PolicyDocument=json.dumps(DENY))
            iam.tag_role(RoleName=role, Tags=[{"Key": "cost-centre", "Value": "7"}])
            if not taken:
                taken.append(role)
                iam.add_role_to_instance_profile(InstanceProfileName="theirs", RoleName=role)

    return act


def test_down_takes_away_what_programs_of_the_owner_put_on_its_own_things(endpoint: str) -> None:
    topology = small()
    empty = census(endpoint, topology.regions)
    world(endpoint).automation.append(organisation(endpoint))
    Operator(endpoint, topology).up()
    s3, iam = client(endpoint, "s3", TOKYO), client(endpoint, "iam", TOKYO)
    (bucket,) = (item["Name"] for item in s3.list_buckets()["Buckets"])
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    assert tags["cost-centre"] == "7"
    assert tags["latency:deployment"] == "test"
    assert Operator(endpoint, topology).up().aws.changing() == []
    s3.put_object(Bucket=bucket, Key="link.key", Body=b"a second version")
    s3.delete_object(Bucket=bucket, Key="bundle.tar.gz")
    s3.put_object(Bucket=bucket, Key="theirs.log", Body=b"a stranger's")
    s3.delete_object(Bucket=bucket, Key="theirs.log")
    Operator(endpoint, topology).down()
    assert s3.list_buckets()["Buckets"] == []
    iam.delete_instance_profile(InstanceProfileName="theirs")
    assert census(endpoint, topology.regions) == empty


def test_a_key_is_removed_with_all_its_versions(endpoint: str) -> None:
    world(endpoint).automation.append(organisation(endpoint))
    Operator(endpoint, small()).up()
    s3 = client(endpoint, "s3", TOKYO)
    (bucket,) = (item["Name"] for item in s3.list_buckets()["Buckets"])
    operator = Operator(endpoint, small())
    operator.aws.before.append(
        lambda call: ("AccessDenied", "no") if call.operation in ("DeleteBucket", "DeleteRole") else None
    )
    with pytest.raises(RemainsError):
        operator.down()
    answer = s3.list_object_versions(Bucket=bucket)
    assert "Versions" not in answer
    assert "DeleteMarkers" not in answer
    Operator(endpoint, small()).down()


def vpc_of(endpoint: str) -> tuple[Any, str, str]:
    ec2 = client(endpoint, "ec2", TOKYO)
    tagged = [{"Name": "tag:latency:deployment", "Values": ["test"]}]
    (vpc,) = ec2.describe_vpcs(Filters=tagged)["Vpcs"]
    subnet = ec2.describe_subnets(Filters=tagged)["Subnets"][0]
    return ec2, vpc["VpcId"], subnet["SubnetId"]


def group_of_a_service(ec2: Any, vpc: str, subnet: str) -> tuple[str, str, Callable[[], Any]]:
    made = ec2.create_security_group(GroupName="DetectorManaged", Description="d", VpcId=vpc)["GroupId"]
    return made, "DetectorManaged", lambda: ec2.delete_security_group(GroupId=made)


def interface_of_a_service(ec2: Any, vpc: str, subnet: str) -> tuple[str, str, Callable[[], Any]]:
    made = ec2.create_network_interface(SubnetId=subnet, Description="ELB app/theirs")["NetworkInterface"]
    identity = made["NetworkInterfaceId"]
    return identity, "ELB app/theirs", lambda: ec2.delete_network_interface(NetworkInterfaceId=identity)


def endpoint_of_a_service(ec2: Any, vpc: str, subnet: str) -> tuple[str, str, Callable[[], Any]]:
    name = f"com.amazonaws.{TOKYO}.guardduty-data"
    made = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=name, VpcEndpointType="Interface", SubnetIds=[subnet])[
        "VpcEndpoint"
    ]["VpcEndpointId"]
    return made, name, lambda: ec2.delete_vpc_endpoints(VpcEndpointIds=[made])


def rule_of_a_stranger(ec2: Any, vpc: str, subnet: str) -> tuple[str, str, Callable[[], Any]]:
    tagged = [{"Name": "tag:latency:deployment", "Values": ["test"]}]
    ours = ec2.describe_security_groups(Filters=tagged)["SecurityGroups"][0]["GroupId"]
    made = ec2.create_security_group(GroupName="desk", Description="d", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": ours}]}
    ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[rule])
    return made, "desk", lambda: ec2.delete_security_group(GroupId=made)


def rule_of_the_default_group(ec2: Any, vpc: str, subnet: str) -> tuple[str, str, Callable[[], Any]]:
    """It goes with its VPC, and until then its rules keep ours: programs of owners write some into it."""
    tagged = [{"Name": "tag:latency:deployment", "Values": ["test"]}]
    ours = ec2.describe_security_groups(Filters=tagged)["SecurityGroups"][0]["GroupId"]
    where = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
    (default,) = ec2.describe_security_groups(Filters=where)["SecurityGroups"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": ours}]}
    ec2.authorize_security_group_ingress(GroupId=default["GroupId"], IpPermissions=[rule])
    return (
        default["GroupId"],
        "default",
        lambda: ec2.revoke_security_group_ingress(GroupId=default["GroupId"], IpPermissions=[rule]),
    )


HINDRANCES = (
    group_of_a_service,
    interface_of_a_service,
    endpoint_of_a_service,
    rule_of_a_stranger,
    rule_of_the_default_group,
)


@pytest.mark.parametrize("hinder", HINDRANCES)
def test_what_stands_in_the_way_is_named_and_the_rest_goes(endpoint: str, hinder: Any) -> None:
    topology = small()
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    ec2, vpc, subnet = vpc_of(endpoint)
    identity, name, take_away = hinder(ec2, vpc, subnet)
    with pytest.raises(RemainsError, match=r"test: left are .*vpc/tokyo vpc-.*; remove what is in their way") as caught:
        Operator(endpoint, topology).down()
    assert caught.value.exit_code == 7
    told = "\n".join(caught.value.__notes__)
    assert f"{vpc}: vpc/tokyo: delete_vpc in {TOKYO}: DependencyViolation" in told
    assert f"{identity} ({name}" in told
    catch_up(endpoint)
    left = Operator(endpoint, topology).left()
    assert {found.region for found in left} == {TOKYO}
    assert {found.kind for found in left} <= {"vpc", "subnet", "security-group"}

    began = world(endpoint).clock.elapsed
    with pytest.raises(RemainsError):
        Operator(endpoint, topology).down()
    assert world(endpoint).clock.elapsed - began <= PATIENCE_SECONDS
    take_away()
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


@pytest.mark.parametrize(
    ("operation", "code", "message", "says"),
    [
        ("TerminateInstances", "OperationNotPermitted", "may not be terminated", "switch that off by hand"),
        ("DeleteBucket", "AccessDenied", "denied", "grant the credentials the permission s3:DeleteBucket"),
        ("DeleteObject", "AccessDenied", "because object protected by object lock", "retention is not over"),
        ("DeleteBucket", "BucketNotEmpty", "not empty", "something writes into it"),
        ("DeleteRole", "DeleteConflict", "must detach all policies first", "something attaches to it again"),
    ],
)
def test_one_refusal_does_not_keep_the_rest(endpoint: str, operation: str, code: str, message: str, says: str) -> None:
    topology = small()
    Operator(endpoint, topology).up()
    operator = Operator(endpoint, topology)
    operator.aws.before.append(lambda call: (code, message) if call.operation == operation else None)
    with pytest.raises(RemainsError) as caught:
        operator.down()
    assert says in "\n".join(caught.value.__notes__)
    catch_up(endpoint)
    kept = {found.kind for found in Operator(endpoint, topology).left()}
    assert not kept & {"peering", "placement-group", "key-pair"}
    assert "bucket" in kept or "identity" in kept or "instance" in kept
    Operator(endpoint, topology).down()
    assert Operator(endpoint, topology).left() == []


def test_a_host_that_aws_does_not_end_for_hours_is_named(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topology = small()
    empty = census(endpoint, topology.regions)
    operator = Operator(endpoint, topology).up()
    hosts = {found.key: found.id for found in operator.left() if found.kind == "instance"}
    monkeypatch.setattr(account_world, "STATE_SECONDS", 1e9)
    with pytest.raises(RemainsError, match=r"left are .*vpc/tokyo") as caught:
        Operator(endpoint, topology).down()
    (subnet,) = (note for note in caught.value.__notes__ if "subnet/tokyo/public:" in note)
    (group,) = (note for note in caught.value.__notes__ if "firewall/forwarder:" in note)
    for told in (subnet, group):
        assert "wait for hosts that are shutting down" in told
        assert told.endswith(f"used by {hosts['host/forwarder']} (shutting-down)")
    world(endpoint).clock.sleep(1e9)
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


def test_a_login_that_ends_meanwhile_ends_the_run(endpoint: str) -> None:
    Operator(endpoint, small()).up()
    operator = Operator(endpoint, small())
    operator.aws.before.append(
        lambda call: ("ExpiredToken", "expired") if call.operation == "DeleteSecurityGroup" else None
    )
    with pytest.raises(AwsError, match="log in again"):
        operator.down()
    assert not [call for call in operator.aws.calls if call.operation == "DeleteVpc"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("proxy", 1),
        *(pytest.param(name, number, marks=pytest.mark.exhaustive) for name in BUILT_IN for number in range(4)),
    ],
)
def test_down_after_any_automation_leaves_nothing_or_names_it_within_two_minutes(
    endpoint: str, name: str, number: int
) -> None:
    """Programs that version, tag, attach and protect, and any number of services' things in the way."""
    topology = load_topology(name)
    drawn = random.Random(f"{name} {number}")
    empty = census(endpoint, topology.regions)
    account = world(endpoint)
    account.automation.append(organisation(endpoint))
    Operator(endpoint, topology).up()
    hindrances = [hinder(*vpc_of(endpoint)) for hinder in drawn.sample(HINDRANCES, drawn.randrange(len(HINDRANCES)))]
    began = account.clock.elapsed
    told = ""
    try:
        Operator(endpoint, topology).down()
    except RemainsError as error:
        told = "\n".join([str(error), *error.__notes__])
        assert error.exit_code == 7  # noqa: PT017 - whether it raises is drawn
    # The states of transit gateways take their own time, each up to half an hour.
    assert account.clock.elapsed - began <= (PATIENCE_SECONDS if not topology.transit else 12 * SLOW_TRANSIT_SECONDS)
    assert (told == "") == (not hindrances)
    for identity, words, take_away in hindrances:
        assert f"{identity} ({words}" in told or identity in told
        take_away()
    Operator(endpoint, topology).down()
    client(endpoint, "iam", TOKYO).delete_instance_profile(InstanceProfileName="theirs")
    assert census(endpoint, topology.regions) == empty


def test_what_was_made_a_moment_ago_and_is_not_known_yet_goes_too(endpoint: str) -> None:
    """After a death of `up`, `down` may be told that there is no such thing as what it was shown just before."""
    topology = load_topology("backbone")
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    operator = Operator(endpoint, topology)
    late = [
        Once(operation(name, "eu-central-1"), lambda: ("InvalidID.NotFound", "The ID does not exist"))
        for name in ("DeleteVpc", "DeleteSubnet", "DeleteSecurityGroup", "DeleteRouteTable")
    ]
    operator.aws.before.extend(late)
    operator.down()
    assert all(fault.struck for fault in late)
    assert census(endpoint, topology.regions) == empty
