"""Which packets each host may send and receive: pure, from the topology.

Security groups are stateful, so only the side that opens a connection needs an egress rule and only the other an
ingress rule. Link-local services (metadata, time, resolver) are not filtered by groups and need none. Rules name
single addresses wherever the other end is one of ours: they are fixed.
"""

from dataclasses import dataclass

from daemons.service.settings.config import networks
from provisioning.packages import packages, packages_wished
from provisioning.proxy import destinations
from provisioning.topology import Host, Overlay, Topology, port_of

__all__ = ["METRICS_PORTS", "WIREGUARD_PORT", "Rule", "firewall"]

METRICS_PORTS = {"forwarder": 9471, "receiver": 9472, "probe": 9473, "nat": 9474, "proxy": 9474}
WIREGUARD_PORT = 51820
_ANYWHERE = "0.0.0.0/0"
_IPIP = "4"


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """A protocol (``tcp``, ``udp``, ``icmp``, ``-1`` or a number), a port range or ICMP type and code, and a block."""

    protocol: str
    first: int
    last: int
    cidr: str

    @classmethod
    def normal(cls, protocol: str, first: int | None, last: int | None, cidr: str) -> "Rule":
        """A rule as EC2 echoes it; protocols without ports come with None, -1, 0 or 0-65535, which mean the same."""
        protocol = {"6": "tcp", "17": "udp", "1": "icmp"}.get(protocol, protocol)
        if protocol not in ("tcp", "udp", "icmp"):
            return cls(protocol, 0, 0, cidr)
        if protocol != "icmp" and first in (None, -1):
            return cls(protocol, 0, 65535, cidr)
        return cls(protocol, -1 if first is None else first, -1 if last is None else last, cidr)

    def permission(self) -> dict[str, object]:
        """EC2's form of the rule."""
        base: dict[str, object] = {"IpProtocol": self.protocol, "IpRanges": [{"CidrIp": self.cidr}]}
        if self.protocol != "-1":
            base |= {"FromPort": self.first, "ToPort": self.last}
        return base

    def __str__(self) -> str:
        name = {"-1": "everything", _IPIP: "ipip"}.get(self.protocol, self.protocol)
        if self.protocol == "icmp":
            return f"icmp type {self.first} code {self.last} {self.cidr}"
        if self.protocol not in ("tcp", "udp"):
            return f"{name} {self.cidr}"
        return f"{name} {self.first}{'' if self.first == self.last else f'-{self.last}'} {self.cidr}"


_ECHO_REQUEST = Rule("icmp", 8, 0, _ANYWHERE)
"""What a probe's trace and a check of the path's MTU send; echo replies and errors about them come back by tracking."""


def _port(protocol: str, port: int, cidr: str) -> Rule:
    return Rule(protocol, port, port, cidr)


def _only(host: Host) -> str:
    return f"{host.address}/32"


def firewall(topology: Topology, host: Host) -> tuple[frozenset[Rule], frozenset[Rule]]:
    """The (ingress, egress) rules of a host."""
    ingress: set[Rule] = set()
    egress: set[Rule] = set()
    # Fragmentation needed (RFC 1191): without it a path of smaller MTU swallows full packets. It comes from whatever
    # router is in the way, whose address on a peering nobody documents, and tracking does not let it in by itself.
    ingress.add(Rule("icmp", 3, 4, _ANYWHERE))
    if host.public != "none":
        egress.add(_port("tcp", 443, _ANYWHERE))
        urls = (host.feed, *(target.url for target in host.target))
        egress.update(_port("tcp", port_of(url), _ANYWHERE) for url in urls if url)
        if host.target:
            egress.add(_ECHO_REQUEST)
        if host.image.startswith("ubuntu") and (packages(host) or packages_wished(host)):
            # Ubuntu's mirrors are asked in the clear (packages are signed), Debian's image asks by https.
            egress.add(_port("tcp", 80, _ANYWHERE))
    _links(topology, host, ingress, egress)
    _overlay(topology, host, ingress, egress)
    _proxy(topology, host, ingress, egress)
    _metrics(topology, host, ingress, egress)
    _ssh(topology, host, ingress, egress)
    return frozenset(ingress), frozenset(egress)


def _links(topology: Topology, host: Host, ingress: set[Rule], egress: set[Rule]) -> None:
    for link in topology.link:
        sender, listener = topology.ends(link)
        # The control connection is TCP for both transports.
        for protocol in {"tcp", link.transport}:
            if host.name == link.receiver:
                ingress.add(_port(protocol, link.port, f"{sender}/32"))
            if host.name == link.forwarder:
                egress.add(_port(protocol, link.port, f"{listener}/32"))


def _overlay(topology: Topology, host: Host, ingress: set[Rule], egress: set[Rule]) -> None:
    overlay = topology.overlay
    if overlay is None or host.name not in (overlay.client, overlay.gateway):
        return
    if not overlay.tunnel:
        _routed(topology, host, overlay, ingress, egress)
        return
    other = topology.named_host(overlay.gateway if host.name == overlay.client else overlay.client)
    tunnel = Rule(_IPIP, 0, 0, _only(other))
    if overlay.kind == "wireguard":
        tunnel = _port("udp", WIREGUARD_PORT, _only(other))
    ingress.add(tunnel)
    egress.add(tunnel)
    if host.name == overlay.gateway:
        for target in topology.named_host(overlay.client).target:
            egress.add(_port("tcp", port_of(target.url), _ANYWHERE))
        egress.add(_ECHO_REQUEST)


def _routed(topology: Topology, host: Host, overlay: Overlay, ingress: set[Rule], egress: set[Rule]) -> None:
    """Without a tunnel the groups see the client's packets as they are, on their way through the gateway too."""
    client, gateway = topology.named_host(overlay.client), topology.named_host(overlay.gateway)
    ports = {443, *(port_of(target.url) for target in client.target)}
    if client.image.startswith("ubuntu") and (packages(client) or packages_wished(client)):
        ports.add(80)
    for port in ports:
        egress.add(_port("tcp", port, _ANYWHERE))
    egress.add(_ECHO_REQUEST)
    for protocol in ("tcp", "udp"):
        if host is client:
            egress.add(_port(protocol, 53, _only(gateway)))
        else:
            ingress.add(_port(protocol, 53, _only(client)))
    if host is client:
        ingress.add(Rule("icmp", 8, 0, _only(gateway)))
    else:
        ingress.update(_port("tcp", port, _only(client)) for port in ports)
        ingress.add(Rule("icmp", 8, 0, _only(client)))


def _proxy(topology: Topology, host: Host, ingress: set[Rule], egress: set[Rule]) -> None:
    proxy = topology.proxy
    if proxy is None:
        return
    if host.name == proxy.client:
        egress.add(_port("tcp", proxy.port, _only(topology.named_host(proxy.gateway))))
    if host.name == proxy.gateway:
        ingress.add(_port("tcp", proxy.port, _only(topology.named_host(proxy.client))))
        egress.update(_port("tcp", one.port, _ANYWHERE) for one in destinations(topology, proxy, "the bucket's"))


def _metrics(topology: Topology, host: Host, ingress: set[Rule], egress: set[Rule]) -> None:
    for monitor in topology.monitors:
        if host.name == monitor.name:
            for other in topology.host:
                if other.role in METRICS_PORTS and topology.peered(host.site, other.site):
                    egress.add(_port("tcp", METRICS_PORTS[other.role], _only(other)))
        elif host.role in METRICS_PORTS and topology.peered(host.site, monitor.site):
            ingress.add(_port("tcp", METRICS_PORTS[host.role], _only(monitor)))


def _ssh(topology: Topology, host: Host, ingress: set[Rule], egress: set[Rule]) -> None:
    if not topology.access.ssh_from:
        return
    if host.public != "none":
        # EC2 takes no bare address, and gives every block back in its one form.
        blocks = networks("access.ssh_from", topology.access.ssh_from)
        ingress.update(_port("tcp", 22, str(block)) for block in blocks)
    for client, gateway in topology.gateways.items():
        if host.name == client:
            ingress.add(_port("tcp", 22, _only(topology.named_host(gateway))))
        if host.name == gateway:
            egress.add(_port("tcp", 22, _only(topology.named_host(client))))
