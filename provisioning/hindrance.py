"""What stands in the way of a removal: things that this deployment did not make, in or around what it did.

Services put interfaces and security groups into a VPC unasked (a threat detector's endpoint, an accelerator), and
programs of the account's owner attach, protect and fill. ``down`` takes none of that away; it says what it is. So it
does of a host of its own that AWS has not ended yet.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provisioning.errors import ProvisionError
from provisioning.model import DEPLOYMENT_TAG, Found, View, tags_of

__all__ = ["in_the_way"]


@dataclass(frozen=True, slots=True)
class _Look:
    """One question to EC2: by ``filters``, what of ``list_key`` uses the thing; ``dead`` are states that do not.

    Instances come in reservations: what is in those is looked at.
    """

    operation: str
    list_key: str
    id_key: str
    filters: tuple[str, ...]
    about: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()


def _interfaces(name: str) -> _Look:
    about = ("Description", "RequesterId", "InterfaceType")
    return _Look("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", (name,), about)


def _attachments(name: str) -> _Look:
    return _Look(
        "describe_transit_gateway_attachments",
        "TransitGatewayAttachments",
        "TransitGatewayAttachmentId",
        (name,),
        ("ResourceType", "State"),
        ("deleted", "failed", "rejected"),
    )


def _hosts(name: str) -> _Look:
    """What is shutting down still uses its subnet and groups; mostly for a minute, and hours have been seen."""
    return _Look("describe_instances", "Reservations", "InstanceId", (name,), ("State",), ("terminated",))


_LOOKS: dict[str, tuple[_Look, ...]] = {
    "vpc": (
        _interfaces("vpc-id"),
        _Look("describe_security_groups", "SecurityGroups", "GroupId", ("vpc-id",), ("GroupName",)),
        _Look("describe_subnets", "Subnets", "SubnetId", ("vpc-id",)),
        _Look("describe_route_tables", "RouteTables", "RouteTableId", ("vpc-id",)),
        _Look("describe_internet_gateways", "InternetGateways", "InternetGatewayId", ("attachment.vpc-id",)),
        _Look(
            "describe_vpc_endpoints",
            "VpcEndpoints",
            "VpcEndpointId",
            ("vpc-id",),
            ("ServiceName",),
            ("deleted", "Deleted"),
        ),
        _Look("describe_nat_gateways", "NatGateways", "NatGatewayId", ("vpc-id",), dead=("deleted", "failed")),
        _Look(
            "describe_vpc_peering_connections",
            "VpcPeeringConnections",
            "VpcPeeringConnectionId",
            ("requester-vpc-info.vpc-id", "accepter-vpc-info.vpc-id"),
            dead=("deleted", "failed", "rejected", "expired"),
        ),
        _attachments("resource-id"),
    ),
    "transit-gateway": (_attachments("transit-gateway-id"),),
    "subnet": (_hosts("subnet-id"), _interfaces("subnet-id")),
    "security-group": (
        _hosts("instance.group-id"),
        _interfaces("group-id"),
        _Look(
            "describe_security_groups",
            "SecurityGroups",
            "GroupId",
            ("ip-permission.group-id", "egress.ip-permission.group-id"),
            ("GroupName",),
        ),
    ),
    "internet-gateway": (_interfaces("vpc-id"),),
}


def in_the_way(view: View, found: Found) -> str:
    """Name what uses a resource that AWS does not delete.

    What the deployment made itself is named only where nothing else is there: it is left for a reason of its own.
    """
    looks = _LOOKS.get(found.kind)
    if looks is None:
        return "something uses it, fills it or attaches to it again"
    foreign: list[str] = []
    own: list[str] = []
    unseen: list[str] = []
    for look in looks:
        try:
            for item in _ask(view, found, look):
                whose = own if tags_of(item).get(DEPLOYMENT_TAG) == view.deployment.name else foreign
                whose.append(_told(look, item))
        except ProvisionError:
            unseen.append(look.operation)
    told = f"used by {', '.join(foreign or own)}" if foreign or own else "used by something that could not be found"
    return f"{told} (not looked at: {', '.join(unseen)})" if unseen else told


def _ask(view: View, found: Found, look: _Look) -> Iterator[dict[str, Any]]:
    seen = {found.id}
    for value in _values(found):
        for name in look.filters:
            filters = [{"Name": name, "Values": [value]}]
            answer = view.cloud.pages(found.region, "ec2", look.operation, look.list_key, found.key, Filters=filters)
            for item in (one for entry in answer for one in entry.get("Instances", [entry])):
                if item[look.id_key] in seen or _is_gone(item, look) or not _joins(item, look, value):
                    continue
                # A default group goes with its VPC, but what its rules refer to does not go before it.
                if found.kind == "vpc" and _goes_with_it(item):
                    continue
                seen.add(item[look.id_key])
                yield item


def _values(found: Found) -> list[str]:
    """What the filters ask for: a gateway is held by the public addresses of the VPC that it serves."""
    if found.kind == "internet-gateway":
        return [item["VpcId"] for item in found.facts.get("Attachments", [])]
    return [found.id]


def _goes_with_it(item: Mapping[str, Any]) -> bool:
    """Whether it goes with its VPC."""
    return item.get("GroupName") == "default" or any(part.get("Main") for part in item.get("Associations") or [])


def _is_gone(item: Mapping[str, Any], look: _Look) -> bool:
    """Whether it is gone already and only still listed."""
    return _state(item.get("State") or item.get("Status") or "") in look.dead


def _state(told: Any) -> Any:
    """A peering's state is a code in words; an instance's code is a number, and the words are its name."""
    return (told.get("Name") or told.get("Code")) if isinstance(told, Mapping) else told


def _joins(item: Mapping[str, Any], look: _Look, vpc: str) -> bool:
    """Whether a peering is one of the VPC's: the filter is checked again, not trusted."""
    if look.list_key != "VpcPeeringConnections":
        return True
    return vpc in (item["RequesterVpcInfo"].get("VpcId"), item["AccepterVpcInfo"].get("VpcId"))


def _told(look: _Look, item: Mapping[str, Any]) -> str:
    words = [str(_state(item[name])) for name in look.about if item.get(name) and item[name] != "interface"]
    return f"{item[look.id_key]} ({', '.join(words)})" if words else str(item[look.id_key])
