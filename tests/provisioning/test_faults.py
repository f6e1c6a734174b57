import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from provisioning.errors import AwsError, CapacityError, PendingError, ProvisionError, UncertainError
from provisioning.loading import load_topology
from provisioning.topology import Topology
from tests.provisioning.aws import Call, Once, Operator, census, client, operation

pytestmark = pytest.mark.process


def small() -> Topology:
    return load_topology("backbone")


class FirstOfEach:
    """Fails the first call of every changing operation with an error, as a rate limit or a late replica does."""

    def __init__(self, error: tuple[str, str], operations: re.Pattern[str] = re.compile(".*")) -> None:
        self.error, self.operations, self.struck = error, operations, Counter[str]()

    def __call__(self, call: Call) -> Any:
        if not call.changes or not self.operations.fullmatch(call.operation) or self.struck[call.operation]:
            return None
        self.struck[call.operation] += 1
        return self.error


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Throttling", "ThrottlingException"])
def test_every_kind_of_change_is_repeated_when_throttled(endpoint: str, code: str) -> None:
    operator = Operator(endpoint, small())
    fault = FirstOfEach((code, "Rate exceeded"))
    operator.aws.before.append(fault)
    operator.up()
    assert len(fault.struck) >= 15
    operator = Operator(endpoint, small())
    fault = FirstOfEach((code, "Rate exceeded"))
    operator.aws.before.append(fault)
    operator.down()
    assert len(fault.struck) >= 12
    assert Operator(endpoint, small()).left() == []


def test_throttled_reading_is_repeated(endpoint: str) -> None:
    operator = Operator(endpoint, small())
    operator.aws.before.append(Once(operation("DescribeVpcs"), lambda: ("RequestLimitExceeded", "slow down")))
    operator.up()


def test_what_was_just_made_may_be_unknown_for_a_while(endpoint: str) -> None:
    operator = Operator(endpoint, load_topology("egress"))
    uses = "AttachInternetGateway|CreateRoute|AssociateRouteTable|AuthorizeSecurityGroup.*|AcceptVpcPeeringConnection"
    uses += "|ModifyInstanceAttribute|AssociateAddress|CreateSubnet|RunInstances|CreateVpcPeeringConnection"
    fault = FirstOfEach(("InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist"), re.compile(uses))
    operator.aws.before.append(fault)
    operator.up()
    # moto shares a peering's tags between its regions, so there is no CreateTags
    assert len(fault.struck) == 11
    assert Operator(endpoint, load_topology("egress")).up().aws.changing() == []


def test_a_fresh_role_may_be_unknown_to_ec2(endpoint: str) -> None:
    operator = Operator(endpoint, small())
    message = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    fault = Once(operation("RunInstances"), lambda: ("InvalidParameterValue", message))
    operator.aws.before.append(fault)
    operator.up()
    assert fault.struck


def test_a_list_that_lags_behind_makes_no_duplicate(endpoint: str) -> None:
    """For a few answers after a creation the new resource is missing from the lists."""
    operator = Operator(endpoint, small())
    lists = {
        "DescribeVpcs": ("CreateVpc", "Vpcs"),
        "DescribeSubnets": ("CreateSubnet", "Subnets"),
        "DescribeRouteTables": ("CreateRouteTable", "RouteTables"),
        "DescribeSecurityGroups": ("CreateSecurityGroup", "SecurityGroups"),
    }
    hidden: Counter[str] = Counter()

    def lag(call: Call) -> Any:
        if call.operation not in lists:
            return None
        create, key = lists[call.operation]
        created = any(past.operation == create and past.region == call.region for past in operator.aws.calls)
        if created and hidden[call.operation + call.region] < 3:
            hidden[call.operation + call.region] += 1
            return {key: []}
        return None

    operator.aws.before.append(lag)
    operator.up()
    assert sum(hidden.values()) == 24
    found = census(endpoint, small().regions)
    assert all(count == 1 for (_, kind, _), count in found.items() if kind in ("vpc", "subnet", "table", "group"))


def test_down_waits_for_what_is_in_use(endpoint: str) -> None:
    Operator(endpoint, small()).up()
    operator = Operator(endpoint, small())
    fault = FirstOfEach(
        ("DependencyViolation", "resource has a dependent object"),
        re.compile("Delete(Vpc|Subnet|SecurityGroup|InternetGateway|RouteTable)|DetachInternetGateway"),
    )
    operator.aws.before.append(fault)
    operator.down()
    assert len(fault.struck) == 6
    assert Operator(endpoint, small()).left() == []


def test_without_capacity_the_next_zone_is_used(endpoint: str) -> None:
    topology = small()
    operator = Operator(endpoint, topology)
    refused: list[str] = []

    def full(call: Call) -> Any:
        if call.operation != "RunInstances" or call.region != "ap-northeast-1" or refused:
            return None
        refused.append(call.params["NetworkInterfaces"][0]["SubnetId"])
        return "InsufficientInstanceCapacity", "We currently do not have sufficient t3.micro capacity"

    operator.aws.before.append(full)
    operator.up()
    zones = [
        call.params["AvailabilityZone"]
        for call in operator.aws.calls
        if call.operation == "CreateSubnet" and call.error is None
    ]
    tokyo = [zone for zone in zones if zone.startswith("ap-northeast-1")]
    assert len(tokyo) == len(set(tokyo)) == 2
    assert Operator(endpoint, topology).up().aws.changing() == []


def test_without_capacity_anywhere_the_message_says_what_to_do(endpoint: str) -> None:
    operator = Operator(endpoint, small())
    operator.aws.before.append(
        lambda call: ("InsufficientInstanceCapacity", "no capacity") if call.operation == "RunInstances" else None
    )
    with pytest.raises(
        CapacityError, match=r"host/\w+: run_instances in .*use another --instance-type or run again later"
    ) as caught:
        operator.up()
    region = caught.value.region
    zones = client(endpoint, "ec2", region).describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["t3.micro"]}]
    )["InstanceTypeOfferings"]
    tried = ", ".join(sorted(item["Location"] for item in zones))
    assert f"no capacity (tried {tried}: the region has no other zone for it)" in str(caught.value)
    Operator(endpoint, small()).up()
    assert Operator(endpoint, small()).up().aws.changing() == []


def test_a_peering_that_fails_says_why(endpoint: str) -> None:
    operator = Operator(endpoint, small())
    made: list[str] = []

    def fail(call: Call) -> Any:
        if call.operation == "DescribeVpcPeeringConnections" and call.region == "ap-northeast-1":
            for past in operator.aws.calls:
                if past.operation == "CreateVpcPeeringConnection" and past.answer:
                    item = past.answer["VpcPeeringConnection"]
                    made.append(item["VpcPeeringConnectionId"])
                    status = {
                        "Code": "failed",
                        "Message": "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range",
                    }
                    return {"VpcPeeringConnections": [{**item, "Status": status}]}
        return None

    operator.aws.before.append(fail)
    with pytest.raises(
        ProvisionError, match=r"peering/tokyo-frankfurt: pcx-\w+ in ap-northeast-1 is failed: .*overlapping"
    ):
        operator.up()
    assert made
    Operator(endpoint, small()).up()


def test_a_dead_peering_is_not_mistaken_for_a_live_one(endpoint: str) -> None:
    Operator(endpoint, small()).up()
    Operator(endpoint, small()).down()
    again = Operator(endpoint, small()).up()
    assert sum(call.operation == "CreateVpcPeeringConnection" for call in again.aws.calls) == 1


@pytest.mark.parametrize(
    ("operation_name", "code", "message", "expected"),
    [
        (
            "AllocateAddress",
            "AddressLimitExceeded",
            "limit",
            r"address/nat: allocate_address in ap-northeast-1.*EC2-VPC Elastic IPs",
        ),
        ("CreateVpc", "VpcLimitExceeded", "limit", r"vpc/\w+: create_vpc in .*VPCs per Region"),
        ("RunInstances", "VcpuLimitExceeded", "limit", r"host/\w+: run_instances in .*Running On-Demand"),
        (
            "RunInstances",
            "InvalidParameterCombination",
            "The specified instance type is not eligible for Free Tier.",
            r"--instance-type with t3.micro",
        ),
        ("CreateVpc", "UnauthorizedOperation", "You are not authorized", r"create_vpc .*the permission ec2:CreateVpc;"),
        ("CreateRole", "AccessDenied", "not authorized", r"identity/\w+: create_role .*permission"),
        ("DescribeVpcs", "ExpiredToken", "expired", r"the login is over: log in again"),
        ("DescribeVpcs", "AuthFailure", "not able to validate", r"check the access key"),
    ],
)
def test_refusals_name_call_resource_region_and_remedy(
    endpoint: str, operation_name: str, code: str, message: str, expected: str
) -> None:
    operator = Operator(endpoint, load_topology("egress"))
    operator.aws.before.append(lambda call: (code, message) if call.operation == operation_name else None)
    with pytest.raises(AwsError, match=expected) as caught:
        operator.up()
    assert caught.value.exit_code == 6
    Operator(endpoint, load_topology("egress")).up()
    assert Operator(endpoint, load_topology("egress")).up().aws.changing() == []


def test_an_instance_that_ends_while_starting_is_told(endpoint: str) -> None:
    operator = Operator(endpoint, small())
    seen = []

    def end(call: Call) -> Any:
        filters = call.params.get("Filters", [{}])
        if call.operation == "DescribeInstances" and filters[0].get("Name") == "instance-id":
            seen.append(call)
            state = "pending" if len(seen) == 1 else "terminated"
            instance = {"InstanceId": filters[0]["Values"][0], "State": {"Name": state}}
            instance["StateReason"] = {"Code": "Client.InvalidKMSKey.InvalidState", "Message": "the key is disabled"}
            return {"Reservations": [{"Instances": [instance]}]}
        return None

    operator.aws.before.append(end)
    with pytest.raises(ProvisionError, match=r"host/\w+: i-\w+ in .* ended while starting: the key is disabled;"):
        operator.up()


def test_a_token_that_answers_with_a_terminated_instance_is_not_used_again(endpoint: str) -> None:
    """After `down` and `up` within the token's life AWS may answer with the instance of before."""
    topology = small()
    operator = Operator(endpoint, topology)
    ghosts: list[str] = []

    def ghost(call: Call) -> Any:
        if call.operation == "RunInstances" and not ghosts:
            ghosts.append(call.params["ClientToken"])
            return {"Instances": [{"InstanceId": "i-0123456789abcdef0"}]}
        filters = call.params.get("Filters", [{}])
        if call.operation == "DescribeInstances" and filters[0].get("Values") == ["i-0123456789abcdef0"]:
            return {
                "Reservations": [
                    {"Instances": [{"InstanceId": "i-0123456789abcdef0", "State": {"Name": "terminated"}}]}
                ]
            }
        return None

    operator.aws.before.append(ghost)
    operator.up()
    runs = [call for call in operator.aws.calls if call.operation == "RunInstances" and call.error in (None, "faked")]
    tokens = [call.params["ClientToken"] for call in runs]
    assert len(tokens) == len(set(tokens)) == len(topology.host) + 1


@pytest.mark.process
@pytest.mark.parametrize("seed", range(2))
def test_a_host_that_was_terminated_by_hand_is_launched_anew(endpoint: str, seed: int) -> None:
    """Three times within the tokens' life, whether EC2 answers with the dead or says that it is dead."""
    topology = small()
    Operator(endpoint, topology).aws.world.reset(seed)
    refusals: list[str | None] = []
    for _ in range(3):
        operator = Operator(endpoint, topology).up()
        refusals += [call.error for call in operator.aws.calls if call.operation == "RunInstances"]
        standing = {found.region: found.id for found in operator.left() if found.kind == "instance"}
        assert set(standing) == set(topology.regions)
        for region, host in standing.items():
            operator.aws.session.client("ec2", region_name=region).terminate_instances(InstanceIds=[host])
    assert "IdempotentInstanceTerminated" in refusals


def test_the_token_is_the_same_for_the_same_request_and_only_then(endpoint: str) -> None:
    tokens = {}
    for attempt in range(2):
        operator = Operator(endpoint, small())
        operator.aws.before.append(
            Once(operation("RunInstances", "eu-central-1"), lambda: ("UnauthorizedOperation", "no"))
        )
        with pytest.raises(AwsError):
            operator.up()
        runs = [
            call for call in operator.aws.calls if call.operation == "RunInstances" and call.region == "eu-central-1"
        ]
        tokens[attempt] = runs[0].params["ClientToken"]
    assert tokens[0] == tokens[1]
    hosts = tuple(msgspec.structs.replace(host, type="t3.small") for host in small().host)
    operator = Operator(endpoint, msgspec.structs.replace(small(), host=hosts)).up()
    runs = [call for call in operator.aws.calls if call.operation == "RunInstances" and call.region == "eu-central-1"]
    assert runs[0].params["ClientToken"] != tokens[0]


def test_server_faults_that_do_not_end_are_told(endpoint: str) -> None:
    operator = Operator(endpoint, small())
    operator.aws.before.append(lambda call: ("InternalError", "oops") if call.operation == "CreateVpc" else None)
    with pytest.raises(UncertainError, match=r"vpc/\w+: create_vpc .*may have taken effect"):
        operator.up()


def test_a_deployment_that_never_settles_is_told(endpoint: str) -> None:
    Operator(endpoint, small()).up()
    operator = Operator(endpoint, small())
    forgetful = operation("DescribeSecurityGroups", "eu-central-1")

    def forget(call: Call) -> Any:
        if not forgetful(call):
            return None
        real = Operator(endpoint, small()).aws.session.client("ec2", region_name="eu-central-1")
        groups = real.describe_security_groups(Filters=call.params["Filters"])["SecurityGroups"]
        return {"SecurityGroups": [{**group, "IpPermissions": []} for group in groups]}

    operator.aws.before.append(forget)
    with pytest.raises(PendingError, match=r"does not settle, still to do: change firewall/receiver"):
        operator.up()


def test_an_address_taken_by_something_else_is_not_stolen_silently(endpoint: str) -> None:
    topology = load_topology("egress")
    Operator(endpoint, topology).up()
    ec2 = client(endpoint, "ec2", "ap-northeast-1")
    address = ec2.describe_addresses()["Addresses"][0]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    stranger = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.micro",
        ClientToken="stranger",
        MetadataOptions={"HttpTokens": "required"},
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True, "VolumeSize": 8}}],
        TagSpecifications=[
            {
                "ResourceType": kind,
                "Tags": [{"Key": "latency:deployment", "Value": "x"}, {"Key": "latency:key", "Value": "x"}],
            }
            for kind in ("instance", "volume", "network-interface")
        ],
    )["Instances"][0]["InstanceId"]
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=stranger, AllowReassociation=False)
    engine = Operator(endpoint, topology).engine()
    engine.read()
    (step,) = engine.plan()
    assert step.key == "address/nat"
    assert step.texts == (f"take back from {stranger}", "associate with host/nat")
    mender = Operator(endpoint, topology).up()
    assert [call.operation for call in mender.aws.changing()] == ["DisassociateAddress", "AssociateAddress"]
    assert [call.params.get("AllowReassociation") for call in mender.aws.changing()] == [None, False]
