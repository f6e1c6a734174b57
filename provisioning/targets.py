"""Prometheus file service discovery: what to scrape, with role, site and deployment labels."""

import json

from provisioning.firewall import METRICS_PORTS
from provisioning.topology import Topology

__all__ = ["targets"]


def targets(topology: Topology, deployment: str, *, local: bool = False) -> str:
    """The file's text.

    Args:
        topology: the deployment's topology; private addresses are fixed, so nothing need be asked.
        deployment: its name.
        local: leave out what the monitor host cannot reach (its site has no peering with theirs).
    """
    monitors = topology.monitors
    groups = [
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
        if host.role in METRICS_PORTS
        and (not local or any(topology.peered(monitor.site, host.site) for monitor in monitors))
    ]
    return json.dumps(groups, indent=2) + "\n"
