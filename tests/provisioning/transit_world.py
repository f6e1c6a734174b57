"""How late transit gateways are: a part of the world that stands between the emulator and its clients.

What is documented and what is assumed stands in docs/provisioning.md.
"""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

TRANSIT_SECONDS = 120.0
"""Mostly a state lasts no longer than this."""
SLOW_TRANSIT_SECONDS = 1800.0
"""One in ten lasts up to half an hour."""
FREED_SECONDS = 120.0
"""A gateway may be refused its end so long after its last attachment was gone."""

Refusal = tuple[str, str]

_LISTS = {
    "DescribeTransitGateways": ("TransitGateways", "TransitGatewayId"),
    "DescribeTransitGatewayVpcAttachments": ("TransitGatewayVpcAttachments", "TransitGatewayAttachmentId"),
    "DescribeTransitGatewayPeeringAttachments": ("TransitGatewayPeeringAttachments", "TransitGatewayAttachmentId"),
    "DescribeTransitGatewayAttachments": ("TransitGatewayAttachments", "TransitGatewayAttachmentId"),
    "DescribeTransitGatewayRouteTables": ("TransitGatewayRouteTables", "TransitGatewayRouteTableId"),
}
_FIELDS = {
    "transit-gateway-id": "TransitGatewayId",
    "resource-id": "ResourceId",
    "resource-type": "ResourceType",
    "transit-gateway-attachment-id": "TransitGatewayAttachmentId",
}
_NEED_AVAILABLE = (
    "AssociateTransitGatewayRouteTable",
    "CreateTransitGatewayRoute",
    "ReplaceTransitGatewayRoute",
    "CreateTransitGatewayVpcAttachment",
    "CreateTransitGatewayPeeringAttachment",
    "CreateTransitGatewayRouteTable",
    "ModifyTransitGatewayVpcAttachment",
    "DeleteTransitGateway",
    "DeleteTransitGatewayVpcAttachment",
    "DeleteTransitGatewayPeeringAttachment",
    "DeleteTransitGatewayRouteTable",
)
_NAMING = ("TransitGatewayId", "TransitGatewayAttachmentId", "TransitGatewayRouteTableId", "PeerTransitGatewayId")


@dataclass
class TransitWorld:
    """Stages of what was made and ended, by region and id.

    Args:
        now: the virtual time.
        random: draws how late each thing is.
        reach: gives a client that tells the truth.
    """

    now: Callable[[], float]
    random: random.Random
    reach: Callable[[str, str], Any]
    stages: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    going: dict[tuple[str, str], tuple[float, dict[str, Any]]] = field(default_factory=dict)
    """What was ended: until when it is going, and as it was."""
    tags: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    associations: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    def late(self) -> float:
        longest = SLOW_TRANSIT_SECONDS if self.random.random() < 0.1 else TRANSIT_SECONDS
        return self.now() + self.random.uniform(0, longest)

    def stage(self, region: str, identity: str) -> str:
        """The state that lasts still; empty where what the emulator says holds."""
        state, until = self.stages.get((region, identity), ("", 0.0))
        return state if until > self.now() else ""

    def before(self, call: Any) -> Refusal | None:
        if call.operation in _NEED_AVAILABLE and (refusal := self._unready(call)):
            return refusal
        refuse = getattr(self, f"_refuse_{call.operation}", None)
        told: Refusal | None = refuse(call.region, call.params) if refuse else None
        return told

    def _unready(self, call: Any) -> Refusal | None:
        for name in _NAMING:
            region = call.params.get("PeerRegion", "") if name == "PeerTransitGatewayId" else call.region
            identity = call.params.get(name, "")
            if state := self.stage(region, identity):
                return "IncorrectState", f"{identity} is in invalid state {state}"
        return None

    def _going(self, region: str, more_seconds: float = 0.0) -> Iterator[tuple[str, dict[str, Any]]]:
        for (where, identity), (until, item) in self.going.items():
            if where == region and until + more_seconds > self.now():
                yield identity, item

    def _refuse_DeleteTransitGateway(self, region: str, params: dict[str, Any]) -> Refusal | None:  # noqa: N802
        gateway = params["TransitGatewayId"]
        going = self._going(region, FREED_SECONDS)
        still = [identity for identity, item in going if item["TransitGatewayId"] == gateway]
        told = f"{gateway} has non-deleted Transit Gateway Attachments: {', '.join(still)}."
        return ("IncorrectState", told) if still else None

    def _refuse_CreateTransitGatewayVpcAttachment(  # noqa: N802
        self, region: str, params: dict[str, Any]
    ) -> Refusal | None:
        wanted = params["VpcId"], params["TransitGatewayId"]
        if any((item.get("VpcId"), item["TransitGatewayId"]) == wanted for _, item in self._going(region)):
            return "DuplicateTransitGatewayAttachment", "has non-deleted attachments with same VPC ID."
        return None

    def _refuse_DeleteSubnet(self, region: str, params: dict[str, Any]) -> Refusal | None:  # noqa: N802
        if any(params["SubnetId"] in item.get("SubnetIds", []) for _, item in self._going(region)):
            return "DependencyViolation", "an interface of a transit gateway stands in it"
        return None

    def _refuse_AcceptTransitGatewayPeeringAttachment(  # noqa: N802
        self, region: str, params: dict[str, Any]
    ) -> Refusal | None:
        identity = params["TransitGatewayAttachmentId"]
        if self.stage(region, identity) == "initiatingRequest":
            return "IncorrectState", f"{identity} is in invalid state initiatingRequest"
        truth = self.reach("ec2", region).describe_transit_gateway_peering_attachments(
            TransitGatewayAttachmentIds=[identity]
        )["TransitGatewayPeeringAttachments"]
        if any(item["State"] != "pendingAcceptance" for item in truth):
            return "IncorrectState", f"{identity} is in invalid state {truth[0]['State']}"
        return None

    def _refuse_CreateRoute(self, region: str, params: dict[str, Any]) -> Refusal | None:  # noqa: N802
        if "TransitGatewayId" not in params:
            return None
        ec2 = self.reach("ec2", region)
        (table,) = ec2.describe_route_tables(RouteTableIds=[params["RouteTableId"]])["RouteTables"]
        for item in ec2.describe_transit_gateway_vpc_attachments()["TransitGatewayVpcAttachments"]:
            if item["VpcId"] == table["VpcId"] and self.stage(region, item["TransitGatewayAttachmentId"]):
                return "InvalidTransitGatewayID.NotFound", f"The {params['TransitGatewayId']} does not exist"
        return None

    def after(self, call: Any, answer: dict[str, Any]) -> None:
        if handler := getattr(self, f"_on_{call.operation}", None):
            handler(call, answer)
        if call.operation in _LISTS:
            self._list(call, answer)

    def _list(self, call: Any, answer: dict[str, Any]) -> None:
        key, id_key = _LISTS[call.operation]
        for item in answer.get(key, []):
            identity = item[id_key]
            if state := self.stage(call.region, identity):
                item["State"] = state
            if (call.region, identity) in self.tags:
                told = self.tags[call.region, identity]
                item["Tags"] = [{"Key": name, "Value": value} for name, value in told.items()]
        for (region, identity), (until, gone) in self.going.items():
            if region != call.region or not gone["_list"]:
                continue
            if call.operation not in (gone["_list"], "DescribeTransitGatewayAttachments") or not _asked(
                call.params, gone
            ):
                continue
            if any(item[id_key] == identity for item in answer.get(key, [])) or id_key not in gone:
                continue
            item = {name: value for name, value in gone.items() if not name.startswith("_")}
            answer.setdefault(key, []).append({**item, "State": "deleting" if until > self.now() else "deleted"})

    def _made(self, region: str, identity: str, state: str) -> None:
        self.stages[region, identity] = state, self.late()

    def _on_CreateTransitGateway(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._made(call.region, answer["TransitGateway"]["TransitGatewayId"], "pending")

    def _on_CreateTransitGatewayRouteTable(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._made(call.region, answer["TransitGatewayRouteTable"]["TransitGatewayRouteTableId"], "pending")

    def _on_CreateTransitGatewayVpcAttachment(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._made(call.region, answer["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"], "pending")

    def _on_ModifyTransitGatewayVpcAttachment(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._made(call.region, call.params["TransitGatewayAttachmentId"], "modifying")

    def _on_CreateTransitGatewayPeeringAttachment(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        identity = answer["TransitGatewayPeeringAttachment"]["TransitGatewayAttachmentId"]
        asked = [tag for item in call.params.get("TagSpecifications", []) for tag in item["Tags"]]
        self.tags[call.region, identity] = {tag["Key"]: tag["Value"] for tag in asked}
        self.tags[call.params["PeerRegion"], identity] = {}
        for region in (call.region, call.params["PeerRegion"]):
            self._made(region, identity, "initiatingRequest")

    def _on_AcceptTransitGatewayPeeringAttachment(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        identity = call.params["TransitGatewayAttachmentId"]
        for region in [region for region, known in self.stages if known == identity]:
            self._made(region, identity, "pending")

    def _on_CreateTags(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        for name in call.params["Resources"]:
            if (call.region, name) in self.tags:
                self.tags[call.region, name].update({tag["Key"]: tag["Value"] for tag in call.params["Tags"]})

    def _on_DeleteTransitGateway(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        item = copy.deepcopy(answer["TransitGateway"])
        self.going[call.region, item["TransitGatewayId"]] = self.late(), {**item, "_list": "DescribeTransitGateways"}

    def _on_DeleteTransitGatewayVpcAttachment(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        item = copy.deepcopy(answer["TransitGatewayVpcAttachment"])
        item |= {"ResourceId": item["VpcId"], "ResourceType": "vpc", "_list": "DescribeTransitGatewayVpcAttachments"}
        self.going[call.region, item["TransitGatewayAttachmentId"]] = self.late(), item

    def _on_DeleteTransitGatewayPeeringAttachment(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        identity = call.params["TransitGatewayAttachmentId"]
        told = answer["TransitGatewayPeeringAttachment"]
        for end in ("RequesterTgwInfo", "AccepterTgwInfo"):
            region = told[end]["Region"]
            self._made(region, identity, "deleting")
            item = {"TransitGatewayId": told[end]["TransitGatewayId"], "_list": ""}  # the emulator lists it still
            self.going[region, identity] = self.stages[region, identity][1], item

    def _on_DeleteTransitGatewayRouteTable(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._made(call.region, call.params["TransitGatewayRouteTableId"], "deleting")

    def _on_AssociateTransitGatewayRouteTable(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        place = call.params["TransitGatewayRouteTableId"], call.params["TransitGatewayAttachmentId"]
        self.associations[place] = "associating", self.late()

    def _on_DisassociateTransitGatewayRouteTable(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        place = call.params["TransitGatewayRouteTableId"], call.params["TransitGatewayAttachmentId"]
        self.associations[place] = "disassociating", self.late()

    def _on_GetTransitGatewayRouteTableAssociations(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        listed = {item["TransitGatewayAttachmentId"]: item for item in answer.get("Associations", [])}
        for (table, attachment), (state, until) in self.associations.items():
            if table != call.params["TransitGatewayRouteTableId"] or until <= self.now():
                continue
            if attachment in listed:
                listed[attachment]["State"] = state
            elif state == "disassociating":
                listed[attachment] = {"TransitGatewayAttachmentId": attachment, "State": state}
        answer["Associations"] = list(listed.values())


def _asked(params: dict[str, Any], item: dict[str, Any]) -> bool:
    """Whether a list with these filters has the item; by tags it has what carries them."""
    tags = {f"tag:{tag['Key']}": tag["Value"] for tag in item.get("Tags", [])}
    told = {**tags, **{name: item.get(key) for name, key in _FIELDS.items()}}
    return all(told.get(one["Name"]) in one["Values"] for one in params.get("Filters", []))
