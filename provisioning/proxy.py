"""The HTTP proxy of a private client: what it lets pass, and the files that make a host one."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from provisioning.overlay import File, render, source
from provisioning.packages import packages
from provisioning.topology import Host, Proxy, Topology, port_of

__all__ = ["Destination", "destinations", "host_and_port", "proxy_files", "s3_host"]

_HTTPS = 443
_HTTP = 80
_MIRRORS = {
    "debian": ("deb.debian.org", "security.debian.org", "cdn-aws.deb.debian.org"),
    "ubuntu": (".archive.ubuntu.com", "security.ubuntu.com"),
}
"""Where the images' package lists lead; a leading dot is all of a domain (squid's ``dstdomain``)."""


@dataclass(frozen=True, slots=True, order=True)
class Destination:
    """What the client may reach: a name or address, a port, and whether by a tunnel or by a request in the clear."""

    name: str
    port: int = _HTTPS
    tunnel: bool = True


def s3_host(bucket: str, region: str) -> str:
    """Return the name by which hosts fetch from their bucket; ``bootstrap`` makes the same."""
    return f"{bucket}.s3.{region}.amazonaws.com"


def host_and_port(text: str) -> tuple[str, int]:
    """Split one of ``[proxy] names``: a name, or a name and a port.

    >>> host_and_port("ipinfo.io"), host_and_port("ip.example:8443")
    (('ipinfo.io', 443), ('ip.example', 8443))
    """
    name, colon, port = text.partition(":")
    return name, int(port) if colon else _HTTPS


def destinations(topology: Topology, proxy: Proxy, bucket_host: str) -> list[Destination]:
    """List what the client needs: its bucket, its targets, further names, and package mirrors if it lacks something."""
    client = topology.named_host(proxy.client)
    found = {Destination(bucket_host)}
    for target in client.target:
        found.add(Destination(target.resolve or urlsplit(target.url).hostname or "", port_of(target.url)))
    found |= {Destination(*host_and_port(name)) for name in proxy.names}
    if topology.s3_endpoint:
        parts = urlsplit(topology.s3_endpoint)
        secure = parts.scheme == "https"
        found.add(Destination(parts.hostname or "", parts.port or (_HTTPS if secure else _HTTP), secure))
    if packages(client):
        for name in _MIRRORS["ubuntu" if client.image.startswith("ubuntu") else "debian"]:
            found |= {Destination(name), Destination(name, _HTTP, tunnel=False)}
    return sorted(found)


def proxy_files(topology: Topology, host: Host, bucket_host: str) -> list[File]:
    """The files that make a host the proxy; none if it is not one."""
    proxy = topology.proxy
    if proxy is None or host.name != proxy.gateway:
        return []
    rules = []
    for number, one in enumerate(destinations(topology, proxy, bucket_host)):
        # -n: an address is compared with addresses and a name with names, without asking a resolver.
        rules += [
            f"acl name{number} dstdomain -n {one.name}",
            f"acl port{number} port {one.port}",
            f"http_access allow {'connect' if one.tunnel else '!connect'} name{number} port{number} !inside",
        ]
    values = {
        "LISTEN": f"{host.address}:{proxy.port}",
        "HOST": host.name,
        "CLIENT": f"{topology.named_host(proxy.client).address}/32",
        "RULES": "\n".join(rules),
    }
    return [("/etc/squid/latency.conf", 0o644, render(source("squid.conf"), values))]
