"""Prometheus file service discovery: what to scrape, with role, site and deployment labels."""

import json

from provisioning.documents import TargetGroup
from provisioning.firewall import METRICS_PORTS
from provisioning.topology import Host, Topology

__all__ = ["targets", "unscraped"]


def targets(topology: Topology, deployment: str, *, local: bool = False) -> str:
    """The file's text.

    Args:
        topology: the deployment's topology; private addresses are fixed, so nothing need be asked.
        deployment: its name.
        local: leave out what the monitor host cannot reach (its site has no peering with theirs).
    """
    out_of_reach = unscraped(topology)
    groups: list[TargetGroup] = [
        {
            "targets": [f"{host.address}:{METRICS_PORTS[host.role]}"],
            "labels": {
                "deployment": deployment,
                "role": host.role,
                "site": host.site,
                "region": topology.site_of(host).region,
                "host": host.name,
                **_zone(topology, host),
            },
        }
        for host in topology.host
        if host.role in METRICS_PORTS and not (local and host.name in out_of_reach)
    ]
    return json.dumps(groups, indent=2) + "\n"


def _zone(topology: Topology, host: Host) -> dict[str, str]:
    """The zone where the topology names it, by its id if it can be; else AWS chooses, and ``status`` tells."""
    subnet = topology.subnet_of(host)
    zone = subnet.zone_id or subnet.zone
    return {"zone": zone} if zone else {}


def unscraped(topology: Topology) -> tuple[str, ...]:
    """The hosts with an exporter that no monitor reaches: all of them where there is no monitor."""
    return tuple(
        host.name
        for host in topology.host
        if host.role in METRICS_PORTS
        and not any(topology.peered(monitor.site, host.site) for monitor in topology.monitors)
    )
