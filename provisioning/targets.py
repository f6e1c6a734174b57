"""Prometheus file service discovery: what to scrape, with role, site and deployment labels."""

import json

from provisioning.documents import TargetGroup
from provisioning.firewall import METRICS_PORTS
from provisioning.topology import Topology

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
            },
        }
        for host in topology.host
        if host.role in METRICS_PORTS and not (local and host.name in out_of_reach)
    ]
    return json.dumps(groups, indent=2) + "\n"


def unscraped(topology: Topology) -> tuple[str, ...]:
    """The hosts with an exporter that no monitor reaches: all of them where there is no monitor."""
    return tuple(
        host.name
        for host in topology.host
        if host.role in METRICS_PORTS
        and not any(topology.peered(monitor.site, host.site) for monitor in topology.monitors)
    )
