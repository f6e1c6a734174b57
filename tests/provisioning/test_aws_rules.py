"""The checker catches a seeded violation of each rule, and lets the right call pass."""

from typing import Any

import pytest

from tests.provisioning.aws import Call
from tests.provisioning.aws_rules import recorded, violations

TAGS = [{"Key": "latency:deployment", "Value": "x"}, {"Key": "latency:key", "Value": "x"}]


def tags(*kinds: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": TAGS} for kind in kinds]


def run_instances(**changes: Any) -> Call:
    params = {
        "ClientToken": "token",
        "MetadataOptions": {"HttpTokens": "required"},
        "BlockDeviceMappings": [{"Ebs": {"Encrypted": True}}],
        "NetworkInterfaces": [{"SubnetId": "subnet-1", "Groups": ["sg-1"]}],
        "TagSpecifications": tags("instance", "volume", "network-interface"),
        "UserData": "#!/bin/sh",
        "InstanceType": "t3.micro",
        "CreditSpecification": {"CpuCredits": "unlimited"},
        **changes,
    }
    return recorded("RunInstances", "a", params, {"Instances": [{"InstanceId": "i-1", "VpcId": "vpc-1"}]})


PUBLIC = run_instances(
    NetworkInterfaces=[{"SubnetId": "subnet-1", "Groups": ["sg-1"], "AssociatePublicIpAddress": True}]
)
HOLDS = recorded(
    "AssociateAddress",
    "a",
    {"InstanceId": "i-1", "AllocationId": "eipalloc-1", "AllowReassociation": False},
    {"AssociationId": "eipassoc-1"},
)
VPC = recorded("CreateVpc", "a", {"TagSpecifications": tags("vpc")}, {"Vpc": {"VpcId": "vpc-1"}})
SUBNET = recorded(
    "CreateSubnet", "a", {"VpcId": "vpc-1", "TagSpecifications": tags("subnet")}, {"Subnet": {"SubnetId": "subnet-1"}}
)
GROUP = recorded(
    "CreateSecurityGroup", "a", {"VpcId": "vpc-1", "TagSpecifications": tags("security-group")}, {"GroupId": "sg-1"}
)
TABLE = recorded(
    "CreateRouteTable",
    "a",
    {"VpcId": "vpc-1", "TagSpecifications": tags("route-table")},
    {"RouteTable": {"RouteTableId": "rtb-1"}},
)
PEERING = recorded(
    "CreateVpcPeeringConnection",
    "a",
    {"VpcId": "vpc-1", "PeerVpcId": "vpc-2", "PeerRegion": "b", "TagSpecifications": tags("vpc-peering-connection")},
    {"VpcPeeringConnection": {"VpcPeeringConnectionId": "pcx-1"}},
)
ASSOCIATE = recorded("AssociateRouteTable", "a", {"RouteTableId": "rtb-1"}, {"AssociationId": "a-1"})
REPLACE = recorded(
    "ReplaceRouteTableAssociation",
    "a",
    {"AssociationId": "a-1", "RouteTableId": "rtb-2"},
    {"NewAssociationId": "a-2"},
)
ATTACH = recorded("AttachInternetGateway", "a", {"InternetGatewayId": "igw-1", "VpcId": "vpc-1"})
ADDRESS = recorded("AllocateAddress", "a", {"TagSpecifications": tags("elastic-ip")}, {"AllocationId": "eip-1"})
ASSOCIATION = recorded(
    "AssociateAddress", "a", {"AllocationId": "eip-1", "AllowReassociation": False}, {"AssociationId": "assoc-1"}
)
TERMINATE = recorded("TerminateInstances", "a", {"InstanceIds": ["i-1"]})
BUCKET_TAGS = recorded("PutBucketTagging", "a", {"Bucket": "b", "Tagging": {"TagSet": TAGS}})
OBJECT = recorded("PutObject", "a", {"Bucket": "b", "Key": "k", "ServerSideEncryption": "AES256"})
POLICY = recorded(
    "PutRolePolicy", "a", {"RoleName": "r", "PolicyDocument": '{"Statement": [{"Resource": "arn:aws:s3:::b/k"}]}'}
)
JOIN = recorded("AddRoleToInstanceProfile", "a", {"RoleName": "r", "InstanceProfileName": "r"})


def delete(what: str, field: str, value: str) -> Call:
    return recorded(f"Delete{what}", "a", {field: value})


def route(destination: str, **target: str) -> Call:
    return recorded("CreateRoute", "a", {"DestinationCidrBlock": destination, **target})


def rule(direction: str, permission: dict[str, Any], region: str = "a") -> Call:
    return recorded(f"AuthorizeSecurityGroup{direction}", region, {"GroupId": "sg-1", "IpPermissions": [permission]})


WORLD = {"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
WORLD6 = {"IpProtocol": "tcp", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
PAIR = {"IpProtocol": "tcp", "UserIdGroupPairs": [{"GroupId": "sg-1"}]}

CASES: list[tuple[str, list[Call], list[Call]]] = [
    (
        "carries nothing",
        [route("0.0.0.0/0", VpcPeeringConnectionId="pcx-1")],
        [route("10.1.0.0/16", VpcPeeringConnectionId="pcx-1"), route("0.0.0.0/0", GatewayId="igw-1")],
    ),
    (
        "must be accepted in b",
        [PEERING, recorded("AcceptVpcPeeringConnection", "a", {"VpcPeeringConnectionId": "pcx-1"})],
        [PEERING, recorded("AcceptVpcPeeringConnection", "b", {"VpcPeeringConnectionId": "pcx-1"})],
    ),
    ("refers to a group of a", [GROUP, rule("Ingress", PAIR, "b")], [GROUP, rule("Ingress", PAIR, "a")]),
    ("open to the world", [rule("Ingress", WORLD)], [rule("Egress", WORLD)]),
    ("open to the world", [rule("Ingress", WORLD6)], [rule("Egress", WORLD6)]),
    ("credit mode", [run_instances(CreditSpecification=None)], [run_instances()]),
    ("credit mode", [run_instances(InstanceType="trn1.2xlarge")], [run_instances(InstanceType="t4g.micro")]),
    ("client token '' is missing", [run_instances(ClientToken="")], [run_instances()]),
    ("too long", [run_instances(ClientToken="x" * 65)], [run_instances(ClientToken="x" * 64)]),
    (
        "used for another request",
        [run_instances(), run_instances(UserData="other")],
        [run_instances(), run_instances()],
    ),
    ("IMDSv2 is not required", [run_instances(MetadataOptions={"HttpTokens": "optional"})], [run_instances()]),
    (
        "IMDSv2 is not required",
        [recorded("ModifyInstanceMetadataOptions", "a", {"HttpTokens": "optional"})],
        [recorded("ModifyInstanceMetadataOptions", "a", {"HttpTokens": "required"})],
    ),
    ("exclude each other", [run_instances(SubnetId="subnet-1")], [run_instances()]),
    ("not encrypted", [run_instances(BlockDeviceMappings=[{"Ebs": {}}])], [run_instances()]),
    ("longer than 16 KB", [run_instances(UserData="x" * 16385)], [run_instances(UserData="x" * 16384)]),
    (
        "volume made without",
        [run_instances(TagSpecifications=tags("instance", "network-interface"))],
        [run_instances()],
    ),
    ("vpc made without", [recorded("CreateVpc", "a", {}, {"Vpc": {"VpcId": "vpc-1"}})], [VPC]),
    (
        "made without the deployment's tags",
        [recorded("CreateRole", "a", {})],
        [recorded("CreateRole", "a", {"Tags": TAGS})],
    ),
    (
        "anybody may have taken the name",
        [recorded("CreateBucket", "a", {"Bucket": "b"})],
        [recorded("CreateBucket", "a", {"Bucket": "b", "BucketNamespace": "account-regional"})],
    ),
    ("bucket has no tags", [OBJECT], [BUCKET_TAGS, OBJECT]),
    (
        "object is not encrypted",
        [BUCKET_TAGS, recorded("PutObject", "a", {"Bucket": "b", "Key": "k"})],
        [BUCKET_TAGS, OBJECT],
    ),
    (
        "may steal",
        [recorded("AssociateAddress", "a", {"AllocationId": "eip-1"}, {"AssociationId": "x"})],
        [ADDRESS, ASSOCIATION],
    ),
    (
        "hosts still stand",
        [VPC, SUBNET, run_instances(), delete("Subnet", "SubnetId", "subnet-1")],
        [VPC, SUBNET, run_instances(), TERMINATE, delete("Subnet", "SubnetId", "subnet-1")],
    ),
    (
        "hosts still use",
        [VPC, GROUP, run_instances(), delete("SecurityGroup", "GroupId", "sg-1")],
        [VPC, GROUP, run_instances(), TERMINATE, delete("SecurityGroup", "GroupId", "sg-1")],
    ),
    (
        "still associated",
        [
            TABLE,
            ASSOCIATE,
            delete("RouteTable", "RouteTableId", "rtb-1"),
        ],
        [TABLE, delete("RouteTable", "RouteTableId", "rtb-1")],
    ),
    (
        "still associated",
        [TABLE, ASSOCIATE, REPLACE, delete("RouteTable", "RouteTableId", "rtb-2")],
        [TABLE, ASSOCIATE, REPLACE, delete("RouteTable", "RouteTableId", "rtb-1")],
    ),
    (
        "gateway is still attached",
        [ATTACH, delete("InternetGateway", "InternetGatewayId", "igw-1")],
        [
            ATTACH,
            recorded("DetachInternetGateway", "a", {"InternetGatewayId": "igw-1", "VpcId": "vpc-1"}),
            delete("InternetGateway", "InternetGatewayId", "igw-1"),
        ],
    ),
    (
        "public addresses still stand",
        [ATTACH, PUBLIC, recorded("DetachInternetGateway", "a", {"InternetGatewayId": "igw-1"})],
        [ATTACH, PUBLIC, TERMINATE, recorded("DetachInternetGateway", "a", {"InternetGatewayId": "igw-1"})],
    ),
    (
        "public addresses still stand",
        [ATTACH, run_instances(), HOLDS, recorded("DetachInternetGateway", "a", {"InternetGatewayId": "igw-1"})],
        # EC2 keeps a gateway for the sake of mapped addresses, not of hosts (EC2 API, DetachInternetGateway).
        [ATTACH, run_instances(), recorded("DetachInternetGateway", "a", {"InternetGatewayId": "igw-1"})],
    ),
    (
        "still holds ['subnet']",
        [VPC, SUBNET, delete("Vpc", "VpcId", "vpc-1")],
        [VPC, SUBNET, delete("Subnet", "SubnetId", "subnet-1"), delete("Vpc", "VpcId", "vpc-1")],
    ),
    ("internet gateway", [VPC, ATTACH, delete("Vpc", "VpcId", "vpc-1")], [VPC, delete("Vpc", "VpcId", "vpc-1")]),
    (
        "address is still associated",
        [ADDRESS, ASSOCIATION, recorded("ReleaseAddress", "a", {"AllocationId": "eip-1"})],
        [
            ADDRESS,
            ASSOCIATION,
            recorded("DisassociateAddress", "a", {"AssociationId": "assoc-1"}),
            recorded("ReleaseAddress", "a", {"AllocationId": "eip-1"}),
        ],
    ),
    (
        "bucket is not empty",
        [BUCKET_TAGS, OBJECT, delete("Bucket", "Bucket", "b")],
        [
            BUCKET_TAGS,
            OBJECT,
            recorded("DeleteObject", "a", {"Bucket": "b", "Key": "k"}),
            delete("Bucket", "Bucket", "b"),
        ],
    ),
    (
        "wildcard",
        [recorded("PutRolePolicy", "a", {"RoleName": "r", "PolicyDocument": '{"Statement": [{"Resource": "*"}]}'})],
        [POLICY],
    ),
    (
        "role still has a policy",
        [POLICY, delete("Role", "RoleName", "r")],
        [POLICY, recorded("DeleteRolePolicy", "a", {"RoleName": "r"}), delete("Role", "RoleName", "r")],
    ),
    (
        "profile still carries",
        [JOIN, delete("InstanceProfile", "InstanceProfileName", "r")],
        [
            JOIN,
            recorded("RemoveRoleFromInstanceProfile", "a", {"RoleName": "r", "InstanceProfileName": "r"}),
            delete("InstanceProfile", "InstanceProfileName", "r"),
        ],
    ),
]


@pytest.mark.parametrize(("why", "wrong", "right"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_each_rule_catches_its_violation_and_nothing_else(why: str, wrong: list[Call], right: list[Call]) -> None:
    found = violations(wrong)
    assert len(found) == 1, found
    assert why in found[0]
    assert violations(right) == []


def test_a_call_that_failed_made_nothing() -> None:
    failed = recorded("CreateSubnet", "a", SUBNET.params)
    failed.error = "InvalidSubnet.Conflict"
    assert violations([VPC, failed, delete("Vpc", "VpcId", "vpc-1")]) == []


def associate(allocation: str) -> Call:
    given = {"AllocationId": allocation, "InstanceId": "i-1", "AllowReassociation": False}
    return recorded("AssociateAddress", "a", given, {"AssociationId": f"of-{allocation}"})


def test_a_second_address_of_an_instance_frees_the_first() -> None:
    made = [recorded("AllocateAddress", "a", ADDRESS.params, {"AllocationId": name}) for name in ("eip-1", "eip-2")]
    both = [*made, associate("eip-1"), associate("eip-2")]
    assert violations([*both, recorded("ReleaseAddress", "a", {"AllocationId": "eip-1"})]) == []
    assert len(violations([*both, recorded("ReleaseAddress", "a", {"AllocationId": "eip-2"})])) == 1


def test_calls_count_in_the_order_of_their_effects() -> None:
    """Two operators' calls overlap: what was recorded first may have taken effect last."""
    release, free = (recorded("DeleteVpc", "a", {"VpcId": "vpc-1"}), recorded("DeleteSubnet", "a", {"SubnetId": "s"}))
    release.effect, free.effect = 2, 1
    subnet = recorded("CreateSubnet", "a", SUBNET.params, {"Subnet": {"SubnetId": "s"}})
    assert violations([VPC, subnet, release, free]) == []
