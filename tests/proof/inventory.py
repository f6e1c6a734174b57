"""What stands in an account, whatever its tags: an answer to "is anything left" that does not ask who made it.

By calls that the policy of ``provision`` permits, so that whoever may build may prove.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provisioning.cloud import Cloud

__all__ = ["Standing", "inventory"]

Standing = tuple[str, str, str]
"""Region, kind and id."""

_LISTS = (
    ("vpc", "describe_vpcs", "Vpcs", "VpcId"),
    ("subnet", "describe_subnets", "Subnets", "SubnetId"),
    ("internet-gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("route-table", "describe_route_tables", "RouteTables", "RouteTableId"),
    ("security-group", "describe_security_groups", "SecurityGroups", "GroupId"),
    ("peering", "describe_vpc_peering_connections", "VpcPeeringConnections", "VpcPeeringConnectionId"),
    ("elastic-ip", "describe_addresses", "Addresses", "AllocationId"),
    ("volume", "describe_volumes", "Volumes", "VolumeId"),
    ("network-interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    ("key-pair", "describe_key_pairs", "KeyPairs", "KeyName"),
    ("placement-group", "describe_placement_groups", "PlacementGroups", "GroupName"),
    ("transit-gateway", "describe_transit_gateways", "TransitGateways", "TransitGatewayId"),
    (
        "transit-attachment",
        "describe_transit_gateway_attachments",
        "TransitGatewayAttachments",
        "TransitGatewayAttachmentId",
    ),
    (
        "transit-table",
        "describe_transit_gateway_route_tables",
        "TransitGatewayRouteTables",
        "TransitGatewayRouteTableId",
    ),
)
_PATH = "/backbone-latency/"
_ACCELERATORS = "us-west-2"
"""Where the one API of Global Accelerator is."""
_GONE = {"deleted", "failed", "rejected", "expired", "terminated"}
"""States in which EC2 goes on listing what is no more."""


def inventory(cloud: Cloud, regions: Iterable[str]) -> set[Standing]:
    """Everything that a deployment could leave behind.

    Args:
        cloud: the account.
        regions: where to look.
    """
    regions = tuple(regions)
    found = {item for region in regions for item in _in(cloud, region)}
    home = regions[0]
    for kind, operation, key, name in (
        ("role", "list_roles", "Roles", "RoleName"),
        ("instance-profile", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    ):
        more: dict[str, str] = {}
        while True:
            answer = cloud.call(home, "iam", operation, "inventory", PathPrefix=_PATH, **more)
            found |= {("", kind, item[name]) for item in answer[key]}
            if not answer.get("IsTruncated"):
                break
            more = {"Marker": answer["Marker"]}
    for item in cloud.pages(_ACCELERATORS, "globalaccelerator", "list_accelerators", "Accelerators", "inventory"):
        # Everything of an accelerator is part of its id: listeners and endpoint groups cannot stand without it.
        found.add(("", "accelerator", item["AcceleratorArn"]))
    buckets = cloud.call(home, "s3", "list_buckets", "inventory", Prefix="latency-", MaxBuckets=1000)
    return found | {("", "bucket", item["Name"]) for item in buckets["Buckets"]}


def _in(cloud: Cloud, region: str) -> Iterator[Standing]:
    for kind, operation, key, name in _LISTS:
        items = cloud.pages(region, "ec2", operation, key, "inventory")
        yield from ((region, kind, item[name]) for item in items if _state(item) not in _GONE)
    for reservation in cloud.pages(region, "ec2", "describe_instances", "Reservations", "inventory"):
        for item in reservation["Instances"]:
            if item["State"]["Name"] not in _GONE:
                yield region, "instance", item["InstanceId"]


def _state(item: Mapping[str, Any]) -> str:
    """A peering has a status with a code, a transit gateway and its parts have a state."""
    status = item.get("Status")
    return str(status.get("Code", "")) if isinstance(status, Mapping) else str(item.get("State", ""))
