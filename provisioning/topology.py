"""What a deployment shall look like: sites, subnets, peerings, hosts, links and an overlay.

The structs of a topology file. ``loading`` reads them and ``validation`` refuses what cannot be built.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from daemons.sections import Section
from daemons.service.settings.config import address

__all__ = [
    "ARCHIVE_PREFIX",
    "Access",
    "Archiving",
    "Host",
    "Link",
    "Overlay",
    "Peering",
    "Proxy",
    "Role",
    "Site",
    "Subnet",
    "Target",
    "Topology",
    "Transit",
    "port_of",
]


ARCHIVE_PREFIX = "archive/"
"""What the names of archives' files begin with in the deployment's own bucket; the host's name follows."""
Role = Literal["forwarder", "receiver", "probe", "nat", "proxy", "monitor"]
OverlayKind = Literal["ipip", "wireguard", "transit"]
Via = Literal["peering", "transit", "accelerator", "internet"]
CpuCredits = Literal["", "standard", "unlimited"]


class Subnet(Section, frozen=True):
    """``[[site.subnet]]``: a part of a site's network.

    Attributes:
        name: of the subnet, within its site.
        cidr: its addresses, within the site's.
        public: it has a route to the internet gateway.
        zone: the availability zone by its name in this account; empty for whichever offers the hosts' types.
        zone_id: the same by its id, which means one place in every account.
    """

    name: str
    cidr: str
    public: bool = True
    zone: str = ""
    zone_id: str = ""


class Site(Section, frozen=True):
    """``[[site]]``: a VPC in a region.

    Attributes:
        name: of the site.
        region: of AWS.
        cidr: its addresses, apart from those of every site that it is peered with.
        transit: a block of them for a transit gateway, which takes a /28 in every zone with hosts.
    """

    name: str
    region: str
    cidr: str
    subnet: tuple[Subnet, ...]
    transit: str = ""


class Peering(Section, frozen=True):
    """``[[peering]]``: a VPC peering connection.

    Attributes:
        requester: the site that asks for it.
        accepter: the site that accepts it.
        multipath_resilience: AWS sends its packets over several paths between two regions; for some pairs of regions,
            and at an extra price.
    """

    requester: str
    accepter: str
    multipath_resilience: bool = False

    @property
    def name(self) -> str:
        return f"{self.requester}-{self.accepter}"


class Transit(Section, frozen=True):
    """``[[transit]]``: the transit gateways of two sites, peered with each other.

    Attributes:
        requester: the site whose gateway asks for it.
        accepter: the site whose gateway accepts it.
    """

    requester: str
    accepter: str

    @property
    def name(self) -> str:
        return f"{self.requester}-{self.accepter}"


class Target(Section, frozen=True):
    """``[[host.target]]``: an HTTPS target of a probe host.

    Attributes:
        name: of the target, a label of its metrics.
        url: what to ask.
        resolve: the address to use for the URL's host instead of resolving it.
    """

    name: str
    url: str
    resolve: str = ""


class Host(Section, frozen=True):
    """``[[host]]``: an instance with a fixed private address.

    Attributes:
        name: of the host.
        role: what it is for.
        site: where it stands.
        subnet: the site's subnet.
        address: its private address.
        second_address: another private address, for links through a transit gateway where a peering has the first.
        public: how the internet reaches it: not at all, by an address that AWS assigns, or by an Elastic IP.
        type: of the instance.
        image: the operating system.
        volume_gib: the size of its disk.
        precision_time: use the hardware clock of instances that have one.
        placement: ``cluster`` for a placement group that has the subnet's hosts near to each other.
        cpu_credits: of burstable types; empty for the role's own mode.
        feed: the URL that a forwarder or receiver subscribes to.
    """

    name: str
    role: Role
    site: str
    subnet: str
    address: str
    second_address: str = ""
    public: Literal["none", "assigned", "elastic"] = "none"
    type: str = "t3.micro"
    image: str = "debian-12"
    volume_gib: int = 8
    precision_time: bool = False
    placement: Literal["", "cluster"] = ""
    cpu_credits: CpuCredits = ""
    feed: str = ""
    target: tuple[Target, ...] = ()

    @property
    def credit_mode(self) -> CpuCredits:
        """How a burstable type is launched; empty for other types.

        In standard mode a T3 begins without credits (EC2 guide, "Launch credits") and is held at its baseline, a tenth
        of a t3.micro's CPUs, which would throttle what is measured. A monitor may wait.
        """
        if not re.match(r"t\d", self.type):
            return ""
        return self.cpu_credits or ("standard" if self.role == "monitor" else "unlimited")


class Link(Section, frozen=True):
    """``[[link]]``: from a forwarder to a receiver, always made from the forwarder's side.

    Attributes:
        forwarder: the host that sends.
        receiver: the host that listens.
        name: of the path.
        port: of the receiver.
        transport: what carries the events.
        via: the network between the two: a VPC peering, transit gateways, a Global Accelerator before the receiver, or
            the internet.
    """

    forwarder: str
    receiver: str
    name: str = "backbone"
    port: int = 8080
    transport: Literal["tcp", "udp"] = "tcp"
    via: Via = "peering"


class Overlay(Section, frozen=True):
    """``[overlay]``: the way by which a private client leaves through a NAT instance in another site.

    Attributes:
        client: the host that leaves by it.
        gateway: the host of role nat at its other end.
        kind: a tunnel over a peering, plain IP in IP or encrypted by WireGuard; or the sites' transit gateways, which
            lead to the NAT instance's interface without a tunnel.
        network: a tunnel's inner addresses, a block of four.
    """

    client: str
    gateway: str
    kind: OverlayKind = "ipip"
    network: str = "10.99.0.0/30"

    @property
    def tunnel(self) -> bool:
        """Whether it is a tunnel, and not routes alone."""
        return self.kind != "transit"

    @property
    def addresses(self) -> tuple[str, str]:
        """The tunnel's inner addresses: (client, gateway)."""
        first, second = list(ipaddress.IPv4Network(self.network).hosts())[:2]
        return str(first), str(second)


class Proxy(Section, frozen=True):
    """``[proxy]``: the HTTP proxy in a peered site by which a private client leaves; it has no other way and no tunnel.

    Attributes:
        client: the host that leaves by it.
        gateway: the host of role proxy.
        port: where the proxy listens.
        names: what the client may reach by it beside its targets and its bucket: ``NAME`` or ``NAME:PORT``.
    """

    client: str
    gateway: str
    port: int = 3128
    names: tuple[str, ...] = ()


class Access(Section, frozen=True):
    """``[access]``: who may log in; nobody unless both keys are given.

    Attributes:
        ssh_from: blocks of addresses that may connect.
        ssh_key: a public key, as a line of authorized_keys.
    """

    ssh_from: tuple[str, ...] = ()
    ssh_key: str = ""


class Archiving(Section, frozen=True):
    """``[archive]``: receivers keep every event, and copy finished files to a bucket.

    Attributes:
        upload: ``s3://BUCKET/PREFIX`` of another bucket; empty for the deployment's own.
        upload_region: of that bucket.
        bucket_days: how long the deployment's own bucket keeps a file, by a life-cycle rule.
        host_gigabytes: how much of its disk a receiver's files may take.
    """

    upload: str = ""
    upload_region: str = ""
    bucket_days: int = 90
    host_gigabytes: Annotated[float, Meta(gt=0, le=1e9)] = 2.0

    def place(self, host: str, own_bucket: str) -> tuple[str, str]:
        """Where a receiver's files go: the bucket, and what their names begin with, which ends in a slash."""
        if not self.upload:
            return own_bucket, f"{ARCHIVE_PREFIX}{host}/"
        bucket, _, prefix = self.upload.removeprefix("s3://").partition("/")
        return bucket, "/".join(filter(None, (prefix.strip("/"), host))) + "/"


class Topology(Section, frozen=True):
    """The beginning of the file.

    Attributes:
        owner: who answers for the deployment; a tag of everything in it.
        expires: when it may be removed by ``provision reap``, a date, or a time of RFC 3339.
        stop_at_expiry: the hosts power themselves off when that is past.
        tags: further tags of everything in it, such as an organisation demands.
        s3_endpoint: where the hosts fetch their objects instead of AWS's own S3: an emulator's address.
    """

    site: tuple[Site, ...]
    host: tuple[Host, ...]
    peering: tuple[Peering, ...] = ()
    transit: tuple[Transit, ...] = ()
    link: tuple[Link, ...] = ()
    overlay: Overlay | None = None
    proxy: Proxy | None = None
    archive: Archiving | None = None
    access: Access = Access()
    owner: str = ""
    expires: str = ""
    stop_at_expiry: bool = False
    tags: dict[str, str] = msgspec.field(default_factory=dict)
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

    def transits(self, site: str) -> tuple[tuple[Transit, Site], ...]:
        """The peered transit gateways of a site, each with the site at the other end."""
        return tuple(
            (transit, self.named_site(transit.accepter if transit.requester == site else transit.requester))
            for transit in self.transit
            if site in (transit.requester, transit.accepter)
        )

    def ends(self, link: Link, outside: Mapping[str, str] | None = None) -> tuple[str, str]:
        """The addresses that a link goes between, the forwarder's first.

        A route table has one target for a block, so a host that a peering and a transit gateway both reach has an
        address for each. Addresses that AWS chooses are taken from ``outside``, by the keys of what has them; without
        that the keys stand for them. An accelerator keeps the addresses of its clients.
        """
        if link.via in ("accelerator", "internet"):
            keys = f"address/{link.forwarder}", f"{'address' if link.via == 'internet' else link.via}/{link.receiver}"
            return (keys[0], keys[1]) if outside is None else (outside[keys[0]], outside[keys[1]])
        hosts = (self.named_host(link.forwarder), self.named_host(link.receiver))
        if link.via == "transit" and all(host.second_address for host in hosts):
            return hosts[0].second_address, hosts[1].second_address
        return hosts[0].address, hosts[1].address

    def outside(self, host: Host) -> tuple[str, ...]:
        """The keys of the addresses that AWS chooses and a host's configuration names."""
        ends = (self.ends(link) for link in self.link if host.name in (link.forwarder, link.receiver))
        return tuple(sorted({end for pair in ends for end in pair if "/" in end}))

    @property
    def fixed(self) -> frozenset[str]:
        """The hosts whose Elastic IPs are made before them, for others to know."""
        keys = {key for host in self.host for key in self.outside(host)}
        return frozenset(key.partition("/")[2] for key in keys if key.startswith("address/"))

    @property
    def gateways(self) -> dict[str, str]:
        """The host by which each private host leaves, by the tunnel or by the proxy."""
        return {way.client: way.gateway for way in (self.overlay, self.proxy) if way is not None}

    def proxy_of(self, host: Host) -> str:
        """The URL of the proxy by which a host leaves; empty where it has another way."""
        if self.proxy is None or host.name != self.proxy.client:
            return ""
        return f"http://{self.named_host(self.proxy.gateway).address}:{self.proxy.port}"

    def overlay_ends(self, host: Host) -> tuple[str, str]:
        """The addresses by which the overlay's ends know each other, the host's own first."""
        assert self.overlay is not None
        client, gateway = (self.named_host(name).address for name in (self.overlay.client, self.overlay.gateway))
        pair = self.overlay.addresses if self.overlay.tunnel else (client, gateway)
        return pair if host.name == self.overlay.client else (pair[1], pair[0])

    @property
    def monitors(self) -> tuple[Host, ...]:
        """The hosts that scrape the others."""
        return tuple(host for host in self.host if host.role == "monitor")


def port_of(url: str) -> int:
    """The TCP port of an ``https://`` or ``wss://`` URL."""
    authority = url.split("://", 1)[1].split("/", 1)[0].rsplit("@", 1)[-1]
    return address(url, authority)[1] if ":" in authority else 443
