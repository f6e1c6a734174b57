"""A topology as text: its sites, what stands there, the ways between, and what each costs an hour."""

from provisioning.cost import Estimate, Traffic, estimate
from provisioning.errors import ProvisionError
from provisioning.topology import Host, Link, Topology

__all__ = ["drawing"]


def drawing(topology: Topology) -> list[str]:
    """The lines of the picture; without prices where the table lacks one."""
    try:
        priced = estimate(topology, Traffic())
    except ProvisionError:
        priced = None
    lines = []
    for site in topology.site:
        lines.append(f"{site.name} ({site.region}, {site.cidr})")
        lines += [_host(topology, host, priced) for host in topology.host if host.site == site.name]
    lines += [_link(link, topology, priced) for link in topology.link]
    lines += [
        f"  {way.client} --{name}--> {way.gateway} --> the internet"
        for name, way in (("overlay", topology.overlay), ("proxy", topology.proxy))
        if way is not None
    ]
    if priced is not None:
        lines.append(f"{priced.hour:.4f} USD an hour without traffic, at prices of {priced.date}")
    return lines


def _host(topology: Topology, host: Host, priced: Estimate | None) -> str:
    subnet = topology.subnet_of(host)
    addresses = [host.address, *([host.second_address] if host.second_address else [])]
    public = {"none": "private", "assigned": "public", "elastic": "Elastic IP"}[host.public]
    told = [f"{host.role} {host.type}", *addresses, public, *filter(None, [subnet.zone_id or subnet.zone])]
    return f"  {host.name}: {', '.join(told)}{_price(priced, f'{host.name}: ')}"


def _link(link: Link, topology: Topology, priced: Estimate | None) -> str:
    """A link, and what stands for it alone: a peering costs nothing, and addresses are their hosts'."""
    stands = {"transit": "transit gateway: ", "accelerator": f"accelerator of {link.receiver}"}.get(link.via, "")
    # The gateways of all links are one network: what they cost is told with each.
    price = _price(priced, stands) if stands else ""
    return f"  {link.forwarder} --{link.via}--> {link.receiver}: {link.name}, {link.transport} {link.port}{price}"


def _price(priced: Estimate | None, begin: str) -> str:
    if priced is None:
        return ""
    hour = sum(item.hour or 0.0 for item in priced.items if item.what.startswith(begin))
    unsure = any(not item.verified for item in priced.items if item.what.startswith(begin) and item.hour)
    return f", {hour:.4f} USD/h{' *' if unsure else ''}"
