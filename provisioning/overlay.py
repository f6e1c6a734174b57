"""The overlay's files for one end of it, rendered from ``systemd/overlay/``."""

import ipaddress
import re

from daemons.service.shipped import shipped
from provisioning.errors import ProvisionError
from provisioning.topology import Host, Topology

__all__ = ["File", "overlay_files", "prometheus_files", "render", "source"]

File = tuple[str, int, str]
"""Absolute path on the host, mode, text."""

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_NETWORK = "/etc/systemd/network"


def source(name: str) -> str:
    """The text of a file in ``systemd/overlay/``.

    Raises:
        ConfigError: this installation came without it.
        ProvisionError: the file cannot be read.
    """
    path = shipped("systemd") / "overlay" / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProvisionError(f"{path}: {error.strerror}; install the package again") from error


def prometheus_files() -> list[str]:
    """What a monitor takes from ``prometheus/``, by its path in the checkout and in the bundle."""
    rules = sorted((shipped("prometheus") / "rules").glob("*.yml"))
    return ["prometheus/prometheus.yml", *(f"prometheus/rules/{file.name}" for file in rules)]


def overlay_files(topology: Topology, host: Host) -> list[File]:
    """The files that make a host an end of the overlay; none if it is not one."""
    overlay = topology.overlay
    if overlay is None or host.name not in (overlay.client, overlay.gateway):
        return []
    if not overlay.tunnel:
        return _routed_files(topology, host)
    is_client = host.name == overlay.client
    client, gateway = topology.named_host(overlay.client), topology.named_host(overlay.gateway)
    client_inner, gateway_inner = overlay.addresses
    own, peer = (client, gateway) if is_client else (gateway, client)
    egress_site = ipaddress.IPv4Network(topology.site_of(gateway).cidr)
    values = {
        "LOCAL": own.address,
        "REMOTE": peer.address,
        "ADDRESS": client_inner if is_client else gateway_inner,
        "PREFIX": str(ipaddress.IPv4Network(overlay.network).prefixlen),
        "TUNNEL": overlay.network,
        "CLIENT": f"{client.address}/32",
        # A VPC's resolver answers only inside it, and the NAT instance's masqueraded questions come from inside.
        "RESOLVER": str(egress_site.network_address + 2),
        "OWN_SITE": topology.site_of(own).cidr,
        "PEER_SITE": topology.site_of(peer).cidr,
        "ALLOWED": "0.0.0.0/0" if is_client else overlay.network,
    }
    network = "client.network" if is_client else "nat.network"
    names = [
        (f"{_NETWORK}/50-latency-tunnel.network", network),
        ("/etc/latency/overlay.v4", "client.v4" if is_client else "nat.v4"),
        ("/etc/latency/overlay.v6", "client.v6" if is_client else "nat.v6"),
        ("/etc/systemd/system/latency-filter.service", "latency-filter.service"),
        ("/etc/systemd/system/latency-overlay.service", "latency-overlay.service"),
    ]
    if overlay.kind == "ipip":
        names.append((f"{_NETWORK}/50-latency-tunnel.netdev", "ipip.netdev"))
    else:
        # Complete only when the peer's public key is known: bootstrap fills it in and hands it to networkd.
        names.append(("/etc/latency/wireguard.netdev.in", "wireguard.netdev"))
    if is_client:
        names.append((f"{_NETWORK}/49-latency-guard.network", "guard.network"))
    else:
        names.append(("/etc/sysctl.d/60-latency-nat.conf", "nat.sysctl"))
    files = [(path, 0o644, render(source(name), values)) for path, name in names]
    if not is_client:
        files.append(("/etc/modules-load.d/latency-nat.conf", 0o644, "nf_conntrack\n"))
    return files


def _routed_files(topology: Topology, host: Host) -> list[File]:
    """Those of a host where routes lead to the NAT instance and there is no tunnel.

    The resolver of the NAT instance's VPC answers nobody outside: the instance passes the client's questions on to it.
    """
    assert topology.overlay is not None
    client, gateway = topology.named_host(topology.overlay.client), topology.named_host(topology.overlay.gateway)
    network = ipaddress.IPv4Network(topology.site_of(gateway).cidr).network_address
    values = {"CLIENT": f"{client.address}/32", "GATEWAY": gateway.address, "RESOLVER": str(network + 2)}
    end = "client" if host is client else "nat"
    names = [
        ("/etc/latency/overlay.v4", f"routed-{end}.v4"),
        ("/etc/latency/overlay.v6", f"{end}.v6"),
        ("/etc/systemd/system/latency-filter.service", "latency-filter.service"),
        ("/etc/systemd/system/latency-overlay.service", "latency-overlay.service"),
    ]
    if host is client:
        names.append(("/etc/systemd/resolved.conf.d/latency.conf", "routed-client.resolved"))
    else:
        names.append(("/etc/sysctl.d/60-latency-nat.conf", "nat.sysctl"))
        names.append(("/etc/sysctl.d/61-latency-routed.conf", "routed-nat.sysctl"))
    files = [(path, 0o644, render(source(name), values)) for path, name in names]
    return files if host is client else [*files, ("/etc/modules-load.d/latency-nat.conf", 0o644, "nf_conntrack\n")]


def render(text: str, values: dict[str, str]) -> str:
    """Fill in placeholders; ``@PEER_KEY@`` is left for the host itself."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)
