"""Rules of AWS that moto does not enforce, checked over recorded calls.

The checker keeps a small model of what the successful calls made, so it can tell a deletion in the wrong order, an
acceptance in the wrong region or a token used for two requests.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.provisioning.aws import Call

ANYWHERE = ("0.0.0.0/0", "::/0")
TAGGED_TYPES = {
    "CreateVpc": {"vpc"},
    "CreateSubnet": {"subnet"},
    "CreateInternetGateway": {"internet-gateway"},
    "CreateRouteTable": {"route-table"},
    "CreateSecurityGroup": {"security-group"},
    "CreateVpcPeeringConnection": {"vpc-peering-connection"},
    "CreateTransitGateway": {"transit-gateway"},
    "CreateTransitGatewayVpcAttachment": {"transit-gateway-attachment"},
    "CreateTransitGatewayPeeringAttachment": {"transit-gateway-attachment"},
    "CreateTransitGatewayRouteTable": {"transit-gateway-route-table"},
    "AllocateAddress": {"elastic-ip"},
    "ImportKeyPair": {"key-pair"},
    "CreatePlacementGroup": {"placement-group"},
    "RunInstances": {"instance", "volume", "network-interface"},
}
NEEDED_TAGS = {"latency:deployment", "latency:key"}


class Checker:
    """Feed it calls in order; ``violations`` fills up."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.tokens: dict[str, str] = {}
        self.peerings: dict[str, str] = {}  # peering: region of its accepter
        self.groups: dict[str, tuple[str, str]] = {}  # id: region, vpc
        self.children: dict[str, dict[str, str]] = {}  # vpc: {child id: kind}
        self.attached: dict[str, str] = {}  # gateway: vpc
        self.associations: dict[str, str] = {}  # association: table
        self.instances: dict[str, dict[str, Any]] = {}
        self.addresses: dict[str, str | None] = {}  # allocation: association
        self.holders: dict[str, str] = {}  # instance: allocation of its address
        self.objects: dict[str, set[str]] = {}
        self.tagged_buckets: set[str] = set()
        self.roles: dict[str, set[str]] = {}  # role: what still hangs on it

    def wrong(self, call: Call, why: str) -> None:
        self.violations.append(f"{call.operation} in {call.region}: {why}: {call.params}")

    def feed(self, calls: Iterable[Call]) -> list[str]:
        for call in sorted(calls, key=lambda call: call.effect):
            self.check_request(call)
            if call.error is None:
                handler = getattr(self, f"on_{call.operation}", None)
                if handler:
                    handler(call, call.params, call.answer)
        return self.violations

    def check_request(self, call: Call) -> None:
        params = call.params
        if call.operation in TAGGED_TYPES:
            self.check_tags(call, TAGGED_TYPES[call.operation])
        if call.operation in ("CreateRole", "CreateInstanceProfile"):
            names = {tag["Key"] for tag in params.get("Tags", [])}
            if not names >= NEEDED_TAGS:
                self.wrong(call, "made without the deployment's tags")
        is_route = call.operation in ("CreateRoute", "ReplaceRoute")
        if is_route and params["DestinationCidrBlock"] in ANYWHERE and "VpcPeeringConnectionId" in params:
            self.wrong(call, "a default route to a peering connection carries nothing")
        if call.operation.startswith("AuthorizeSecurityGroup"):
            self.check_rules(call)
        if call.operation == "RunInstances":
            self.check_instance(call)
        if call.operation == "AssociateAddress" and params.get("AllowReassociation") is not False:
            self.wrong(call, "may steal the address")
        if call.operation == "CreateBucket" and params.get("BucketNamespace") != "account-regional":
            self.wrong(call, "anybody may have taken the name")
        if call.operation == "ModifyInstanceMetadataOptions" and params.get("HttpTokens") != "required":
            self.wrong(call, "IMDSv2 is not required")

    def check_tags(self, call: Call, types: set[str]) -> None:
        specifications = {item["ResourceType"]: item["Tags"] for item in call.params.get("TagSpecifications", [])}
        for kind in types:
            if not {tag["Key"] for tag in specifications.get(kind, [])} >= NEEDED_TAGS:
                self.wrong(call, f"{kind} made without the deployment's tags")

    def check_rules(self, call: Call) -> None:
        for permission in call.params["IpPermissions"]:
            blocks = [item["CidrIp"] for item in permission.get("IpRanges", [])]
            blocks += [item["CidrIpv6"] for item in permission.get("Ipv6Ranges", [])]
            # "Fragmentation needed" opens nothing, and may come from any router (RFC 1191).
            too_big = (permission["IpProtocol"], permission.get("FromPort"), permission.get("ToPort")) == ("icmp", 3, 4)
            if call.operation.endswith("Ingress") and set(blocks) & set(ANYWHERE) and not too_big:
                self.wrong(call, "open to the world")
            for pair in permission.get("UserIdGroupPairs", []):
                region = self.groups.get(pair["GroupId"], ("an unknown region", ""))[0]
                if region != call.region:
                    self.wrong(call, f"refers to a group of {region}")

    def check_instance(self, call: Call) -> None:
        params = call.params
        if params.get("MetadataOptions", {}).get("HttpTokens") != "required":
            self.wrong(call, "IMDSv2 is not required")
        token = params.get("ClientToken", "")
        if not token or len(token) > 64 or not token.isascii():
            self.wrong(call, f"client token {token!r} is missing, too long or not ASCII")
        rest = json.dumps({k: v for k, v in params.items() if k != "ClientToken"}, sort_keys=True)
        if token and self.tokens.setdefault(token, rest) != rest:
            self.wrong(call, "the client token was used for another request")
        if "NetworkInterfaces" in params and {"SubnetId", "PrivateIpAddress", "SecurityGroupIds"} & params.keys():
            self.wrong(call, "NetworkInterfaces and top-level network settings exclude each other")
        for mapping in params.get("BlockDeviceMappings", [{}]):
            if not mapping.get("Ebs", {}).get("Encrypted"):
                self.wrong(call, "a volume is not encrypted")
        mode = params.get("CreditSpecification")
        if (mode is not None) != bool(re.match(r"t\d", params.get("InstanceType", ""))):
            self.wrong(call, "a credit mode goes with burstable types, and with them alone")
        if len(params.get("UserData", "").encode()) > 16384:
            self.wrong(call, "user data is longer than 16 KB")

    def on_CreateVpc(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.children[answer["Vpc"]["VpcId"]] = {}

    def on_CreateSubnet(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.children.setdefault(params["VpcId"], {})[answer["Subnet"]["SubnetId"]] = "subnet"

    def on_CreateRouteTable(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.children.setdefault(params["VpcId"], {})[answer["RouteTable"]["RouteTableId"]] = "route table"

    def on_CreateSecurityGroup(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.groups[answer["GroupId"]] = (call.region, params["VpcId"])
        self.children.setdefault(params["VpcId"], {})[answer["GroupId"]] = "security group"

    def on_AttachInternetGateway(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.attached[params["InternetGatewayId"]] = params["VpcId"]

    def on_DetachInternetGateway(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        vpc = self.attached.pop(params["InternetGatewayId"], None)
        if any(item["vpc"] == vpc and item["public"] for item in self.instances.values()):
            self.wrong(call, "hosts with public addresses still stand in the VPC")

    def on_DeleteInternetGateway(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if params["InternetGatewayId"] in self.attached:
            self.wrong(call, "the gateway is still attached")

    def on_AssociateRouteTable(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.associations[answer["AssociationId"]] = params["RouteTableId"]

    def on_ReplaceRouteTableAssociation(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.associations.pop(params["AssociationId"], None)
        self.associations[answer["NewAssociationId"]] = params["RouteTableId"]

    def on_DisassociateRouteTable(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.associations.pop(params["AssociationId"], None)

    def on_DeleteRouteTable(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if params["RouteTableId"] in self.associations.values():
            self.wrong(call, "the table is still associated")
        self._forget(params["RouteTableId"])

    def on_CreateVpcPeeringConnection(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        identity = answer["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        self.peerings[identity] = params.get("PeerRegion", call.region)

    def on_AcceptVpcPeeringConnection(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self._check_acceptance(call)

    def _check_acceptance(self, call: Call) -> None:
        region = self.peerings.get(call.params["VpcPeeringConnectionId"], call.region)
        if region != call.region:
            self.wrong(call, f"must be accepted in {region}")

    def on_DeleteVpcPeeringConnection(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.peerings.pop(params["VpcPeeringConnectionId"], None)

    def on_RunInstances(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        for item in answer["Instances"]:
            interface = params["NetworkInterfaces"][0] if "NetworkInterfaces" in params else params
            self.instances[item["InstanceId"]] = {
                "vpc": item.get("VpcId"),
                "subnet": interface.get("SubnetId"),
                "groups": interface.get("Groups", []),
                "public": bool(interface.get("AssociatePublicIpAddress")),
            }

    def on_TerminateInstances(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        for instance in params["InstanceIds"]:
            self.instances.pop(instance, None)

    def on_DeleteSubnet(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if any(item["subnet"] == params["SubnetId"] for item in self.instances.values()):
            self.wrong(call, "hosts still stand in the subnet")
        self._forget(params["SubnetId"])

    def on_DeleteSecurityGroup(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if any(params["GroupId"] in item["groups"] for item in self.instances.values()):
            self.wrong(call, "hosts still use the group")
        self._forget(params["GroupId"])

    def on_DeleteVpc(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        vpc = params["VpcId"]
        if children := self.children.pop(vpc, None):
            self.wrong(call, f"still holds {sorted(children.values())}")
        if vpc in self.attached.values():
            self.wrong(call, "still has an internet gateway")

    def on_AllocateAddress(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.addresses[answer["AllocationId"]] = None

    def on_AssociateAddress(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        # A second address dissolves the association of the first (EC2 guide, "Associate an Elastic IP address").
        instance = params.get("InstanceId", "")
        if instance and (other := self.holders.get(instance, "")) in self.addresses:
            self.addresses[other] = None
        self.holders[instance] = params["AllocationId"]
        if instance in self.instances:
            self.instances[instance]["public"] = True
        self.addresses[params["AllocationId"]] = answer["AssociationId"]

    def on_DisassociateAddress(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        for allocation, association in self.addresses.items():
            if association == params["AssociationId"]:
                self.addresses[allocation] = None
                for instance, held in self.holders.items():
                    if held == allocation and instance in self.instances:
                        self.instances[instance]["public"] = False

    def on_ReleaseAddress(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if self.addresses.pop(params["AllocationId"], None):
            self.wrong(call, "the address is still associated")

    def on_PutBucketTagging(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if {tag["Key"] for tag in params["Tagging"]["TagSet"]} >= NEEDED_TAGS:
            self.tagged_buckets.add(params["Bucket"])

    def on_PutObject(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if params["Bucket"] not in self.tagged_buckets:
            self.wrong(call, "the bucket has no tags yet")
        if params.get("ServerSideEncryption") != "AES256":
            self.wrong(call, "the object is not encrypted")
        self.objects.setdefault(params["Bucket"], set()).add(params["Key"])

    def on_DeleteObject(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.objects.get(params["Bucket"], set()).discard(params["Key"])

    def on_DeleteBucket(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if self.objects.pop(params["Bucket"], None):
            self.wrong(call, "the bucket is not empty")
        self.tagged_buckets.discard(params["Bucket"])

    def on_PutRolePolicy(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.roles.setdefault(params["RoleName"], set()).add("policy")
        # Below a folder of a bucket everything may be a host's own, as its archive is, whose files name days and paths.
        texts = re.findall(r'"([^"]*)"', json.dumps(json.loads(params["PolicyDocument"])["Statement"]))
        if any("*" in text and not re.fullmatch(r"arn:aws:s3:::[^*/]+/[^*]+/\*", text) for text in texts):
            self.wrong(call, "the policy has a wildcard")

    def on_DeleteRolePolicy(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.roles.get(params["RoleName"], set()).discard("policy")

    def on_AddRoleToInstanceProfile(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.roles.setdefault(params["RoleName"], set()).add("profile")

    def on_RemoveRoleFromInstanceProfile(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        self.roles.get(params["RoleName"], set()).discard("profile")

    def on_DeleteInstanceProfile(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if "profile" in self.roles.get(params["InstanceProfileName"], set()):
            self.wrong(call, "the profile still carries its role")

    def on_DeleteRole(self, call: Call, params: Any, answer: Any) -> None:  # noqa: N802
        if hanging := self.roles.pop(params["RoleName"], None):
            self.wrong(call, f"the role still has a {' and a '.join(sorted(hanging))}")

    def _forget(self, child: str) -> None:
        for children in self.children.values():
            children.pop(child, None)


def violations(calls: Iterable[Call]) -> list[str]:
    """What is wrong with a sequence of recorded calls."""
    return Checker().feed(calls)


def recorded(operation: str, region: str, params: Mapping[str, Any], answer: Mapping[str, Any] | None = None) -> Call:
    """A call as if it had been recorded."""
    return Call(operation, region, "ec2", dict(params), answer=dict(answer or {}))
