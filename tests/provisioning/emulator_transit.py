"""Transit gateways as EC2 has them, where moto differs: tags, lists, routes, and what is refused."""

import copy
import functools
from collections.abc import Iterator
from typing import Any

GONE = ("deleted", "rejected", "failed")


def gateway_has_attachments(ec2: Any, transit_gateway_id: str) -> bool:
    return any(
        transit_gateway_id in (item.transit_gateway_id, _accepter(item)) and item.state not in GONE
        for item in ec2.transit_gateway_attachments.values()
    )


def table_has_associations(ec2: Any, transit_gateway_route_table_id: str) -> bool:
    return bool(ec2.transit_gateways_route_tables[transit_gateway_route_table_id].route_table_associations)


def subnet_is_attached(ec2: Any, subnet_id: str) -> bool:
    return any(subnet_id in item.subnet_ids for item in _of_vpcs(ec2))


def vpc_is_attached(ec2: Any, vpc_id: str) -> bool:
    return any(item.vpc_id == vpc_id for item in _of_vpcs(ec2))


def attachment_is_in_another_table(
    ec2: Any, transit_gateway_attachment_id: str, transit_gateway_route_table_id: str
) -> bool:
    tables = ec2.transit_gateways_route_tables.values()
    return any(transit_gateway_attachment_id in table.route_table_associations for table in tables)


def route_goes_to_a_gateway_without_attachment(ec2: Any, route_table_id: str, *_: Any, **route: Any) -> bool:
    gateway = route.get("transit_gateway_id")
    vpc = ec2.route_tables[route_table_id].vpc_id
    return bool(gateway) and not any((item.vpc_id, item.transit_gateway_id) == (vpc, gateway) for item in _of_vpcs(ec2))


def route_exists(ec2: Any, transit_gateway_route_table_id: str, destination_cidr_block: str, **_: Any) -> bool:
    return destination_cidr_block in ec2.transit_gateways_route_tables[transit_gateway_route_table_id].routes


def route_is_missing(ec2: Any, transit_gateway_route_table_id: str, destination_cidr_block: str) -> bool:
    return not route_exists(ec2, transit_gateway_route_table_id, destination_cidr_block)


def association_is_missing(ec2: Any, tgw_attach_id: str, tgw_rt_id: str) -> bool:
    return tgw_attach_id not in ec2.transit_gateways_route_tables[tgw_rt_id].route_table_associations


def subnets_share_a_zone(ec2: Any, subnet_ids: list[str], **_: Any) -> bool:
    zones = [ec2.get_subnet(subnet).availability_zone for subnet in subnet_ids]
    return len(set(zones)) < len(zones)


REFUSALS = (
    ("ec2", "delete_transit_gateway", gateway_has_attachments, "IncorrectState"),
    ("ec2", "delete_transit_gateway_route_table", table_has_associations, "IncorrectState"),
    ("ec2", "delete_subnet", subnet_is_attached, "DependencyViolation"),
    ("ec2", "delete_vpc", vpc_is_attached, "DependencyViolation"),
    ("ec2", "associate_transit_gateway_route_table", attachment_is_in_another_table, "Resource.AlreadyAssociated"),
    ("ec2", "create_route", route_goes_to_a_gateway_without_attachment, "InvalidTransitGatewayID.NotFound"),
    ("ec2", "create_transit_gateway_route", route_exists, "RouteAlreadyExists"),
    ("ec2", "delete_transit_gateway_route", route_is_missing, "InvalidRoute.NotFound"),
    ("ec2", "disassociate_transit_gateway_route_table", association_is_missing, "InvalidAssociation.NotFound"),
    ("ec2", "create_transit_gateway_vpc_attachment", subnets_share_a_zone, "DuplicateSubnetsInSameZone"),
)


def _of_vpcs(ec2: Any) -> Iterator[Any]:
    return (item for item in ec2.transit_gateway_attachments.values() if item.resource_type == "vpc")


def _accepter(item: Any) -> str:
    return item.accepter_tgw_info["TransitGatewayId"] if item.resource_type == "peering" else ""


def _seen_here(ec2: Any, item: Any) -> Any:
    """A peering as its accepter's region has it: an attachment of the gateway there."""
    if item.resource_type != "peering" or item.requester_tgw_info["Region"] == ec2.region_name:
        return item
    there = copy.copy(item)
    there.transit_gateway_id, there.resource_id = _accepter(item), item.requester_tgw_info["TransitGatewayId"]
    return there


def _lists(backend: Any) -> None:
    """Each list has its own kind, and filters those of all that it lists."""
    names = {
        "transit-gateway-attachment-id": "id",
        "transit-gateway-id": "transit_gateway_id",
        "resource-id": "resource_id",
        "resource-type": "resource_type",
        "vpc-id": "resource_id",
        "state": "state",
    }

    def listing(kinds: tuple[str, ...]) -> Any:
        def describe(
            ec2: Any, transit_gateways_attachment_ids: list[str] | None = None, filters: Any = None
        ) -> list[Any]:
            asked = {names[name]: values for name, values in (filters or {}).items() if name in names}
            items = (_seen_here(ec2, item) for item in ec2.transit_gateway_attachments.values())
            return [
                item
                for item in items
                if item.resource_type in kinds
                and (not transit_gateways_attachment_ids or item.id in transit_gateways_attachment_ids)
                and all(getattr(item, name) in values for name, values in asked.items())
            ]

        return describe

    backend.describe_transit_gateway_vpc_attachments = listing(("vpc",))
    backend.describe_transit_gateway_peering_attachments = listing(("peering",))
    backend.describe_transit_gateway_attachments = listing(("vpc", "peering"))


def _ends(backend: Any) -> None:
    """An attachment that ends is in no table any more, and routes to it lead nowhere."""

    def ending(method: str) -> Any:
        end = getattr(backend, method)

        def delete(ec2: Any, transit_gateway_attachment_id: str) -> Any:
            item = end(ec2, transit_gateway_attachment_id)
            for region in {ec2.region_name, *_regions(item)}:
                for table in _backend_of(ec2, region).transit_gateways_route_tables.values():
                    table.route_table_associations.pop(item.id, None)
                    for route in table.routes.values():
                        parts = route.get("transitGatewayAttachments") or []
                        if any(part["transitGatewayAttachmentId"] == item.id for part in parts):
                            route["state"] = "blackhole"
            return item

        return delete

    for method in ("delete_transit_gateway_vpc_attachment", "delete_transit_gateway_peering_attachment"):
        setattr(backend, method, ending(method))


def _regions(item: Any) -> tuple[str, ...]:
    if item.resource_type != "peering":
        return ()
    return item.requester_tgw_info["Region"], item.accepter_tgw_info["Region"]


def _backend_of(ec2: Any, region: str) -> Any:
    from moto.ec2.models import ec2_backends  # noqa: PLC0415

    return ec2_backends[ec2.account_id][region]


def _makes(backend: Any) -> None:
    """Without a default table, an attachment is in none; a route names its attachment."""
    attach, route = backend.create_transit_gateway_vpc_attachment, backend.create_transit_gateway_route

    def create_attachment(ec2: Any, **asked: Any) -> Any:
        item = attach(ec2, **asked)
        if ec2.transit_gateways[item.transit_gateway_id].options["DefaultRouteTableAssociation"] == "disable":
            item.transit_gateway_route_table.route_table_associations.pop(item.id, None)
            item.transit_gateway_route_table = None
        return item

    def create_route(ec2: Any, **asked: Any) -> Any:
        made = route(ec2, **asked)
        item = ec2.transit_gateway_attachments[asked["transit_gateway_attachment_id"]]
        part = {
            "resourceId": item.resource_id,
            "resourceType": item.resource_type,
            "transitGatewayAttachmentId": item.id,
        }
        made["transitGatewayAttachments"] = [part]
        return made

    backend.create_transit_gateway_vpc_attachment = create_attachment
    backend.create_transit_gateway_route = create_route
    backend.replace_transit_gateway_route = create_route


def _answers(response: Any) -> None:
    """The tags of an attachment, and a call that moto has not."""
    from moto.core.responses import ActionResult  # noqa: PLC0415

    def create_transit_gateway_vpc_attachment(self: Any) -> Any:
        item = self.ec2_backend.create_transit_gateway_vpc_attachment(
            transit_gateway_id=self._get_param("TransitGatewayId"),
            tags=self._parse_tag_specification().get("transit-gateway-attachment", {}),
            vpc_id=self._get_param("VpcId"),
            subnet_ids=self._get_param("SubnetIds", []),
            options=self._get_param("Options", {}),
        )
        return ActionResult({"TransitGatewayVpcAttachment": item})

    def replace_transit_gateway_route(self: Any) -> Any:
        made = self.ec2_backend.replace_transit_gateway_route(
            transit_gateway_route_table_id=self._get_param("TransitGatewayRouteTableId"),
            destination_cidr_block=self._get_param("DestinationCidrBlock"),
            transit_gateway_attachment_id=self._get_param("TransitGatewayAttachmentId"),
        )
        return ActionResult({"route": made})

    response.create_transit_gateway_vpc_attachment = create_transit_gateway_vpc_attachment
    response.replace_transit_gateway_route = replace_transit_gateway_route


@functools.cache
def correct() -> None:
    """Have moto's transit gateways do what EC2's do."""
    from moto.ec2.models import EC2Backend  # noqa: PLC0415
    from moto.ec2.responses import EC2Response  # noqa: PLC0415

    _lists(EC2Backend)
    _ends(EC2Backend)
    _makes(EC2Backend)
    _answers(EC2Response)
