"""Transit gateways: one a site, what attaches a VPC to it, what joins two of them, and the tables between.

States are those of the EC2 API (``TransitGatewayState``, ``TransitGatewayAttachmentState``) and of the transit gateway
guide. What is dead stays visible for hours and is ignored. None of the creating calls takes a client token, so what an
answer was lost of is looked for by tag.

A gateway is made without a default table: with one, an attachment is in it by itself, at a moment that nobody tells,
and cannot be put into another. Peerings propagate no routes ("Transit gateway peering attachments"), so all are static.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import ProvisionError
from provisioning.kinds.twosided import TwoSidedKind
from provisioning.model import Difference, Ec2Kind, Found, Node, View, tag_differences

__all__ = [
    "TransitAttachmentKind",
    "TransitAttachmentSpec",
    "TransitGatewayKind",
    "TransitGatewaySpec",
    "TransitPeeringKind",
    "TransitPeeringSpec",
    "TransitTableKind",
    "TransitTableSpec",
]

_GONE = ("deleted", "failed", "rejected")
"""They stay visible, and no call changes them any more."""
_GOING = ("deleting", "failing", "rejecting", "rollingBack")
_CHANGING = ("pending", "modifying", "initiating", "initiatingRequest")
_WITHIN_SECONDS = 2400.0
"""Minutes are usual, a quarter of an hour was seen; nothing is promised."""
_PAUSE_SECONDS = 15.0


class _TransitKind(Ec2Kind):
    """What all have in common: states, and that one belongs to its gateway's node."""

    removal: ClassVar[str]

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        return item["State"] not in (*_GONE, *_GOING)

    def rank(self, found: Found) -> tuple[Any, ...]:
        return found.key, found.facts["State"] != "available", found.id

    def fits(self, view: View, node: Node, found: Found) -> bool:
        return bool(found.facts["TransitGatewayId"] == view.id(node.spec.gateway))

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        if found.facts["State"] in _CHANGING:
            yield Difference(
                f"wait until it is available, now {found.facts['State']}",
                lambda: self.available(view, node.key, node.region, found.id),
            )

    def delete(self, view: View, found: Found) -> None:
        # What is still being made cannot be ended: a run that was killed may have left it so.
        view.cloud.wait(
            found.key,
            f"at rest in {found.region}",
            lambda: None if self.state(view, found.key, found.region, found.id)[0] in _CHANGING else True,
            _WITHIN_SECONDS,
            _PAUSE_SECONDS,
        )
        view.ec2(found, self.removal, **{self.id_key: found.id})
        self.gone(view, found, found.region)

    def state(self, view: View, key: str, region: str, identity: str) -> tuple[str, str]:
        """The state and what AWS says of it; empty while the id is not known."""
        item = self.described(view, key, region, identity)
        return str(item.get("State", "")), str((item.get("Status") or {}).get("Message") or "")

    def described(self, view: View, key: str, region: str, identity: str) -> Mapping[str, Any]:
        """What a region knows of it; empty while the id is not known."""
        # Filters, unlike the id parameter, answer an id that is not known yet with an empty list.
        wanted = [{"Name": _ID_FILTER[self.id_key], "Values": [identity]}]
        items = view.cloud.pages(region, "ec2", self.describe, self.list_key, key, Filters=wanted)
        return next((item for item in items if item[self.id_key] == identity), {})

    def living(self, view: View, key: str, region: str, identity: str) -> str:
        """Its state; empty while the id is not known.

        Raises:
            ProvisionError: it will never be available.
        """
        state, told = self.state(view, key, region, identity)
        if state in (*_GONE, *_GOING):
            raise ProvisionError(f"{key}: {identity} in {region} is {state}: {told or 'no reason given'}; run again")
        return state

    def available(self, view: View, key: str, region: str, identity: str) -> None:
        """Wait for it.

        Raises:
            PendingError: it takes too long.
            ProvisionError: it will never be.
        """

        def there() -> bool | None:
            return self.living(view, key, region, identity) == "available" or None

        view.cloud.wait(key, f"available in {region}", there, _WITHIN_SECONDS, _PAUSE_SECONDS)

    def gone(self, view: View, found: Found, region: str) -> None:
        """Wait until nothing of it stands in the way of the rest any more."""

        def away() -> bool | None:
            return self.state(view, found.key, region, found.id)[0] in ("", *_GONE) or None

        view.cloud.wait(found.key, f"deleted in {region}", away, _WITHIN_SECONDS, _PAUSE_SECONDS)


_ID_FILTER = {
    "TransitGatewayId": "transit-gateway-id",
    "TransitGatewayAttachmentId": "transit-gateway-attachment-id",
    "TransitGatewayRouteTableId": "transit-gateway-route-table-id",
}


def _nothing_leaves(view: View, region: str, key: str, *filters: tuple[str, str]) -> None:
    """Wait until no attachment is going: a new one like it is refused meanwhile, and so is the gateway's end."""

    def still() -> bool | None:
        wanted = [{"Name": name, "Values": [value]} for name, value in filters]
        items = view.cloud.pages(
            region, "ec2", "describe_transit_gateway_attachments", "TransitGatewayAttachments", key, Filters=wanted
        )
        return None if any(item["State"] in _GOING for item in items) else True

    view.cloud.wait(key, "free of attachments that are going", still, _WITHIN_SECONDS, _PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class TransitGatewaySpec:
    """``asn`` is told apart from those of the gateways that it is peered with, as AWS recommends."""

    asn: int


class TransitGatewayKind(_TransitKind):
    name: ClassVar[str] = "transit-gateway"
    describe: ClassVar[str] = "describe_transit_gateways"
    list_key: ClassVar[str] = "TransitGateways"
    id_key: ClassVar[str] = "TransitGatewayId"
    removal: ClassVar[str] = "delete_transit_gateway"

    def fits(self, view: View, node: Node, found: Found) -> bool:
        return True

    def create(self, view: View, node: Node) -> None:
        view.make(
            node,
            "create_transit_gateway",
            "transit-gateway",
            Description=f"backbone-latency deployment {view.deployment.name}",
            Options={
                "AmazonSideAsn": node.spec.asn,
                "AutoAcceptSharedAttachments": "disable",
                "DefaultRouteTableAssociation": "disable",
                "DefaultRouteTablePropagation": "disable",
            },
        )

    def delete(self, view: View, found: Found) -> None:
        _nothing_leaves(view, found.region, found.key, ("transit-gateway-id", found.id))
        super().delete(view, found)


@dataclass(frozen=True, slots=True)
class TransitAttachmentSpec:
    """A VPC's: ``subnets`` has one in every zone with hosts, for hosts of other zones cannot reach the gateway."""

    gateway: str
    vpc: str
    subnets: tuple[str, ...]


class TransitAttachmentKind(_TransitKind):
    name: ClassVar[str] = "transit-attachment"
    describe: ClassVar[str] = "describe_transit_gateway_vpc_attachments"
    list_key: ClassVar[str] = "TransitGatewayVpcAttachments"
    id_key: ClassVar[str] = "TransitGatewayAttachmentId"
    removal: ClassVar[str] = "delete_transit_gateway_vpc_attachment"

    def create(self, view: View, node: Node) -> None:
        gateway, vpc = view.id(node.spec.gateway), view.id(node.spec.vpc)
        _nothing_leaves(view, node.region, node.key, ("transit-gateway-id", gateway), ("resource-id", vpc))
        view.make(
            node,
            "create_transit_gateway_vpc_attachment",
            "transit-gateway-attachment",
            tolerate=("DuplicateTransitGatewayAttachment",),
            TransitGatewayId=gateway,
            VpcId=vpc,
            SubnetIds=[view.id(subnet) for subnet in node.spec.subnets],
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from super().differences(view, node, found)
        have, want = set(found.facts.get("SubnetIds", [])), {view.id(subnet) for subnet in node.spec.subnets}
        if have != want:
            yield Difference(
                f"stand in {', '.join(node.spec.subnets)}",
                lambda: self._move(view, node, found, sorted(want - have), sorted(have - want)),
            )

    def _move(self, view: View, node: Node, found: Found, add: list[str], remove: list[str]) -> None:
        parts = {name: ids for name, ids in (("AddSubnetIds", add), ("RemoveSubnetIds", remove)) if ids}
        view.ec2(node, "modify_transit_gateway_vpc_attachment", TransitGatewayAttachmentId=found.id, **parts)
        self.available(view, node.key, node.region, found.id)


@dataclass(frozen=True, slots=True)
class TransitPeeringSpec:
    gateway: str
    accepter: str
    accepter_region: str


class TransitPeeringKind(_TransitKind, TwoSidedKind):
    name: ClassVar[str] = "transit-peering"
    describe: ClassVar[str] = "describe_transit_gateway_peering_attachments"
    list_key: ClassVar[str] = "TransitGatewayPeeringAttachments"
    id_key: ClassVar[str] = "TransitGatewayAttachmentId"
    removal: ClassVar[str] = "delete_transit_gateway_peering_attachment"
    accepting: ClassVar[str] = "accept_transit_gateway_peering_attachment"
    requesting: ClassVar[tuple[str, ...]] = ("initiating", "initiatingRequest")
    asked: ClassVar[str] = "pendingAcceptance"
    standing: ClassVar[str] = "available"
    accepted_already: ClassVar[str] = "IncorrectState"
    within_seconds: ClassVar[float] = _WITHIN_SECONDS
    pause_seconds: ClassVar[float] = _PAUSE_SECONDS

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        return super().alive(item, region) and item["RequesterTgwInfo"].get("Region", region) == region

    def fits(self, view: View, node: Node, found: Found) -> bool:
        ends = tuple(found.facts[end]["TransitGatewayId"] for end in ("RequesterTgwInfo", "AccepterTgwInfo"))
        return ends == (view.id(node.spec.gateway), view.id(node.spec.accepter))

    def create(self, view: View, node: Node) -> None:
        gateway = view.id(node.spec.gateway)
        _nothing_leaves(view, node.region, node.key, ("transit-gateway-id", gateway), ("resource-type", "peering"))
        view.make(
            node,
            "create_transit_gateway_peering_attachment",
            "transit-gateway-attachment",
            TransitGatewayId=gateway,
            PeerTransitGatewayId=view.id(node.spec.accepter),
            PeerAccountId=view.account,
            PeerRegion=node.spec.accepter_region,
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        there = node.spec.accepter_region
        states = {region: self.state(view, node.key, region, found.id)[0] for region in (node.region, there)}
        if set(states.values()) != {"available"}:
            yield Difference(f"accept in {there}, now {found.facts['State']}", lambda: self.accept(view, node, found))
        yield from self.tagged_there(view, node, found.id, self.described(view, node.key, there, found.id))

    def delete(self, view: View, found: Found) -> None:
        super().delete(view, found)
        self.gone(view, found, found.facts["AccepterTgwInfo"].get("Region", found.region))


_UNKNOWN = ("InvalidRouteTableID.NotFound",)
"""For what is to be removed there is nothing to wait for: the next look tells whether it stands."""


@dataclass(frozen=True, slots=True)
class TransitTableSpec:
    """``attachments`` go by this table; ``routes`` maps blocks to the keys of attachments."""

    gateway: str
    attachments: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]


class TransitTableKind(_TransitKind):
    name: ClassVar[str] = "transit-table"
    describe: ClassVar[str] = "describe_transit_gateway_route_tables"
    list_key: ClassVar[str] = "TransitGatewayRouteTables"
    id_key: ClassVar[str] = "TransitGatewayRouteTableId"
    removal: ClassVar[str] = "delete_transit_gateway_route_table"

    def create(self, view: View, node: Node) -> None:
        view.make(
            node,
            "create_transit_gateway_route_table",
            "transit-gateway-route-table",
            TransitGatewayId=view.id(node.spec.gateway),
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from super().differences(view, node, found)
        # Only this call tells how far an association is; the attachments' lists do not.
        associated = self._associations(view, found)
        for attachment in node.spec.attachments:
            if associated.get(view.id(attachment)) != "associated":
                yield Difference(
                    f"associate {attachment}",
                    lambda a=attachment: self._associate(view, node, found, view.id(a)),  # type: ignore[misc]
                )
        have = self._routes(view, found)
        for block, attachment in node.spec.routes:
            target, state = have.pop(block, ("", ""))
            if (target, state) != (view.id(attachment), "active"):
                operation = "replace_transit_gateway_route" if target or state else "create_transit_gateway_route"
                yield Difference(
                    f"route {block} to {attachment}" + (f", now {target} {state}" if state else ""),
                    lambda o=operation, b=block, a=attachment: self._route(view, node, found, o, b, a),  # type: ignore[misc]
                )
        for block, (target, _) in have.items():
            yield Difference(
                f"remove route {block} to {target or 'nothing'}",
                lambda b=block: self._unroute(view, found, b),  # type: ignore[misc]
            )

    def delete(self, view: View, found: Found) -> None:
        for block in self._routes(view, found, _UNKNOWN):
            self._unroute(view, found, block)
        associations = self._associations(view, found, _UNKNOWN)
        for attachment in (one for one, state in associations.items() if state != "disassociating"):
            view.ec2(
                found,
                "disassociate_transit_gateway_route_table",
                # It went with its attachment, or the answer to this very call was lost.
                tolerate=("InvalidAssociation.NotFound", "IncorrectState", *_UNKNOWN),
                TransitGatewayRouteTableId=found.id,
                TransitGatewayAttachmentId=attachment,
            )
        view.cloud.wait(
            found.key,
            "free of associations",
            lambda: None if self._associations(view, found, _UNKNOWN) else True,
            _WITHIN_SECONDS,
            _PAUSE_SECONDS,
        )
        super().delete(view, found)

    def _associations(self, view: View, found: Found, tolerate: tuple[str, ...] = ()) -> dict[str, str]:
        items = view.cloud.pages(
            found.region,
            "ec2",
            "get_transit_gateway_route_table_associations",
            "Associations",
            found.key,
            tolerate=tolerate,
            TransitGatewayRouteTableId=found.id,
        )
        return {item["TransitGatewayAttachmentId"]: item["State"] for item in items if item["State"] != "disassociated"}

    def _associate(self, view: View, node: Node, found: Found, attachment: str) -> None:
        view.ec2(
            node,
            "associate_transit_gateway_route_table",
            tolerate=("Resource.AlreadyAssociated",),
            TransitGatewayRouteTableId=found.id,
            TransitGatewayAttachmentId=attachment,
        )
        view.cloud.wait(
            node.key,
            f"associated with {attachment}",
            lambda: self._associations(view, found).get(attachment) == "associated" or None,
            _WITHIN_SECONDS,
            _PAUSE_SECONDS,
        )

    def _routes(self, view: View, found: Found, tolerate: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
        """Static routes: block, attachment and state."""
        answer = view.ec2(
            found,
            "search_transit_gateway_routes",
            tolerate=tolerate,
            TransitGatewayRouteTableId=found.id,
            Filters=[{"Name": "type", "Values": ["static"]}],
        )
        return {
            item["DestinationCidrBlock"]: (
                next((part["TransitGatewayAttachmentId"] for part in item.get("TransitGatewayAttachments") or []), ""),
                item["State"],
            )
            for item in answer.get("Routes", [])
            if item["State"] not in ("deleting", "deleted")
        }

    def _route(self, view: View, node: Node, found: Found, operation: str, block: str, attachment: str) -> None:
        view.ec2(
            node,
            operation,
            tolerate=("RouteAlreadyExists",),
            TransitGatewayRouteTableId=found.id,
            DestinationCidrBlock=block,
            TransitGatewayAttachmentId=view.id(attachment),
        )

    def _unroute(self, view: View, found: Found, block: str) -> None:
        view.ec2(
            found,
            "delete_transit_gateway_route",
            tolerate=("InvalidRoute.NotFound",),
            TransitGatewayRouteTableId=found.id,
            DestinationCidrBlock=block,
        )
