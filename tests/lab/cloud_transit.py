"""The transit gateways of an account, made as the emulator lists them: a router each, whose tables are the gateway's.

What comes by an attachment is looked up in the table that the attachment is associated with, and goes where one of its
active routes says, or nowhere (transit gateway guide, "Transit gateway route tables"). Peerings are wide-area links.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from tests.lab.cloud_emulator import Emulator
from tests.lab.lab import Lab, Site
from tests.lab.namespace import Namespace
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink

__all__ = ["DEVICE", "TRANSIT", "Attached", "TransitGateways"]

TRANSIT = Shape(delay_ms=23.5)
DEVICE = "transit"
"""The name of a VPC's interface to its gateway."""
MTU = 8500


class Attached(Protocol):
    """A VPC, as far as a gateway needs it."""

    @property
    def site(self) -> Site:
        """Its router's site."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a VPC goes into its gateway: the gateway's id, its address there, and the attachment's subnets."""

    gateway: str
    address: str
    subnets: list[str]


class TransitGateways:
    """All gateways, their attachments and the peerings between them.

    Args:
        lab: where they are made.
        emulator: what to make.
        regions: where to look.
        vpcs: those to attach, by id.
    """

    def __init__(self, lab: Lab, emulator: Emulator, regions: tuple[str, ...], vpcs: dict[str, Attached]) -> None:
        self._lab, self._emulator = lab, emulator
        self._routers: dict[str, Namespace] = {}
        self._ways: dict[tuple[str, str], tuple[str, ...]] = {}
        """How a gateway's router sends by an attachment, by the ids of both: the words of a route."""
        self.entrances: dict[str, Entrance] = {}
        """By the id of the attached VPC."""
        self.peerings: dict[str, WideAreaLink] = {}
        """By their places in the topology."""
        for region in regions:
            for facts in self._listed(region, "describe_transit_gateways", "TransitGateways"):
                self._routers[facts["TransitGatewayId"]] = lab.router(f"transit-{len(self._routers)}")
        for region in regions:
            for facts in self._listed(
                region, "describe_transit_gateway_vpc_attachments", "TransitGatewayVpcAttachments"
            ):
                if facts["VpcId"] in vpcs:
                    self._attach(facts, vpcs[facts["VpcId"]].site.router)
            self._peer(region)
        number = 100
        for region in regions:
            for facts in self._listed(region, "describe_transit_gateway_route_tables", "TransitGatewayRouteTables"):
                # The emulator goes on listing the default table of a gateway that is gone.
                if facts["TransitGatewayId"] in self._routers:
                    self._read_table(region, facts, number)
                    number += 1

    @property
    def routers(self) -> tuple[Namespace, ...]:
        """All gateways."""
        return tuple(self._routers.values())

    def _listed(self, region: str, operation: str, list_key: str) -> list[dict[str, Any]]:
        items = getattr(self._emulator.client("ec2", region), operation)()[list_key]
        return [item for item in items if item["State"] == "available"]

    def _attach(self, facts: dict[str, Any], vpc: Namespace) -> None:
        gateway = self._routers[facts["TransitGatewayId"]]
        device = f"a{len(self._ways)}"
        inside, outside = self._lab.wire((vpc, gateway), (DEVICE, device), MTU)
        self._ways[facts["TransitGatewayId"], facts["TransitGatewayAttachmentId"]] = ("via", inside, "dev", device)
        self.entrances[facts["VpcId"]] = Entrance(facts["TransitGatewayId"], outside, facts["SubnetIds"])

    def _peer(self, region: str) -> None:
        operation, list_key = "describe_transit_gateway_peering_attachments", "TransitGatewayPeeringAttachments"
        for facts in self._listed(region, operation, list_key):
            if facts["RequesterTgwInfo"]["Region"] != region:
                continue
            pair = [facts[end]["TransitGatewayId"] for end in ("RequesterTgwInfo", "AccepterTgwInfo")]
            identity, device = facts["TransitGatewayAttachmentId"], f"a{len(self._ways)}"
            routers = (self._routers[pair[0]], self._routers[pair[1]])
            key = next(tag["Value"] for tag in facts["Tags"] if tag["Key"] == "latency:key")
            self.peerings[key] = self._lab.join(routers, (device, device), TRANSIT)
            for gateway in pair:
                self._ways[gateway, identity] = ("dev", device)

    def _read_table(self, region: str, facts: dict[str, Any], number: int) -> None:
        ec2, gateway, table = self._emulator.client("ec2", region), facts["TransitGatewayId"], str(number)
        which = {"TransitGatewayRouteTableId": facts["TransitGatewayRouteTableId"]}
        router = self._routers[gateway]
        router.ip("route", "add", "blackhole", "default", "metric", "9999", "table", table)
        active = [{"Name": "state", "Values": ["active"]}]
        for route in ec2.search_transit_gateway_routes(**which, Filters=active)["Routes"]:
            (attachment,) = route["TransitGatewayAttachments"]
            way = self._ways[gateway, attachment["TransitGatewayAttachmentId"]]
            router.ip("route", "add", route["DestinationCidrBlock"], *way, "table", table)
        for item in ec2.get_transit_gateway_route_table_associations(**which)["Associations"]:
            if item["State"] == "associated":
                device = self._ways[gateway, item["TransitGatewayAttachmentId"]][-1]
                router.ip("rule", "add", "iif", device, "lookup", table)
