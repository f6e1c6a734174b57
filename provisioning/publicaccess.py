"""VPC Block Public Access: what an account or its organisation closes every internet gateway of a region with.

EC2 makes gateways, routes and hosts behind it as ever, and drops their packets: a host would never be ready, and no
answer says why (VPC guide, "Block public access to VPCs and subnets"). In both of its modes nothing passes an internet
gateway but a NAT gateway's traffic.
"""

from dataclasses import dataclass
from typing import Any

from provisioning.cloud import Cloud
from provisioning.errors import AwsError
from provisioning.model import Node, View

__all__ = ["Block", "block_of", "closed_to", "faces_the_internet"]

_EXCLUDED = ("create-complete", "update-in-progress", "update-complete")
_UNKNOWN = ("UnauthorizedOperation", "InvalidAction", "UnsupportedOperation")
"""Whoever may not ask, or asks where it does not exist, builds as ever."""


@dataclass(frozen=True, slots=True)
class Block:
    """A region's mode: ``off``, ``block-bidirectional`` or ``block-ingress``; what is excluded, and whether it can be.

    ``excluded`` are the ids of VPCs and subnets that it does not close.
    """

    mode: str = "off"
    excludable: bool = True
    excluded: frozenset[str] = frozenset()


def block_of(cloud: Cloud, region: str, about: str) -> Block:
    """Ask for a region's mode.

    Raises:
        AwsError: the login is over, or the like.
    """
    try:
        answer = cloud.call(region, "ec2", "describe_vpc_block_public_access_options", about)
        options = answer["VpcBlockPublicAccessOptions"]
        mode = str(options.get("InternetGatewayBlockMode", "off"))
        found = [] if mode == "off" else _exclusions(cloud, region, about)
    except AwsError as error:
        if error.code not in _UNKNOWN:
            raise
        return Block()
    # Letting out alone is enough for hosts, and is an exclusion from the mode that lets nothing out only.
    helps = ("allow-bidirectional", "allow-egress") if mode == "block-bidirectional" else ("allow-bidirectional",)
    excluded = frozenset(
        item["ResourceArn"].rpartition("/")[2]
        for item in found
        if item["State"] in _EXCLUDED and item["InternetGatewayExclusionMode"] in helps
    )
    return Block(mode, options.get("ExclusionsAllowed") != "not-allowed", excluded)


def _exclusions(cloud: Cloud, region: str, about: str) -> list[dict[str, Any]]:
    return cloud.pages(
        region, "ec2", "describe_vpc_block_public_access_exclusions", "VpcBlockPublicAccessExclusions", about
    )


def faces_the_internet(view: View, host: Node) -> bool:
    """Whether a host's own subnet leads to an internet gateway; behind a tunnel or a proxy it does not."""
    return any(
        host.spec.subnet in node.spec.subnets and any(block == "0.0.0.0/0" for block, _ in node.spec.routes)
        for node in view.nodes.values()
        if node.kind == "route-table"
    )


def closed_to(view: View, host: Node, block: Block) -> str:
    """Why a host would not reach the internet, and what to do; empty where it would."""
    vpc = view.nodes[host.spec.subnet].spec.vpc
    standing = [view.found[key].id for key in (vpc, host.spec.subnet) if key in view.found]
    if block.mode == "off" or block.excluded.intersection(standing):
        return ""
    told = (
        f"{host.key}: VPC Block Public Access of {host.region} is {block.mode}: no packet passes its internet gateway"
    )
    if not block.excludable:
        return f"{told}, and exclusions are not allowed; ask whoever keeps it, or use another account"
    if vpc not in view.found:
        return f"{told}; `up` makes the network and stops there, until {vpc} is excluded or the block is off"
    return (
        f"{told}; exclude {vpc} (`aws ec2 create-vpc-block-public-access-exclusion --region {host.region} --vpc-id "
        f"{view.found[vpc].id} --internet-gateway-exclusion-mode allow-bidirectional`) or switch the block off, "
        "and run again"
    )
