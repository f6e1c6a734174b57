"""What each path of a topology needs by itself: a forwarder, its place, a network; and what that costs a day."""

from dataclasses import dataclass

from provisioning.cost import HOURS_PER_DAY, Estimate, Traffic, estimate
from provisioning.topology import Host, Link, Topology

__all__ = ["DIRECT", "PathNeed", "path_needs", "removable"]

DIRECT = "direct"
"""The name of the path that a receiver's own feed is."""


@dataclass(frozen=True, slots=True)
class PathNeed:
    """One path.

    Attributes:
        path: its name.
        receiver: where it ends.
        forwarder: where it begins; empty for a receiver's own feed.
        via: the network between the two; empty likewise.
        zone: of the forwarder, by its id if the topology has it; empty where AWS chooses.
        placement: of the forwarder.
        usd_per_day: what would not be paid without it, if it were the only path of its forwarder and its network:
            hours, without traffic.
    """

    path: str
    receiver: str
    forwarder: str = ""
    via: str = ""
    zone: str = ""
    placement: str = ""
    usd_per_day: float = 0.0


def path_needs(topology: Topology, receiver: str = "") -> dict[str, PathNeed]:
    """All paths by name.

    Args:
        topology: of the deployment.
        receiver: where they end; empty for any. Links have names of their own, but every receiver's feed has one name.

    Raises:
        ProvisionError: the price table lacks a region or an instance type.
    """
    priced = estimate(topology, Traffic())
    links = (link for link in topology.link if receiver in ("", link.receiver))
    needs = {link.name: _of_link(topology, link, priced) for link in links}
    for host in topology.host:
        if host.role == "receiver" and host.feed and receiver in ("", host.name):
            needs.setdefault(DIRECT, PathNeed(DIRECT, host.name))
    return needs


def removable(topology: Topology) -> dict[tuple[str, str], float]:
    """What could be taken out of a topology by itself, as ``host`` or ``way`` and name, with its US dollars a day.

    Forwarders, and networks that cost something and carry links alone.

    Raises:
        ProvisionError: the price table lacks a region or an instance type.
    """
    priced = estimate(topology, Traffic())
    found = {
        ("host", host.name): _hour(priced, f"{host.name}: ") * HOURS_PER_DAY
        for host in topology.host
        if host.role == "forwarder"
    }
    vias = {link.via for link in topology.link}
    if "transit" in vias and (topology.overlay is None or topology.overlay.tunnel):
        found["way", "transit"] = _hour(priced, "transit gateway: ") * HOURS_PER_DAY
    if "accelerator" in vias:
        found["way", "accelerator"] = _hour(priced, "accelerator of ") * HOURS_PER_DAY
    return found


def _of_link(topology: Topology, link: Link, priced: Estimate) -> PathNeed:
    forwarder = topology.named_host(link.forwarder)
    subnet = topology.subnet_of(forwarder)
    hour = _hour(priced, f"{forwarder.name}: ") + _way_hour(link, priced)
    return PathNeed(
        link.name,
        link.receiver,
        forwarder.name,
        link.via,
        subnet.zone_id or subnet.zone,
        _placement(forwarder),
        hour * HOURS_PER_DAY,
    )


def _placement(host: Host) -> str:
    return host.placement or ("precision-time" if host.precision_time else "")


def _way_hour(link: Link, priced: Estimate) -> float:
    """What stands for a link's network alone: a peering costs nothing, and addresses are their hosts'."""
    stands = {"transit": "transit gateway: ", "accelerator": f"accelerator of {link.receiver}"}.get(link.via)
    return _hour(priced, stands) if stands else 0.0


def _hour(priced: Estimate, begin: str) -> float:
    return sum(item.hour or 0.0 for item in priced.items if item.what.startswith(begin))
