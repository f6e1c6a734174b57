"""A topology as text: its sites, what stands there, the ways between, and what each costs an hour."""

from provisioning.cost import Estimate, Traffic, estimate
from provisioning.errors import ProvisionError
from provisioning.topology import Host, Link, Topology

__all__ = ["drawing"]

_MARK = " *"


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
        for name, way in ((_overlay(topology), topology.overlay), ("proxy", topology.proxy))
        if way is not None
    ]
    lines += _archives(topology, priced)
    if priced is not None:
        # Each mark is a price that was not read from AWS, as `provision cost` marks it.
        marks = "; those marked * are old or inferred" if any(line.endswith(_MARK) for line in lines) else ""
        lines.append(f"{priced.hour:.4f} USD an hour without traffic, at prices of {priced.date}{marks}")
    return lines


def _overlay(topology: Topology) -> str:
    return "overlay" if topology.overlay is None or topology.overlay.tunnel else "overlay by transit gateways"


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


def _archives(topology: Topology, priced: Estimate | None) -> list[str]:
    """A line for each receiver's archive: where it goes, and what a GB of it costs until it is gone."""
    archive = topology.archive
    lines = []
    for host in (host for host in topology.host if archive is not None and host.role == "receiver"):
        assert archive is not None
        where = f"{archive.upload} ({archive.upload_region})"
        if not archive.upload:
            where = f"the deployment's bucket ({topology.regions[0]}), kept {archive.bucket_days} days"
        items = [item for item in priced.items if item.what.startswith(f"archive of {host.name}: ")] if priced else []
        unsure = _MARK if any(not item.verified for item in items) else ""
        told = f", {sum(item.per_gb or 0.0 for item in items):.4f} USD/GB{unsure}" if items else ""
        lines.append(f"  {host.name} --archive--> {where}{told}")
    return lines


def _price(priced: Estimate | None, begin: str) -> str:
    if priced is None:
        return ""
    hour = sum(item.hour or 0.0 for item in priced.items if item.what.startswith(begin))
    unsure = any(not item.verified for item in priced.items if item.what.startswith(begin) and item.hour)
    return f", {hour:.4f} USD/h{_MARK if unsure else ''}"
