"""Refuse a topology that AWS would refuse late, or accept and silently not carry.

Overlapping address ranges fail a peering after it was created; a private host without a tunnel boots and never
reports. Such things are told here, before the first call.
"""

import base64
import binascii
import datetime as dt
import ipaddress
import re
from collections.abc import Iterable

from daemons.errors import ConfigError
from daemons.service.settings.config import networks
from provisioning.proxy import host_and_port
from provisioning.rendered import check_rendered
from provisioning.tags import check_tags
from provisioning.topology import Access, Host, Link, Overlay, Proxy, Site, Subnet, Topology
from provisioning.transits import check_transits

__all__ = ["RESERVED_ADDRESSES", "check", "expiry", "zone_id_prefix"]

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?")
_PRIVATE = tuple(ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""RFC 1918, section 3. What else is not global (link-local, documentation, shared space) has a use of its own there."""
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_IMAGE = re.compile(r"debian-1[23]|ubuntu-24\.04|ami-[0-9a-f]{8,17}")
_DESTINATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_STREAM_URL = re.compile(r"wss://[^\s\"]+")
_LENGTH_OCTETS = 4
RESERVED_ADDRESSES = 4
"""AWS keeps the first four addresses of a subnet and the last (VPC user guide, "Subnet sizing")."""


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
    check_transits(topology)
    taken: dict[tuple[str, str], str] = {}
    for host in topology.host:
        _check_host(topology, host)
        for key, address in (("address", host.address), ("second_address", host.second_address)):
            if (
                address
                and (other := taken.setdefault((host.site, address), f"{host.name}.{key}")) != f"{host.name}.{key}"
            ):
                raise ConfigError(f"host.{host.name}.{key}", f"{address} is {other}", "use a free address")
    _check_links(topology)
    _check_overlay(topology)
    _check_proxy(topology)
    _check_archive(topology)
    _check_access(topology.access)
    check_tags(topology.owner, topology.tags)
    _check_end(topology)
    check_rendered(topology)


def _check_archive(topology: Topology) -> None:
    archive = topology.archive
    if archive is None:
        return
    receivers = [host for host in topology.host if host.role == "receiver"]
    if not receivers:
        raise ConfigError("archive", "no host is a receiver", "remove the table: receivers alone keep events")
    if archive.bucket_days < 1:
        raise ConfigError("archive.bucket_days", f"{archive.bucket_days} is no number of days", "write 1 or more")
    if archive.upload_region and not archive.upload:
        raise ConfigError("archive.upload_region", "the deployment's own bucket has its region", "remove it")
    if archive.upload and not archive.upload_region:
        raise ConfigError("archive.upload_region", "is missing", f"name the region of {archive.upload}")
    for host in receivers:
        # The other half is the system's, and the software's of two releases.
        if archive.host_gigabytes > host.volume_gib / 2:
            raise ConfigError(
                "archive.host_gigabytes",
                f"{archive.host_gigabytes:g} are not within half of {host.name}'s disk of {host.volume_gib} GiB",
                f"raise host.{host.name}.volume_gib, or write less",
            )


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
    # The text goes to EC2 as it is, and is compared with what EC2 gives back.
    if text != str(network):
        raise ConfigError(where, f"{text} is not how EC2 writes it", f"write {network}")
    return network


def _check_site(site: Site) -> None:
    where = f"site.{site.name}"
    if not _REGION.fullmatch(site.region):
        raise ConfigError(f"{where}.region", f"{site.region!r} is not a region", "write one such as ap-northeast-1")
    network = _block(f"{where}.cidr", site.cidr)
    if not any(network.subnet_of(block) for block in _PRIVATE):
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
        _check_zone(f"{where}.{subnet.name}", site.region, subnet)
        blocks.append((subnet.name, block))


def _check_zone(where: str, region: str, subnet: Subnet) -> None:
    if subnet.zone and not re.fullmatch(rf"{region}[a-z]", subnet.zone):
        raise ConfigError(f"{where}.zone", f"{subnet.zone!r} is not in {region}", "remove it")
    if subnet.zone and subnet.zone_id:
        raise ConfigError(
            f"{where}.zone_id", "the zone has its name too", "give one of them; ids hold in every account"
        )
    prefix = zone_id_prefix(region)
    if subnet.zone_id and not re.fullmatch(rf"{prefix}-az\d+", subnet.zone_id):
        raise ConfigError(
            f"{where}.zone_id", f"{subnet.zone_id!r} is not in {region}", f"write one such as {prefix}-az1"
        )


def zone_id_prefix(region: str) -> str:
    """What the ids of a region's zones begin with: ``apne1`` of ap-northeast-1 (RAM guide, "Availability Zone IDs")."""
    first, *middle, number = region.split("-")
    words = re.findall("north|south|east|west|central|gov", "".join(middle))
    return first + "".join(word[0] for word in words) + number


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
        if peering.multipath_resilience and one.region == other.region:
            raise ConfigError(
                f"{where}.multipath_resilience",
                f"both sites are in {one.region}",
                "it is between regions; leave it out",
            )
        if ipaddress.ip_network(one.cidr).overlaps(ipaddress.ip_network(other.cidr)):
            raise ConfigError(where, f"{one.cidr} overlaps {other.cidr}", "peered sites need distinct address blocks")
    for site in topology.site:
        _check_routes(topology, site)


def _check_routes(topology: Topology, site: Site) -> None:
    """Two peers of one site need distinct blocks even when they do not peer with each other."""
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
    _check_address(f"{where}.address", host.address, subnet)
    if host.second_address:
        _check_address(f"{where}.second_address", host.second_address, subnet)
    if host.public != "none" and not subnet.public:
        raise ConfigError(f"{where}.public", f"subnet {subnet.name} is private", "put the host into a public subnet")
    _check_machine(where, host)
    _check_work(topology, host)


def _check_address(where: str, address: str, subnet: Subnet) -> None:
    block = ipaddress.IPv4Network(subnet.cidr)
    try:
        own = ipaddress.IPv4Address(address)
    except ValueError as error:
        raise ConfigError(where, f"{address!r} is not an IPv4 address", f"use one of {block}") from error
    if own not in block:
        raise ConfigError(where, f"{own} is not in {subnet.name} ({block})", "use one of its addresses")
    offset = int(own) - int(block.network_address)
    if offset < RESERVED_ADDRESSES or own == block.broadcast_address:
        raise ConfigError(where, f"{own} is reserved by AWS", "use the fifth address of the subnet or later")


def _check_machine(where: str, host: Host) -> None:
    if not _INSTANCE_TYPE.fullmatch(host.type):
        raise ConfigError(f"{where}.type", f"{host.type!r} is not an instance type", "write one such as t3.micro")
    if not _IMAGE.fullmatch(host.image):
        raise ConfigError(
            f"{where}.image",
            f"{host.image!r} is not known",
            "use debian-12, debian-13, ubuntu-24.04 or an ami- id; Amazon Linux's Python is too old",
        )
    if not 8 <= host.volume_gib <= 1024:
        raise ConfigError(f"{where}.volume_gib", f"{host.volume_gib} is out of range", "use 8 to 1024")
    if host.precision_time and not host.image.startswith("ami-"):
        raise ConfigError(
            f"{where}.precision_time",
            f"the kernel of {host.image} has no ENA PTP clock",
            "leave it out, or give the ami- id of an image whose ena driver makes /dev/ptp_ena",
        )
    if host.placement and host.precision_time:
        raise ConfigError(
            f"{where}.placement", "a host stands in one placement group", "leave out placement or precision_time"
        )
    # EC2 guide, "Placement strategies": what a cluster placement group does not take.
    if host.placement and re.match(r"t\d|mac|m7i-flex", host.type):
        raise ConfigError(
            f"{where}.placement",
            f"{host.type} cannot stand in a cluster placement group",
            "use a type such as c7i.large",
        )
    if host.precision_time and host.type.startswith(("t2.", "t3.", "t3a.", "t4g.")):
        raise ConfigError(
            f"{where}.precision_time", f"{host.type} has no PTP hardware clock", "use a type such as c7i.large"
        )


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
    if host.role == "proxy" and host.public != "elastic":
        raise ConfigError(f"{where}.public", "a proxy needs a fixed outside address", 'write public = "elastic"')
    if host.public == "none" and host.name not in topology.gateways:
        raise ConfigError(
            f"{where}.public",
            "the host has no way out",
            "give it a public address, or make it the client of the overlay or of the proxy",
        )


def _check_links(topology: Topology) -> None:
    hosts = {host.name: host for host in topology.host}
    for link in topology.link:
        where = f"link.{link.name}"
        for end, role in ((link.forwarder, "forwarder"), (link.receiver, "receiver")):
            if end not in hosts or hosts[end].role != role:
                raise ConfigError(where, f"{end!r} is not a host of role {role}", f"name a {role}")
        _check_port(f"{where}.port", link.port)
        _check_way(topology, where, link)
    for host in topology.host:
        if host.role == "forwarder" and all(link.forwarder != host.name for link in topology.link):
            raise ConfigError(f"host.{host.name}", "no link starts at this forwarder", "add a [[link]]")


def _check_way(topology: Topology, where: str, link: Link) -> None:
    ends = topology.named_host(link.forwarder), topology.named_host(link.receiver)
    sites = ends[0].site, ends[1].site
    if link.via == "peering" and not topology.peered(*sites):
        raise ConfigError(where, "its sites are not peered", "add the [[peering]]; peering is not transitive")
    if link.via in ("accelerator", "internet"):
        wanted = ends if link.via == "internet" else ends[:1]
        if lacking := [host.name for host in wanted if host.public != "elastic"]:
            raise ConfigError(
                f"host.{lacking[0]}.public", f"its link {link.name} needs a fixed outside address", 'write "elastic"'
            )
        if not topology.subnet_of(ends[1]).public:
            raise ConfigError(where, f"{ends[1].name} stands in a private subnet", "put it into a public subnet")
    if link.via == "transit":
        if sites[1] not in {other.name for _, other in topology.transits(sites[0])}:
            raise ConfigError(where, "no transit gateways join its sites", "add the [[transit]]; it is not transitive")
        lacking = [host.name for host in ends if not host.second_address]
        if lacking and (topology.peered(*sites) or len(lacking) == 1):
            raise ConfigError(
                f"host.{lacking[0]}.second_address",
                "is missing: its first is reached otherwise, and a block has one route",
                "give both hosts of the link a second address of their subnets",
            )


def _check_overlay(topology: Topology) -> None:
    nats = [host.name for host in topology.host if host.role == "nat"]
    overlay = topology.overlay
    if overlay is None:
        if nats:
            raise ConfigError(f"host.{nats[0]}", "a NAT instance without an overlay serves nobody", "add [overlay]")
        return
    _check_ends(topology, "overlay", overlay, "nat")
    if not overlay.tunnel:
        client, gateway = topology.named_host(overlay.client), topology.named_host(overlay.gateway)
        if gateway.site not in {other.name for _, other in topology.transits(client.site)}:
            raise ConfigError("overlay.kind", "no transit gateways join the two ends' sites", "add the [[transit]]")
        return
    tunnel = _block("overlay.network", overlay.network, 24, 30)
    for site in topology.site:
        if tunnel.overlaps(ipaddress.IPv4Network(site.cidr)):
            raise ConfigError("overlay.network", f"{tunnel} overlaps {site.name}'s {site.cidr}", "choose another block")


def _check_proxy(topology: Topology) -> None:
    proxies = [host.name for host in topology.host if host.role == "proxy"]
    proxy = topology.proxy
    if proxy is None:
        if proxies:
            raise ConfigError(f"host.{proxies[0]}", "a proxy without a client serves nobody", "add [proxy]")
        return
    _check_ends(topology, "proxy", proxy, "proxy")
    if others := [name for name in proxies if name != proxy.gateway]:
        raise ConfigError(f"host.{others[0]}", "a proxy without a client serves nobody", "remove it")
    if topology.overlay is not None and topology.overlay.client == proxy.client:
        raise ConfigError(
            "proxy.client", f"{proxy.client} leaves by the overlay already", "give each a client of its own"
        )
    _check_port("proxy.port", proxy.port)
    for name in proxy.names:
        if not _DESTINATION.fullmatch(name) or not 1 <= host_and_port(name)[1] <= 65535:
            raise ConfigError("proxy.names", f"{name!r} is no name", "write NAME or NAME:PORT, such as ipinfo.io")


def _check_port(where: str, port: int) -> None:
    if not 1024 <= port <= 65535 or port in range(9100, 9500):
        raise ConfigError(where, f"{port} is reserved or out of range", "use 1024 to 65535, not 9100-9499")


def _check_ends(topology: Topology, where: str, way: Overlay | Proxy, role: str) -> None:
    """Refuse a way out whose two ends cannot be what they must be."""
    hosts = {host.name: host for host in topology.host}
    for end in (way.client, way.gateway):
        if end not in hosts:
            raise ConfigError(where, f"{end!r} is not a host", "name two hosts")
    client, gateway = hosts[way.client], hosts[way.gateway]
    if gateway.role != role:
        raise ConfigError(f"{where}.gateway", f"{gateway.name} is a {gateway.role}", f"name a host of role {role}")
    if client.role != "probe" and where == "proxy":
        raise ConfigError("proxy.client", f"{client.name} is a {client.role}", "only a probe asks through a proxy")
    if client.public != "none":
        raise ConfigError(f"{where}.client", f"{client.name} has a public address", "the client must be private")
    if topology.subnet_of(client).public:
        raise ConfigError(f"{where}.client", f"{client.name} stands in a public subnet", "put it into a private subnet")
    routed = isinstance(way, Overlay) and not way.tunnel
    if client.site == gateway.site or not (routed or topology.peered(client.site, gateway.site)):
        raise ConfigError(where, "the two ends are not in peered sites", "add the [[peering]]")


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
    if access.ssh_key and not _is_public_key(access.ssh_key.strip()):
        raise ConfigError(
            "access.ssh_key", "is not a public key that EC2 takes", "use ssh-ed25519 or ssh-rsa, one line"
        )


def _is_public_key(text: str) -> bool:
    """Whether EC2 takes it: a key may be cut short on its way, and EC2 says so only when networks stand already.

    The blob is of fields with their lengths before them, the first being the algorithm's name (RFC 4253, section 6.6;
    RFC 8709, section 4: an Ed25519 key has 32 octets).
    """
    if not (parts := re.fullmatch(r"(ssh-ed25519|ssh-rsa) ([A-Za-z0-9+/]+={0,2})( .*)?", text)):
        return False
    try:
        rest = base64.b64decode(parts[2], validate=True)
    except binascii.Error:
        return False
    fields = []
    while len(rest) >= _LENGTH_OCTETS:
        length = int.from_bytes(rest[:_LENGTH_OCTETS])
        fields.append(rest[_LENGTH_OCTETS : _LENGTH_OCTETS + length])
        if len(fields[-1]) < length:
            return False
        rest = rest[_LENGTH_OCTETS + length :]
    if rest or not fields or fields[0] != parts[1].encode():
        return False
    return len(fields) == 3 if parts[1] == "ssh-rsa" else [len(value) for value in fields[1:]] == [32]


def _check_end(topology: Topology) -> None:
    if topology.expires:
        expiry(topology.expires)
    elif topology.stop_at_expiry:
        raise ConfigError("--stop-at-expiry", "there is no expiry", "give --expires too")


def expiry(text: str) -> dt.datetime:
    """Read an expiry: a date, which ends with its day in UTC, or a moment with its offset.

    Raises:
        ConfigError: it is neither.
    """
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            day = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
            return day + dt.timedelta(days=1)
        moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            "--expires", f"{text!r} is not a date", "write 2026-12-31 or 2026-12-31T18:00:00+00:00"
        ) from error
    if moment.tzinfo is None:
        raise ConfigError("--expires", f"{text!r} has no time zone", "add an offset such as Z or +09:00")
    return moment
