"""What a topology costs by item, from a dated price table, and a NAT instance beside a NAT gateway."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources

from daemons.sections import Section
from daemons.service.settings.config import load
from provisioning.errors import ProvisionError
from provisioning.model import Found
from provisioning.topology import Host, Link, Topology

__all__ = ["Estimate", "Item", "Traffic", "estimate", "hour_of", "prices"]

HOURS_PER_DAY = 24
HOURS_PER_30_DAYS = 720
_DAYS = 30
_FILES_AN_HOUR = 4
"""Of a path: a quarter of an hour is a file's span unless a receiver is told otherwise."""


class RegionPrices(Section, frozen=True):
    """One region's rates in USD; ``unverified`` names those that are old or inferred."""

    name: str
    inter_region_gb: float
    internet_gb: float
    nat_gateway_hour: float
    nat_gateway_gb: float
    volume_gb_30_days: float
    transit_attachment_hour: float
    transit_gb: float
    s3_gb_30_days: float
    s3_write_1000: float
    instance_hour: dict[str, float]
    unverified: tuple[str, ...] = ()


class AcceleratorPrices(Section, frozen=True):
    """Global Accelerator's rates in USD, beside the traffic itself."""

    hour: float
    gb: float
    unverified: tuple[str, ...] = ()


class Burstable(Section, frozen=True):
    """What a burstable type may use without credits, as a share of its CPUs, and a CPU's surplus in USD an hour."""

    cpus: int
    baseline: float
    surplus_cpu_hour: float

    @property
    def surplus_hour(self) -> float:
        """What the type costs at most in unlimited mode beside its own price: all CPUs busy for an hour."""
        return self.cpus * (1.0 - self.baseline) * self.surplus_cpu_hour


class Prices(Section, frozen=True):
    """The price table."""

    date: str
    currency: str
    public_address_hour: float
    free_internet_gb_per_30_days: float
    region: dict[str, RegionPrices]
    burstable: dict[str, Burstable]
    accelerator: AcceleratorPrices
    multipath_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """GB in 30 days: over each link to its receiver, through overlay and proxy each way, from each host outwards.

    ``by_link`` names the links that carry another amount than the others; ``archive_gb`` goes from each receiver to the
    bucket.
    """

    link_gb: float = 0.0
    overlay_gb: float = 0.0
    internet_gb: float = 0.0
    proxy_gb: float = 0.0
    by_link: Mapping[str, float] = field(default_factory=dict)
    archive_gb: float = 0.0

    def over(self, link: str) -> float:
        """GB over a link."""
        return self.by_link.get(link, self.link_gb)


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the estimate. ``hour`` is None for traffic, which has ``per_gb`` and the wanted amount instead.

    Both are None where a rate is not known: such a line is in no sum.
    """

    what: str
    where: str
    hour: float | None
    per_gb: float | None
    gb_per_30_days: float
    verified: bool = True

    @property
    def known(self) -> bool:
        """Whether the table has its rate."""
        return self.hour is not None or self.per_gb is not None

    @property
    def per_30_days(self) -> float:
        return (self.hour or 0.0) * HOURS_PER_30_DAYS + (self.per_gb or 0.0) * self.gb_per_30_days


@dataclass(frozen=True, slots=True)
class Estimate:
    """All items, their date, and the comparison of NAT instance and NAT gateway where there is a NAT instance.

    ``free_internet_gb`` is the account's monthly allowance, which is not subtracted: other things may use it up.
    ``surplus_hour`` is what burstable hosts in unlimited mode may cost beside, while their CPUs are wholly busy.
    """

    date: str
    currency: str
    free_internet_gb: float
    items: tuple[Item, ...]
    nat_instance: tuple[Item, ...] = ()
    nat_gateway: tuple[Item, ...] = ()
    surplus_hour: float = 0.0

    @property
    def hour(self) -> float:
        """Everything that runs, without traffic."""
        return sum(item.hour or 0.0 for item in self.items)

    @property
    def per_30_days(self) -> float:
        """Everything, with traffic."""
        return sum(item.per_30_days for item in self.items)


def prices() -> Prices:
    """The bundled table."""
    with resources.as_file(resources.files("provisioning") / "prices.toml") as file:
        return load(Prices, file, {})


def estimate(topology: Topology, traffic: Traffic) -> Estimate:
    """Price a topology.

    Raises:
        ProvisionError: the table lacks a region or an instance type.
    """
    table = prices()
    items: list[Item] = []
    nat_instance: list[Item] = []
    nat_gateway: list[Item] = []
    for host in topology.host:
        region = topology.site_of(host).region
        rates = _rates(table, region)
        if host.type not in rates.instance_hour:
            raise ProvisionError(
                f"host/{host.name}: no price for {host.type} in {region}; known are {', '.join(rates.instance_hour)}"
            )
        own = [
            Item(f"{host.name}: {host.type}", region, rates.instance_hour[host.type], None, 0.0),
            Item(
                f"{host.name}: volume {host.volume_gib} GiB",
                region,
                host.volume_gib * rates.volume_gb_30_days / HOURS_PER_30_DAYS,
                None,
                0.0,
                "volume_gb_30_days" not in rates.unverified,
            ),
        ]
        if host.public != "none":
            own.append(Item(f"{host.name}: public address", region, table.public_address_hour, None, 0.0))
            passed_on = {"nat": traffic.overlay_gb, "proxy": traffic.proxy_gb}
            out_gb = traffic.internet_gb + passed_on.get(host.role, 0.0)
            own.append(Item(f"{host.name}: to the internet", region, None, rates.internet_gb, out_gb))
        items += own
        if host.role == "nat":
            nat_instance += own[:3]
            nat_gateway += [
                Item(
                    "NAT gateway", region, rates.nat_gateway_hour, None, 0.0, "nat_gateway_hour" not in rates.unverified
                ),
                Item("NAT gateway: public address", region, table.public_address_hour, None, 0.0),
                Item(
                    "NAT gateway: processing",
                    region,
                    None,
                    rates.nat_gateway_gb,
                    # The gateway charges for both directions.
                    2 * traffic.overlay_gb,
                    "nat_gateway_gb" not in rates.unverified,
                ),
            ]
    items += _attachment_items(topology, table)
    # An accelerator costs by the hour whether it is enabled or not.
    reached = dict.fromkeys(link.receiver for link in topology.link if link.via == "accelerator")
    items += [Item(f"accelerator of {name}", "", table.accelerator.hour, None, 0.0) for name in reached]
    items += _peering_items(topology, table, traffic)
    items += _archive_items(topology, table, traffic)
    return Estimate(
        table.date,
        table.currency,
        table.free_internet_gb_per_30_days,
        tuple(items),
        tuple(nat_instance),
        tuple(nat_gateway),
        sum(_surplus_hour(table, host) for host in topology.host),
    )


def _surplus_hour(table: Prices, host: Host) -> float:
    if host.credit_mode != "unlimited":
        return 0.0
    if host.type not in table.burstable:
        raise ProvisionError(
            f"host/{host.name}: no price of CPU credits for {host.type}; known are {', '.join(table.burstable)}"
        )
    return table.burstable[host.type].surplus_hour


def hour_of(resources: Iterable[Found]) -> float:
    """What resources that stand cost an hour, without traffic; what is stopped costs its volume and address.

    Raises:
        ProvisionError: the table lacks a region or an instance type.
    """
    table = prices()
    total = 0.0
    for found in resources:
        if found.kind == "accelerator":
            total += table.accelerator.hour
            continue
        rates = _rates(table, found.region)
        if found.kind == "instance" and found.facts["State"]["Name"] in ("pending", "running"):
            kind = found.facts["InstanceType"]
            if kind not in rates.instance_hour:
                raise ProvisionError(f"{found.key}: no price for {kind} in {found.region}")
            total += rates.instance_hour[kind]
            if any(item.get("AssociatePublicIpAddress") for item in found.facts.get("NetworkInterfaces", [])):
                total += table.public_address_hour
        elif found.kind == "volume":
            total += found.facts["Size"] * rates.volume_gb_30_days / HOURS_PER_30_DAYS
        elif found.kind == "elastic-ip":
            total += table.public_address_hour
        elif found.kind == "transit-attachment":
            total += rates.transit_attachment_hour
        elif found.kind == "transit-peering":
            there = _rates(table, found.facts["AccepterTgwInfo"]["Region"])
            total += rates.transit_attachment_hour + there.transit_attachment_hour
    return total


def _attachment_items(topology: Topology, table: Prices) -> list[Item]:
    """Transit gateways cost by their attachments: of VPCs, and a peering at either end."""
    items = []
    for site in topology.site:
        rates = _rates(table, site.region)
        verified = "transit_attachment_hour" not in rates.unverified
        peerings = topology.transits(site.name)
        names = [f"VPC of {site.name}"] if peerings else []
        names += [f"{site.name} to {other.name}" for _, other in peerings]
        items += [
            Item(f"transit gateway: {name}", site.region, rates.transit_attachment_hour, None, 0.0, verified)
            for name in names
        ]
    return items


def _peering_items(topology: Topology, table: Prices, traffic: Traffic) -> list[Item]:
    items = []
    for link in topology.link:
        source = topology.site_of(topology.named_host(link.forwarder)).region
        target = topology.site_of(topology.named_host(link.receiver)).region
        if link.via in ("accelerator", "internet"):
            out = _rates(table, source).internet_gb
            items.append(Item(f"link {link.name}: to the internet", source, None, out, traffic.over(link.name)))
        else:
            items.append(_between(table, f"link {link.name}", source, target, traffic.over(link.name)))
        if link.via == "peering" and _multipath(topology, link):
            told, rate = f"link {link.name}: multipath resilience", table.multipath_gb
            items.append(Item(told, source, None, rate, traffic.over(link.name), verified=False))
        if link.via == "accelerator":
            told, verified = f"link {link.name}: accelerator", "gb" not in table.accelerator.unverified
            items.append(Item(told, source, None, table.accelerator.gb, traffic.over(link.name), verified))
        if link.via == "transit":
            items.append(_through_gateway(table, f"link {link.name}", source, traffic.over(link.name)))
    ways = (("overlay", topology.overlay, traffic.overlay_gb), ("proxy", topology.proxy, traffic.proxy_gb))
    for name, way, gb in ways:
        if way is not None:
            client, gateway = (topology.site_of(topology.named_host(end)).region for end in (way.client, way.gateway))
            items.append(_between(table, f"{name} out", client, gateway, gb))
            items.append(_between(table, f"{name} back", gateway, client, gb))
    if topology.overlay is not None and not topology.overlay.tunnel:
        for told, end in (("out", topology.overlay.client), ("back", topology.overlay.gateway)):
            source = topology.site_of(topology.named_host(end)).region
            items.append(_through_gateway(table, f"overlay {told}", source, traffic.overlay_gb))
    return items


def _multipath(topology: Topology, link: Link) -> bool:
    """Whether a link's peering has its packets sent over several physical paths, which costs more by the GB."""
    ends = {topology.named_host(name).site for name in (link.forwarder, link.receiver)}
    return any(
        peering.multipath_resilience and {peering.requester, peering.accepter} == ends for peering in topology.peering
    )


def _archive_items(topology: Topology, table: Prices, traffic: Traffic) -> list[Item]:
    """What archives cost: the way to the bucket, writing, and as many days as its rule keeps each GB."""
    archive = topology.archive
    if archive is None:
        return []
    home = archive.upload_region or topology.regions[0]
    items = []
    for host in (host for host in topology.host if host.role == "receiver"):
        source = topology.site_of(host).region
        if source != home:
            items.append(_between(table, f"archive of {host.name}", source, home, traffic.archive_gb))
        if archive.upload:
            continue
        rates = _rates(table, home)
        paths = sum(link.receiver == host.name for link in topology.link) + bool(host.feed)
        writes = paths * _FILES_AN_HOUR * rates.s3_write_1000 / 1000
        told = f"archive of {host.name}"
        kept = rates.s3_gb_30_days * archive.bucket_days / _DAYS
        items += [
            Item(f"{told}: writing files", home, writes, None, 0.0, "s3_write_1000" not in rates.unverified),
            Item(
                f"{told}: {archive.bucket_days} days",
                home,
                None,
                kept,
                traffic.archive_gb,
                "s3_gb_30_days" not in rates.unverified,
            ),
        ]
    return items


def _through_gateway(table: Prices, what: str, source: str, gb: float) -> Item:
    # What comes from a peering is not charged for again (transit gateway pricing, "Data processing").
    rates = _rates(table, source)
    return Item(f"{what}: transit gateway", source, None, rates.transit_gb, gb, "transit_gb" not in rates.unverified)


def _between(table: Prices, what: str, source: str, target: str, gb: float) -> Item:
    # Billed to the sender's region; the receiving side of an inter-region peering is free.
    return Item(f"{what}: {source} to {target}", source, None, _rates(table, source).inter_region_gb, gb)


def _rates(table: Prices, region: str) -> RegionPrices:
    if region not in table.region:
        raise ProvisionError(
            f"no prices for {region} in the table of {table.date}; known are {', '.join(table.region)}"
        )
    return table.region[region]
