"""Packages of the distribution that a host asks for: program and package."""

from provisioning.topology import Host

__all__ = ["packages", "packages_wished"]


def packages(host: Host) -> dict[str, str]:
    """What an image may lack and the role cannot do without."""
    needed = {"chronyd": "chrony"} if host.precision_time else {}
    return needed | {"monitor": {"prometheus": "prometheus"}, "proxy": {"squid": "squid"}}.get(host.role, {})


def packages_wished(host: Host) -> dict[str, str]:
    """What is only asked for: without chrony the image's systemd-timesyncd keeps the clock, by the same server."""
    return {"chronyd": "chrony"} if host.role in ("forwarder", "receiver") and not host.precision_time else {}
