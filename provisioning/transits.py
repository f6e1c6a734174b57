"""The transit gateways of a topology: what a wish for one must say, the resources that it is made of, and the routes.

Every site of a ``[[transit]]`` has one gateway, attached to its VPC by a small subnet in each zone with hosts: what
stands in another zone cannot reach the gateway (transit gateway guide, "Transit gateway attachments to a VPC").
"""

import ipaddress

from daemons.errors import ConfigError
from provisioning.kinds.network import RouteTableSpec, SubnetSpec
from provisioning.kinds.transit import TransitAttachmentSpec, TransitGatewaySpec, TransitPeeringSpec, TransitTableSpec
from provisioning.model import Node
from provisioning.topology import Site, Subnet, Topology

__all__ = ["check_transits", "transit_nodes", "transit_routes"]

_FIRST_ASN = 64512
"""Private ones begin here, and end at 65534 (RFC 6996)."""
_EVERYWHERE = "0.0.0.0/0"
_PREFIX = 28
"""AWS recommends a small subnet for each attachment (transit gateway guide, "Design best practices")."""


def check_transits(topology: Topology) -> None:
    """Refuse gateways that AWS would refuse late, or make and not carry anything.

    Raises:
        ConfigError: the first thing wrong.
    """
    names = {site.name for site in topology.site}
    pairs: set[frozenset[str]] = set()
    for transit in topology.transit:
        where = f"transit.{transit.name}"
        for end in (transit.requester, transit.accepter):
            if end not in names:
                raise ConfigError(where, f"{end!r} is not a site", f"use one of {', '.join(sorted(names))}")
        one, other = topology.named_site(transit.requester), topology.named_site(transit.accepter)
        if one.region == other.region:
            raise ConfigError(where, f"both sites are in {one.region}", "join sites of two regions, or peer them")
        pair = frozenset((one.name, other.name))
        if pair in pairs:
            raise ConfigError(where, "the two sites are joined already", "one pair of gateways has one peering")
        pairs.add(pair)
        if ipaddress.ip_network(one.cidr).overlaps(ipaddress.ip_network(other.cidr)):
            raise ConfigError(where, f"{one.cidr} overlaps {other.cidr}", "joined sites need distinct address blocks")
    for site in topology.site:
        if topology.transits(site.name):
            _check_block(topology, site)
        elif site.transit:
            raise ConfigError(
                f"site.{site.name}.transit", "no [[transit]] names the site", "add it, or remove the block"
            )


def _check_block(topology: Topology, site: Site) -> None:
    where = f"site.{site.name}.transit"
    if not site.transit:
        raise ConfigError(
            where, "is missing", "give a free block of the site, such as a /26, for the gateway's subnets"
        )
    try:
        block = ipaddress.IPv4Network(site.transit)
    except ValueError as error:
        raise ConfigError(
            where, f"{site.transit!r} is not an IPv4 network", "write one such as 10.0.255.0/26"
        ) from error
    if not block.subnet_of(ipaddress.IPv4Network(site.cidr)):
        raise ConfigError(where, f"{block} is not inside {site.cidr}", "choose a block of the site")
    for subnet in site.subnet:
        if block.overlaps(ipaddress.IPv4Network(subnet.cidr)):
            raise ConfigError(where, f"{block} overlaps {subnet.name}'s {subnet.cidr}", "choose another block")
    with_hosts = _with_hosts(topology, site)
    zones = {subnet.zone or subnet.zone_id for subnet in with_hosts}
    if len(with_hosts) > 1 and ("" in zones or len({bool(subnet.zone) for subnet in with_hosts}) > 1):
        raise ConfigError(
            where, "it is not known which of the site's subnets share a zone", "give each subnet with hosts its zone_id"
        )
    if block.prefixlen > _PREFIX or 2 ** (_PREFIX - block.prefixlen) < len(zones):
        raise ConfigError(where, f"{block} has no /{_PREFIX} for each of {len(zones)} zones", "give a larger block")


def _with_hosts(topology: Topology, site: Site) -> list[Subnet]:
    """The subnets of hosts that go by the gateway; the first one where none does, for an attachment needs some.

    Beside peerings only those go by it that have a second address for it, or are an end of an overlay by it.
    """
    beside = all(topology.peered(site.name, other.name) for _, other in topology.transits(site.name))
    ends = _overlay_ends(topology)
    taken = {
        host.subnet
        for host in topology.host
        if host.site == site.name and (not beside or host.second_address or host.name in ends)
    }
    return [subnet for subnet in site.subnet if subnet.name in taken] or [site.subnet[0]]


def transit_nodes(topology: Topology) -> list[Node]:
    """The resources of all transit gateways."""
    nodes: list[Node] = []
    joined = [site for site in topology.site if topology.transits(site.name)]
    for number, site in enumerate(joined):
        nodes += _gateway(topology, site, _FIRST_ASN + number)
    for transit in topology.transit:
        here, there = (topology.named_site(name) for name in (transit.requester, transit.accepter))
        ends = (f"transit/{here.name}", f"transit/{there.name}")
        spec = TransitPeeringSpec(*ends, there.region)
        nodes.append(Node(f"transit-peering/{transit.name}", "transit-peering", here.region, spec, ends))
    return nodes


def _gateway(topology: Topology, site: Site, asn: int) -> list[Node]:
    name, vpc = site.name, f"vpc/{site.name}"
    gateway, attachment = f"transit/{name}", f"transit-attachment/{name}"
    nodes = [Node(gateway, "transit-gateway", site.region, TransitGatewaySpec(asn))]
    zones = {subnet.zone or subnet.zone_id: subnet for subnet in reversed(_with_hosts(topology, site))}
    blocks = ipaddress.IPv4Network(site.transit).subnets(new_prefix=_PREFIX)
    subnets = []
    for number, (subnet, block) in enumerate(zip(reversed(zones.values()), blocks, strict=False), 1):
        key, beside = f"subnet/{name}/transit-{number}", f"subnet/{name}/{subnet.name}"
        subnets.append(key)
        spec = SubnetSpec(vpc, str(block), "", ("t3.micro",), beside=beside)
        nodes.append(Node(key, "subnet", site.region, spec, (vpc, beside)))
    attached = TransitAttachmentSpec(gateway, vpc, tuple(subnets))
    nodes.append(Node(attachment, "transit-attachment", site.region, attached, (gateway, vpc, *subnets)))
    peerings = [(other.cidr, f"transit-peering/{transit.name}") for transit, other in topology.transits(name)]
    routes = ((site.cidr, attachment), *peerings)
    if out := _way_out(topology, site, attachment):
        routes = (*routes, (_EVERYWHERE, out))
        if out == attachment:
            nodes.append(_to_nat(topology, site, vpc, tuple(subnets)))
    attachments = (attachment, *(key for _, key in peerings))
    table = TransitTableSpec(gateway, attachments, routes)
    nodes.append(Node(f"transit-routes/{name}", "transit-table", site.region, table, (gateway, *attachments)))
    return nodes


def _overlay_ends(topology: Topology) -> tuple[str, ...]:
    """The hosts at the ends of an overlay that is made of gateways; none without one."""
    overlay = topology.overlay
    return (overlay.client, overlay.gateway) if overlay is not None and not overlay.tunnel else ()


def _way_out(topology: Topology, site: Site, attachment: str) -> str:
    """The attachment by which a site's gateway sends on what goes to the internet; empty where nothing does.

    From the client's gateway to the one beside the NAT instance, and there into the VPC: a gateway reaches no internet
    gateway, but an interface in an attached VPC it does ("Transit gateway route tables").
    """
    ends = _overlay_ends(topology)
    if not ends:
        return ""
    client, gateway = (topology.named_host(name).site for name in ends)
    if site.name == gateway:
        return attachment
    peering = (transit for transit, other in topology.transits(site.name) if other.name == gateway)
    return f"transit-peering/{next(peering).name}" if site.name == client else ""


def _to_nat(topology: Topology, site: Site, vpc: str, subnets: tuple[str, ...]) -> Node:
    """The table of an attachment's own subnets: what comes out of the gateway for the internet goes to the NAT."""
    nat = f"host/{_overlay_ends(topology)[1]}"
    spec = RouteTableSpec(vpc, subnets, ((_EVERYWHERE, nat),))
    return Node(f"routes/{site.name}/transit", "route-table", site.region, spec, (vpc, *subnets, nat))


def transit_routes(topology: Topology, site: Site, subnet: Subnet) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """What a subnet's table sends to the site's gateway, and the keys that must stand first.

    A peering has the peer's block where there is one, and the gateway the second addresses of the hosts there, and the
    ends of an overlay by gateways: both directions between them go the same way.
    """
    gateway = f"transit/{site.name}"
    routes: list[tuple[str, str]] = []
    for _, other in topology.transits(site.name):
        if topology.peered(site.name, other.name):
            hosts = (host for host in topology.host if host.site == other.name and host.second_address)
            routes += [(f"{host.second_address}/32", gateway) for host in hosts]
        else:
            routes.append((other.cidr, gateway))
    ends = [topology.named_host(name) for name in _overlay_ends(topology)]
    for own, end in zip(ends, reversed(ends), strict=True):
        if (own.site, own.subnet) == (site.name, subnet.name):
            if topology.peered(own.site, end.site):
                routes.append((f"{end.address}/32", gateway))
            if own is ends[0]:
                routes.append((_EVERYWHERE, gateway))
    # EC2 takes a route to a gateway only in a VPC that is attached to it.
    return routes, (f"transit-attachment/{site.name}",) if routes else ()
