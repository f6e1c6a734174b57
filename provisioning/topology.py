"""What a deployment shall look like: sites, subnets, peerings, hosts, links and an overlay, typed and validated.

A topology is a TOML file; the built-in ones are files of this package. Everything that AWS would refuse late, or
accept and silently not carry (overlapping address ranges fail a peering after it was created; a default route to a
peering connection drops every packet), is refused here, before the first call.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from daemons.errors import ConfigError
from daemons.service.config import Section, address, load, networks

__all__ = [
    "BUILT_IN",
    "Access",
    "Host",
    "Link",
    "Overlay",
    "Peering",
    "Role",
    "Site",
    "Subnet",
    "Target",
    "Topology",
    "check",
    "deployment_name",
    "load_topology",
]

BUILT_IN = ("backbone", "egress", "full")

Role = Literal["forwarder", "receiver", "probe", "nat", "monitor"]
OverlayKind = Literal["ipip", "wireguard"]

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?")
_DEPLOYMENT = re.compile(r"[a-z](?:[a-z0-9-]{0,22}[a-z0-9])?")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_IMAGE = re.compile(r"debian-1[23]|al2023|ubuntu-24\.04|ami-[0-9a-f]{8,17}")
_STREAM_URL = re.compile(r"wss://[^\s\"]+")
_RESERVED_ADDRESSES = 4
"""AWS keeps the first four addresses of a subnet and the last (VPC user guide, "Subnet sizing")."""


class Subnet(Section, frozen=True):
    """A subnet; ``public`` gives it a route to the internet gateway."""

    name: str
    cidr: str
    public: bool = True
    zone: str = ""


class Site(Section, frozen=True):
    """A VPC in a region."""

    name: str
    region: str
    cidr: str
    subnet: tuple[Subnet, ...]


class Peering(Section, frozen=True):
    """A VPC peering connection; the first site requests, the second accepts."""

    requester: str
    accepter: str

    @property
    def name(self) -> str:
        return f"{self.requester}-{self.accepter}"


class Target(Section, frozen=True):
    """An HTTPS target of a probe host; ``resolve`` pins its name to one address."""

    name: str
    url: str
    resolve: str = ""


class Host(Section, frozen=True):
    """An instance with a fixed private address.

    ``public`` is how the internet reaches it: not at all, by an address that AWS assigns, or by an Elastic IP.
    ``feed`` is what a forwarder or receiver subscribes to; ``target`` what a probe asks.
    """

    name: str
    role: Role
    site: str
    subnet: str
    address: str
    public: Literal["none", "assigned", "elastic"] = "none"
    type: str = "t3.micro"
    image: str = "debian-12"
    volume_gib: int = 8
    precision_time: bool = False
    feed: str = ""
    target: tuple[Target, ...] = ()


class Link(Section, frozen=True):
    """A forwarder-to-receiver link, always made from the forwarder's side."""

    forwarder: str
    receiver: str
    name: str = "backbone"
    port: int = 8080
    transport: Literal["tcp", "udp"] = "tcp"


class Overlay(Section, frozen=True):
    """The tunnel by which a private client leaves through a NAT instance in a peered site."""

    client: str
    gateway: str
    kind: OverlayKind = "ipip"
    network: str = "10.99.0.0/30"

    @property
    def addresses(self) -> tuple[str, str]:
        """The tunnel's inner addresses: (client, gateway)."""
        first, second = list(ipaddress.IPv4Network(self.network).hosts())[:2]
        return str(first), str(second)


class Access(Section, frozen=True):
    """Who may log in: nobody unless ``ssh_from`` names a block and ``ssh_key`` holds a public key."""

    ssh_from: tuple[str, ...] = ()
    ssh_key: str = ""


class Topology(Section, frozen=True):
    """The whole desired state.

    ``s3_endpoint`` is where the hosts fetch their objects instead of AWS's own S3: an emulator's address.
    """

    site: tuple[Site, ...]
    host: tuple[Host, ...]
    peering: tuple[Peering, ...] = ()
    link: tuple[Link, ...] = ()
    overlay: Overlay | None = None
    access: Access = Access()
    owner: str = ""
    expires: str = ""
    s3_endpoint: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region once, in the order of the sites; the first is the home of what belongs to no site."""
        return tuple(dict.fromkeys(site.region for site in self.site))

    def site_of(self, host: Host) -> Site:
        """The site that a host stands in."""
        return self.named_site(host.site)

    def named_site(self, name: str) -> Site:
        """The site of that name."""
        return next(site for site in self.site if site.name == name)

    def named_host(self, name: str) -> Host:
        """The host of that name."""
        return next(host for host in self.host if host.name == name)

    def subnet_of(self, host: Host) -> Subnet:
        """The subnet that a host stands in."""
        return next(subnet for subnet in self.site_of(host).subnet if subnet.name == host.subnet)

    def peers(self, site: str) -> tuple[tuple[Peering, Site], ...]:
        """The peerings of a site, each with the site at its other end."""
        return tuple(
            (peering, self.named_site(peering.accepter if peering.requester == site else peering.requester))
            for peering in self.peering
            if site in (peering.requester, peering.accepter)
        )

    def peered(self, one: str, other: str) -> bool:
        """Whether two sites are one VPC, or joined by a peering (peering is not transitive)."""
        return one == other or any({p.requester, p.accepter} == {one, other} for p in self.peering)

    @property
    def monitors(self) -> tuple[Host, ...]:
        """The hosts that scrape the others."""
        return tuple(host for host in self.host if host.role == "monitor")


def load_topology(name_or_file: str, overrides: Mapping[str, Any] | None = None) -> Topology:
    """Read a built-in topology or a TOML file, and check it.

    Args:
        name_or_file: ``backbone``, ``egress``, ``full`` or the path of a file.
        overrides: a mapping shaped like the file, laid over it.

    Returns:
        A topology that can be built.

    Raises:
        ConfigError: no such topology, or :func:`check` refuses it.
    """
    if name_or_file in BUILT_IN:
        with resources.as_file(resources.files("provisioning") / "topologies" / f"{name_or_file}.toml") as file:
            topology = load(Topology, file, overrides or {})
    elif "/" in name_or_file or name_or_file.endswith(".toml"):
        topology = load(Topology, Path(name_or_file), overrides or {})
    else:
        raise ConfigError(
            "--topology", f"{name_or_file!r} is not built in", f"use {', '.join(BUILT_IN)} or a .toml file's path"
        )
    check(topology)
    return topology


def adjusted(
    topology: Topology,
    *,
    types: Mapping[str, str],
    image: str = "",
    volume_gib: int = 0,
    precision_time: bool = False,
    monitor: bool = False,
    overlay: str = "",
    access: Access | None = None,
    owner: str = "",
    expires: str = "",
) -> Topology:
    """Lay the command line's wishes over a topology and check the result.

    Args:
        topology: the base.
        types: instance type by role or by host name.
        image: an image for every host.
        volume_gib: the root volume's size for every host; 0 keeps the topology's.
        precision_time: put every host into a precision-time placement group.
        monitor: add a monitor host beside the first receiver, or else beside the first host.
        overlay: ``ipip`` or ``wireguard``; empty keeps the topology's.
        access: who may log in; None keeps the topology's.
        owner: the owner tag.
        expires: the expiry tag, RFC 3339.

    Raises:
        ConfigError: an unknown role or host in ``types``, or the result is not valid.
    """
    known = {host.name for host in topology.host} | {host.role for host in topology.host} | {"monitor"}
    for name in types:
        if name not in known:
            raise ConfigError(
                "--instance-type", f"{name!r} is neither a host nor a role", f"use {', '.join(sorted(known))}"
            )
    hosts = list(topology.host)
    if monitor and not topology.monitors:
        beside = next((host for host in hosts if host.role == "receiver"), hosts[0])
        hosts.append(
            Host(
                name="monitor",
                role="monitor",
                site=beside.site,
                subnet=beside.subnet,
                address=str(ipaddress.IPv4Address(beside.address) + 20),
                public="assigned",
                type="t3.small",
            )
        )
    hosts = [
        msgspec.structs.replace(
            host,
            type=types.get(host.name, types.get(host.role, host.type)),
            image=image or host.image,
            volume_gib=volume_gib or host.volume_gib,
            precision_time=precision_time or host.precision_time,
        )
        for host in hosts
    ]
    if overlay and topology.overlay is None:
        raise ConfigError("--overlay", "the topology has no overlay", "use egress or full")
    changed = msgspec.structs.replace(
        topology,
        host=tuple(hosts),
        overlay=msgspec.structs.replace(topology.overlay, kind=overlay)
        if overlay and topology.overlay
        else topology.overlay,
        access=access or topology.access,
        owner=owner or topology.owner,
        expires=expires or topology.expires,
    )
    changed = msgspec.convert(msgspec.to_builtins(changed), Topology)
    check(changed)
    return changed


def deployment_name(text: str) -> str:
    """Check a deployment's name, which becomes part of tags, group names and a bucket name.

    Raises:
        ConfigError: not 1 to 24 lower-case letters, digits and inner hyphens, beginning with a letter.
    """
    if not _DEPLOYMENT.fullmatch(text):
        raise ConfigError(
            "--name", f"{text!r} is not a deployment name", "use up to 24 of a-z, 0-9 and -, letter first"
        )
    return text


def check(topology: Topology) -> None:
    """Refuse a topology that AWS would refuse, or accept and not carry.

    Raises:
        ConfigError: the first thing wrong, with the setting, the value and the remedy.
    """
    if not topology.site:
        raise ConfigError("site", "there is none", "add a [[site]] table")
    _unique("site", (site.name for site in topology.site))
    _unique("host", (host.name for host in topology.host))
    for site in topology.site:
        _check_site(site)
    _check_peerings(topology)
    taken: dict[tuple[str, str], str] = {}
    for host in topology.host:
        _check_host(topology, host)
        if other := taken.setdefault((host.site, host.address), host.name):
            if other != host.name:
                raise ConfigError(f"host.{host.name}.address", f"{host.address} is {other}'s", "use a free address")
    _check_links(topology)
    _check_overlay(topology)
    _check_access(topology.access)


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{what}.name", f"{name!r} is not a name", "use up to 20 of a-z, 0-9 and -, letter first")
        if name in seen:
            raise ConfigError(f"{what}.name", f"{name!r} appears twice", "give every one its own name")
        seen.add(name)


def _block(where: str, text: str, shortest: int = 16, longest: int = 28) -> ipaddress.IPv4Network:
    (network,) = networks(where, (text,))
    if not isinstance(network, ipaddress.IPv4Network):
        raise ConfigError(where, f"{text} is not IPv4", "use an IPv4 block; the project does not use IPv6")
    if not shortest <= network.prefixlen <= longest:
        raise ConfigError(where, f"{text} is /{network.prefixlen}", f"use /{shortest} to /{longest}")
    return network


def _check_site(site: Site) -> None:
    where = f"site.{site.name}"
    if not _REGION.fullmatch(site.region):
        raise ConfigError(f"{where}.region", f"{site.region!r} is not a region", "write one such as ap-northeast-1")
    network = _block(f"{where}.cidr", site.cidr)
    if not network.is_private:
        raise ConfigError(f"{where}.cidr", f"{site.cidr} is not private", "use RFC 1918 addresses")
    if not site.subnet:
        raise ConfigError(f"{where}.subnet", "there is none", "add a [[site.subnet]] table")
    _unique(f"{where}.subnet", (subnet.name for subnet in site.subnet))
    blocks: list[tuple[str, ipaddress.IPv4Network]] = []
    for subnet in site.subnet:
        block = _block(f"{where}.{subnet.name}.cidr", subnet.cidr)
        if not block.subnet_of(network):
            raise ConfigError(
                f"{where}.{subnet.name}.cidr", f"{block} is not inside {network}", "choose a block of the site"
            )
        for name, other in blocks:
            if block.overlaps(other):
                raise ConfigError(
                    f"{where}.{subnet.name}.cidr", f"{block} overlaps {name}'s {other}", "choose another block"
                )
        if subnet.zone and not re.fullmatch(rf"{site.region}[a-z]", subnet.zone):
            raise ConfigError(f"{where}.{subnet.name}.zone", f"{subnet.zone!r} is not in {site.region}", "remove it")
        blocks.append((subnet.name, block))


def _check_peerings(topology: Topology) -> None:
    names = {site.name for site in topology.site}
    pairs: set[frozenset[str]] = set()
    for peering in topology.peering:
        where = f"peering.{peering.name}"
        for end in (peering.requester, peering.accepter):
            if end not in names:
                raise ConfigError(where, f"{end!r} is not a site", f"use one of {', '.join(sorted(names))}")
        pair = frozenset((peering.requester, peering.accepter))
        if len(pair) == 1:
            raise ConfigError(where, "a site cannot peer with itself", "remove it")
        if pair in pairs:
            raise ConfigError(where, "the two sites are peered already", "AWS allows one peering for each pair")
        pairs.add(pair)
        one, other = topology.named_site(peering.requester), topology.named_site(peering.accepter)
        if ipaddress.ip_network(one.cidr).overlaps(ipaddress.ip_network(other.cidr)):
            raise ConfigError(where, f"{one.cidr} overlaps {other.cidr}", "peered sites need distinct address blocks")
    for site in topology.site:
        seen: dict[str, ipaddress.IPv4Network] = {}
        for _, peer in topology.peers(site.name):
            block = ipaddress.IPv4Network(peer.cidr)
            for name, other_block in seen.items():
                if block.overlaps(other_block):
                    raise ConfigError(
                        f"site.{peer.name}.cidr",
                        f"{block} overlaps {name}'s",
                        f"{site.name} peers with both and needs one route",
                    )
            seen[peer.name] = block


def _check_host(topology: Topology, host: Host) -> None:
    where = f"host.{host.name}"
    if host.site not in {site.name for site in topology.site}:
        raise ConfigError(f"{where}.site", f"{host.site!r} is not a site", "name one of the [[site]] tables")
    site = topology.site_of(host)
    if host.subnet not in {subnet.name for subnet in site.subnet}:
        raise ConfigError(
            f"{where}.subnet", f"{host.subnet!r} is not a subnet of {site.name}", "name one of its subnets"
        )
    subnet = topology.subnet_of(host)
    block = ipaddress.IPv4Network(subnet.cidr)
    try:
        own = ipaddress.IPv4Address(host.address)
    except ValueError as error:
        raise ConfigError(
            f"{where}.address", f"{host.address!r} is not an IPv4 address", f"use one of {block}"
        ) from error
    if own not in block:
        raise ConfigError(f"{where}.address", f"{own} is not in {subnet.name} ({block})", "use one of its addresses")
    offset = int(own) - int(block.network_address)
    if offset < _RESERVED_ADDRESSES or own == block.broadcast_address:
        raise ConfigError(
            f"{where}.address", f"{own} is reserved by AWS", "use the fifth address of the subnet or later"
        )
    if host.public != "none" and not subnet.public:
        raise ConfigError(f"{where}.public", f"subnet {subnet.name} is private", "put the host into a public subnet")
    if not _INSTANCE_TYPE.fullmatch(host.type):
        raise ConfigError(f"{where}.type", f"{host.type!r} is not an instance type", "write one such as t3.micro")
    if not _IMAGE.fullmatch(host.image):
        raise ConfigError(
            f"{where}.image",
            f"{host.image!r} is not known",
            "use debian-12, debian-13, al2023, ubuntu-24.04 or an ami- id",
        )
    if not 8 <= host.volume_gib <= 1024:
        raise ConfigError(f"{where}.volume_gib", f"{host.volume_gib} is out of range", "use 8 to 1024")
    if host.precision_time and host.type.startswith(("t2.", "t3.", "t3a.", "t4g.")):
        raise ConfigError(
            f"{where}.precision_time", f"{host.type} has no PTP hardware clock", "use a type such as c7i.large"
        )
    _check_work(topology, host)


def _check_work(topology: Topology, host: Host) -> None:
    where = f"host.{host.name}"
    if host.role == "forwarder" and not host.feed:
        raise ConfigError(f"{where}.feed", "is missing", "a forwarder needs the stream it forwards")
    if host.feed and not _STREAM_URL.fullmatch(host.feed):
        raise ConfigError(f"{where}.feed", f"{host.feed!r} is not a wss:// URL", "give the exchange's stream URL")
    if host.feed and host.role not in ("forwarder", "receiver"):
        raise ConfigError(f"{where}.feed", f"a {host.role} has no feed", "remove it")
    if host.role == "probe" and not host.target:
        raise ConfigError(f"{where}.target", "is missing", "a probe needs at least one [[host.target]]")
    for target in host.target:
        if not re.fullmatch(r"https://[^\s\"]+", target.url):
            raise ConfigError(f"{where}.target.url", f"{target.url!r} is not an https:// URL", "correct it")
    if host.role == "nat" and host.public != "elastic":
        raise ConfigError(f"{where}.public", "a NAT instance needs a fixed outside address", 'write public = "elastic"')
    tunnelled = topology.overlay is not None and topology.overlay.client == host.name
    if host.public == "none" and not tunnelled:
        raise ConfigError(
            f"{where}.public", "the host has no way out", "give it a public address or make it the overlay's client"
        )


def _check_links(topology: Topology) -> None:
    hosts = {host.name: host for host in topology.host}
    for link in topology.link:
        where = f"link.{link.name}"
        for end, role in ((link.forwarder, "forwarder"), (link.receiver, "receiver")):
            if end not in hosts or hosts[end].role != role:
                raise ConfigError(where, f"{end!r} is not a host of role {role}", f"name a {role}")
        if not 1024 <= link.port <= 65535 or link.port in range(9100, 9500):
            raise ConfigError(
                f"{where}.port", f"{link.port} is reserved or out of range", "use 1024 to 65535, not 9100-9499"
            )
        if not topology.peered(hosts[link.forwarder].site, hosts[link.receiver].site):
            raise ConfigError(where, "its sites are not peered", "add the [[peering]]; peering is not transitive")
    for host in topology.host:
        if host.role == "forwarder" and all(link.forwarder != host.name for link in topology.link):
            raise ConfigError(f"host.{host.name}", "no link starts at this forwarder", "add a [[link]]")


def _check_overlay(topology: Topology) -> None:
    nats = [host.name for host in topology.host if host.role == "nat"]
    overlay = topology.overlay
    if overlay is None:
        if nats:
            raise ConfigError(f"host.{nats[0]}", "a NAT instance without an overlay serves nobody", "add [overlay]")
        return
    hosts = {host.name: host for host in topology.host}
    for end in (overlay.client, overlay.gateway):
        if end not in hosts:
            raise ConfigError("overlay", f"{end!r} is not a host", "name two hosts")
    client, gateway = hosts[overlay.client], hosts[overlay.gateway]
    if gateway.role != "nat":
        raise ConfigError("overlay.gateway", f"{gateway.name} is a {gateway.role}", "name a host of role nat")
    if client.public != "none":
        raise ConfigError("overlay.client", f"{client.name} has a public address", "the client must be private")
    if topology.subnet_of(client).public:
        raise ConfigError("overlay.client", f"{client.name} stands in a public subnet", "put it into a private subnet")
    if client.site == gateway.site or not topology.peered(client.site, gateway.site):
        raise ConfigError("overlay", "the two ends are not in peered sites", "add the [[peering]]")
    tunnel = _block("overlay.network", overlay.network, 24, 30)
    for site in topology.site:
        if tunnel.overlaps(ipaddress.IPv4Network(site.cidr)):
            raise ConfigError("overlay.network", f"{tunnel} overlaps {site.name}'s {site.cidr}", "choose another block")


def _check_access(access: Access) -> None:
    for block in networks("access.ssh_from", access.ssh_from):
        if block.prefixlen < (16 if block.version == 4 else 128):
            raise ConfigError(
                "access.ssh_from", f"{block} is too wide", "name your own address, such as 203.0.113.7/32"
            )
        if block.version != 4:
            raise ConfigError("access.ssh_from", f"{block} is not IPv4", "the hosts have IPv4 addresses only")
    if bool(access.ssh_from) != bool(access.ssh_key):
        raise ConfigError("access", "ssh_from and ssh_key go together", "give both or neither")
    if access.ssh_key and not re.fullmatch(r"(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/=]+( .*)?", access.ssh_key.strip()):
        raise ConfigError(
            "access.ssh_key", "is not a public key that EC2 takes", "use ssh-ed25519 or ssh-rsa, one line"
        )


def port_of(url: str) -> int:
    """The TCP port of an ``https://`` or ``wss://`` URL."""
    authority = url.split("://", 1)[1].split("/", 1)[0].rsplit("@", 1)[-1]
    return address(url, authority)[1] if ":" in authority else 443
