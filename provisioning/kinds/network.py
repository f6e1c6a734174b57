"""VPCs, subnets, internet gateways and route tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import ProvisionError
from provisioning.model import Difference, Ec2Kind, Found, Node, View, tag_differences

__all__ = [
    "GatewayKind",
    "GatewaySpec",
    "RouteTableKind",
    "RouteTableSpec",
    "SubnetKind",
    "SubnetSpec",
    "VpcKind",
    "VpcSpec",
]


@dataclass(frozen=True, slots=True)
class VpcSpec:
    cidr: str


class VpcKind(Ec2Kind):
    name: ClassVar[str] = "vpc"
    describe: ClassVar[str] = "describe_vpcs"
    list_key: ClassVar[str] = "Vpcs"
    id_key: ClassVar[str] = "VpcId"

    def create(self, view: View, node: Node) -> None:
        view.make(node, "create_vpc", "vpc", CidrBlock=node.spec.cidr)

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        if found.facts["CidrBlock"] != node.spec.cidr:
            yield Difference(f"address block is {found.facts['CidrBlock']}, not {node.spec.cidr}: needs `down` first")

    def delete(self, view: View, found: Found) -> None:
        view.ec2(found, "delete_vpc", VpcId=found.id)


@dataclass(frozen=True, slots=True)
class SubnetSpec:
    """``zone`` and ``zone_id`` empty: the first zone that offers all ``types``, or that of the subnet ``beside``."""

    vpc: str
    cidr: str
    zone: str
    types: tuple[str, ...]
    zone_id: str = ""
    beside: str = ""

    @property
    def told_zone(self) -> str:
        """The zone that the topology names, by whichever name; empty where it names none."""
        return self.zone or self.zone_id


class SubnetKind(Ec2Kind):
    name: ClassVar[str] = "subnet"
    describe: ClassVar[str] = "describe_subnets"
    list_key: ClassVar[str] = "Subnets"
    id_key: ClassVar[str] = "SubnetId"

    def create(self, view: View, node: Node) -> None:
        self.create_in(view, node, self.zones(view, node)[0])

    def create_in(self, view: View, node: Node, zone: str) -> None:
        """Make the subnet in a given zone. A conflict means that another operator was faster: theirs will be found."""
        view.make(
            node,
            "create_subnet",
            "subnet",
            tolerate=("InvalidSubnet.Conflict",),
            VpcId=view.id(node.spec.vpc),
            CidrBlock=node.spec.cidr,
            AvailabilityZone=zone,
        )

    def zones(self, view: View, node: Node) -> list[str]:
        """The zones of the region that offer every instance type of the subnet, in order; only its own if it names one.

        Raises:
            ProvisionError: no zone offers them all.
        """
        if node.spec.beside:
            return [view.found[node.spec.beside].facts["AvailabilityZone"]]
        # A Local or Wavelength Zone that the account opted into is listed with the offerings too, and sorts first.
        own = {
            item["ZoneName"]: item.get("ZoneId", "")
            for item in view.cloud.pages(
                node.region,
                "ec2",
                "describe_availability_zones",
                "AvailabilityZones",
                node.key,
                Filters=[
                    {"Name": "zone-type", "Values": ["availability-zone"]},
                    {"Name": "state", "Values": ["available"]},
                ],
            )
            if item.get("ZoneType", "availability-zone") == "availability-zone"
        }
        offered: dict[str, set[str]] = {}
        for item in view.cloud.pages(
            node.region,
            "ec2",
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            node.key,
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": sorted(set(node.spec.types))}],
        ):
            offered.setdefault(item["Location"], set()).add(item["InstanceType"])
        wanted = set(node.spec.types)
        named = node.spec.told_zone
        if named and named not in (*own, *own.values()):
            # Which ids an account has is its own: an old zone is given to nobody new (AZ ids, RAM user guide).
            have = ", ".join(f"{zone} ({own[zone]})" for zone in sorted(own))
            raise ProvisionError(f"{node.key}: this account has no zone {named} in {node.region}, but {have}; use one")
        zones = sorted(zone for zone in own if offered.get(zone, set()) >= wanted and named in ("", zone, own[zone]))
        if not zones:
            where = named or f"no zone of {node.region}"
            raise ProvisionError(
                f"{node.key}: {where} {'does not offer' if named else 'offers'} {', '.join(sorted(wanted))}; "
                "use another --instance-type" + (" or zone" if named else "")
            )
        return zones

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        if found.facts["CidrBlock"] != node.spec.cidr:
            yield Difference(f"address block is {found.facts['CidrBlock']}, not {node.spec.cidr}: needs `down` first")
            return
        zone, zone_id = found.facts["AvailabilityZone"], found.facts.get("AvailabilityZoneId", "")
        if node.spec.told_zone not in ("", zone, zone_id):
            yield Difference(f"zone is {zone} ({zone_id}), not {node.spec.told_zone}: needs `down` first")
        beside = view.found.get(node.spec.beside)
        if beside is not None and beside.facts["AvailabilityZone"] != zone:
            yield Difference(f"zone is {zone}, and {node.spec.beside} stands in another: needs `down` first")

    def delete(self, view: View, found: Found) -> None:
        view.ec2(found, "delete_subnet", SubnetId=found.id)


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    vpc: str


class GatewayKind(Ec2Kind):
    name: ClassVar[str] = "internet-gateway"
    describe: ClassVar[str] = "describe_internet_gateways"
    list_key: ClassVar[str] = "InternetGateways"
    id_key: ClassVar[str] = "InternetGatewayId"

    def rank(self, found: Found) -> tuple[Any, ...]:
        # AWS takes no gateway from a VPC whose hosts have public addresses, and gives a VPC no second one.
        return found.key, not found.facts.get("Attachments"), found.id

    def create(self, view: View, node: Node) -> None:
        view.make(node, "create_internet_gateway", "internet-gateway")

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        vpc = view.id(node.spec.vpc)
        attached = [item["VpcId"] for item in found.facts.get("Attachments", [])]
        for other in attached:
            if other != vpc:
                yield Difference(f"detach from {other}", lambda other=other: self._detach(view, found, other))  # type: ignore[misc]
        if vpc not in attached:
            yield Difference(f"attach to {node.spec.vpc}", lambda: self._attach(view, node, found))

    def delete(self, view: View, found: Found) -> None:
        for item in found.facts.get("Attachments", []):
            self._detach(view, found, item["VpcId"])
        view.ec2(found, "delete_internet_gateway", InternetGatewayId=found.id)

    def _attach(self, view: View, node: Node, found: Found) -> None:
        view.ec2(
            node,
            "attach_internet_gateway",
            tolerate=("Resource.AlreadyAssociated",),
            InternetGatewayId=found.id,
            VpcId=view.id(node.spec.vpc),
        )

    def _detach(self, view: View, found: Found, vpc: str) -> None:
        view.ec2(
            found,
            "detach_internet_gateway",
            tolerate=("Gateway.NotAttached", "InvalidInternetGatewayID.NotFound"),
            InternetGatewayId=found.id,
            VpcId=vpc,
        )


@dataclass(frozen=True, slots=True)
class RouteTableSpec:
    """``routes`` maps destinations to the keys of an internet gateway, a peering, a transit gateway or a host."""

    vpc: str
    subnets: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]


class RouteTableKind(Ec2Kind):
    name: ClassVar[str] = "route-table"
    describe: ClassVar[str] = "describe_route_tables"
    list_key: ClassVar[str] = "RouteTables"
    id_key: ClassVar[str] = "RouteTableId"

    def rank(self, found: Found) -> tuple[Any, ...]:
        return found.key, not found.facts.get("Associations"), found.id

    def create(self, view: View, node: Node) -> None:
        view.make(node, "create_route_table", "route-table", VpcId=view.id(node.spec.vpc))

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        have = {
            route["DestinationCidrBlock"]: route
            for route in found.facts.get("Routes", [])
            if "DestinationCidrBlock" in route and route.get("GatewayId") != "local"
        }
        for destination, target in node.spec.routes:
            route = have.pop(destination, None)
            wanted = view.id(target)
            if route is None:
                yield Difference(
                    f"route {destination} to {target}",
                    lambda d=destination, t=target: self._route(view, node, found, "create_route", d, t),  # type: ignore[misc]
                )
            elif _target(route) != wanted or route.get("State") == "blackhole":
                yield Difference(
                    f"route {destination} to {target}, now {_target(route)} {route.get('State', '')}".rstrip(),
                    lambda d=destination, t=target: self._route(view, node, found, "replace_route", d, t),  # type: ignore[misc]
                )
        for destination, route in have.items():
            yield Difference(
                f"remove route {destination} to {_target(route)}",
                lambda d=destination: self._unroute(view, found, d),  # type: ignore[misc]
            )
        associated = {item.get("SubnetId") for item in found.facts.get("Associations", [])}
        for subnet in node.spec.subnets:
            if view.id(subnet) not in associated:
                yield Difference(
                    f"associate {subnet}",
                    lambda s=subnet: self._associate(view, node, found, s),  # type: ignore[misc]
                )

    def delete(self, view: View, found: Found) -> None:
        for item in found.facts.get("Associations", []):
            if not item.get("Main"):
                view.ec2(
                    found,
                    "disassociate_route_table",
                    tolerate=("InvalidAssociationID.NotFound",),
                    AssociationId=item["RouteTableAssociationId"],
                )
        view.ec2(found, "delete_route_table", RouteTableId=found.id)

    def _route(self, view: View, node: Node, found: Found, operation: str, destination: str, target: str) -> None:
        field = _TARGETS.get(view.nodes[target].kind, "GatewayId")
        view.ec2(
            node,
            operation,
            tolerate=("RouteAlreadyExists",) if operation == "create_route" else (),
            RouteTableId=found.id,
            DestinationCidrBlock=destination,
            **{field: view.id(target)},
        )

    def _unroute(self, view: View, found: Found, destination: str) -> None:
        view.ec2(found, "delete_route", RouteTableId=found.id, DestinationCidrBlock=destination)

    def _associate(self, view: View, node: Node, found: Found, subnet: str) -> None:
        subnet_id = view.id(subnet)
        for table in view.cloud.pages(
            node.region,
            "ec2",
            "describe_route_tables",
            "RouteTables",
            node.key,
            Filters=[{"Name": "association.subnet-id", "Values": [subnet_id]}],
        ):
            for item in table.get("Associations", []):
                if item.get("SubnetId") == subnet_id:
                    view.ec2(
                        node,
                        "replace_route_table_association",
                        AssociationId=item["RouteTableAssociationId"],
                        RouteTableId=found.id,
                    )
                    return
        view.ec2(
            node,
            "associate_route_table",
            tolerate=("Resource.AlreadyAssociated",),
            RouteTableId=found.id,
            SubnetId=subnet_id,
        )


_TARGETS = {"peering": "VpcPeeringConnectionId", "transit-gateway": "TransitGatewayId", "instance": "InstanceId"}
"""The field of a route by the kind of its target; an internet gateway has EC2's own."""


def _target(route: object) -> str:
    assert isinstance(route, dict)
    for field in (*_TARGETS.values(), "GatewayId", "NatGatewayId", "NetworkInterfaceId"):
        if route.get(field):
            return str(route[field])
    return "another target"
