"""The networks of an account, made as the emulator lists them: a router for each VPC that does what AWS's does.

Route tables, security groups, source/destination checks, internet gateways with their addresses, peerings, transit
gateways, accelerators: each is read back from the API, so a rule or route that `provision` forgot is missing here too.
Packets between hosts of one subnet pass by the router, and so do not meet its security groups; no topology of ours has
such traffic.
"""

import base64
import gzip
import ipaddress
import subprocess
from dataclasses import dataclass, field
from typing import Any

from tests.lab import cloud_accelerator, cloud_transit
from tests.lab.cloud_accelerator import Accelerators
from tests.lab.cloud_emulator import Emulator
from tests.lab.cloud_transit import TransitGateways
from tests.lab.lab import Lab, Site
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink

__all__ = ["Instance", "Network", "Vpc"]

BRIDGE = "lan"
HOST_MTU = 9001
"""What EC2 interfaces have; the peering and the internet carry 1500."""
TARGETS = ("VpcPeeringConnectionId", "GatewayId", "TransitGatewayId", "InstanceId")
"""The fields of a route that name where it leads."""
PEERING = Shape(delay_ms=20.0)
INTERNET = Shape(delay_ms=2.0)


@dataclass(frozen=True, slots=True)
class Instance:
    """A running instance, as the API describes it."""

    key: str
    region: str
    facts: dict[str, Any]
    user_data: bytes

    @property
    def first_boot(self) -> bytes:
        """What the packed part of the user data does."""
        packed = self.user_data.split(b"| gzip -d\n")[2].partition(b"END_OF")[0]
        return gzip.decompress(base64.b64decode(packed))

    @property
    def id(self) -> str:
        return str(self.facts["InstanceId"])

    @property
    def address(self) -> str:
        return str(self.facts["PrivateIpAddress"])

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its private ones."""
        listed = self.facts["NetworkInterfaces"][0]["PrivateIpAddresses"]
        return tuple(str(item["PrivateIpAddress"]) for item in listed)

    @property
    def public(self) -> str:
        return str(self.facts.get("PublicIpAddress") or "")

    @property
    def mac(self) -> str:
        return str(self.facts["NetworkInterfaces"][0]["MacAddress"])


@dataclass
class Vpc:
    """A VPC and its router."""

    key: str
    region: str
    id: str
    cidr: ipaddress.IPv4Network
    site: Site
    subnets: dict[str, ipaddress.IPv4Network]
    tables: dict[str, int] = field(default_factory=dict)
    """The number of the router's table for each subnet."""
    instances: list[Instance] = field(default_factory=list)

    @property
    def resolver(self) -> str:
        """The address of AWS's resolver: the block's third (VPC user guide, "Amazon DNS server")."""
        return str(self.cidr[2])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An instance in its VPC."""

    address: str
    site: Site


class Network:
    """Every VPC of a deployment, its peerings, gateways and accelerators, and the way to the internet.

    Args:
        lab: where it is made.
        emulator: what to make.
        regions: where to look.
        internet: the site that stands for the internet.
    """

    def __init__(self, lab: Lab, emulator: Emulator, regions: tuple[str, ...], internet: Site) -> None:
        self._lab, self._emulator, self._internet = lab, emulator, internet
        self.vpcs: dict[str, Vpc] = {}
        self.peerings: dict[str, WideAreaLink] = {}
        self.internet_ways: dict[str, WideAreaLink] = {}
        """The link of each VPC to the internet."""
        for region in regions:
            ec2 = emulator.client("ec2", region)
            for facts in ec2.describe_vpcs()["Vpcs"]:
                if not facts["IsDefault"]:
                    self._add_vpc(ec2, region, facts)
        for vpc in self.vpcs.values():
            self._add_internet(vpc)
        for region in regions:
            self._add_peerings(region)
        self.transit = TransitGateways(lab, emulator, regions, {vpc.id: vpc for vpc in self.vpcs.values()})
        for vpc in self.vpcs.values():
            self._add_routes(vpc)
        self.read()
        hosts = {item.id: Endpoint(item.address, vpc.site) for vpc in self.vpcs.values() for item in vpc.instances}
        self.accelerators = Accelerators(lab, emulator, internet, hosts)

    def read(self) -> None:
        """Take the instances, addresses and security groups as they are now."""
        for vpc in self.vpcs.values():
            ec2 = self._emulator.client("ec2", vpc.region)
            vpc.instances = [
                Instance(_key(item), vpc.region, item, _user_data(ec2, item["InstanceId"]))
                for reservation in ec2.describe_instances()["Reservations"]
                for item in reservation["Instances"]
                if item["State"]["Name"] == "running" and item.get("VpcId") == vpc.id
            ]
            groups = {group["GroupId"]: group for group in ec2.describe_security_groups()["SecurityGroups"]}
            vpc.site.router.run("nft", "-f", "-", stdin=filter_rules(vpc, groups))
            for instance in vpc.instances:
                if instance.public:
                    where = ("dev", vpc.site.name, "src", self._internet.gateway)
                    self._internet.router.ip("route", "replace", f"{instance.public}/32", *where)

    def _add_vpc(self, ec2: Any, region: str, facts: dict[str, Any]) -> None:
        key = _key(facts).removeprefix("vpc/")
        cidr = ipaddress.IPv4Network(facts["CidrBlock"])
        site = self._lab.site(key, str(cidr))
        listed = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [facts["VpcId"]]}])["Subnets"]
        subnets = {item["SubnetId"]: ipaddress.IPv4Network(item["CidrBlock"]) for item in listed}
        site.router.ip("link", "set", BRIDGE, "mtu", str(HOST_MTU))
        own = [f"{cidr[2]}/32", "169.254.169.254/32", "169.254.169.123/32"]
        for address in (*own, *(f"{block[1]}/{block.prefixlen}" for block in subnets.values())):
            site.router.ip("addr", "add", address, "dev", BRIDGE)
        site.router.run("sysctl", "-qw", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.lan.send_redirects=0")
        self.vpcs[key] = Vpc(key, region, facts["VpcId"], cidr, site, subnets)

    def _add_internet(self, vpc: Vpc) -> None:
        self.internet_ways[vpc.key] = self._lab.link(vpc.site, self._internet, INTERNET)
        # Private addresses are nobody's on the internet.
        self._internet.router.ip("route", "del", str(vpc.cidr), "dev", vpc.site.name)

    def _add_peerings(self, region: str) -> None:
        of = {vpc.id: vpc for vpc in self.vpcs.values()}
        ec2 = self._emulator.client("ec2", region)
        for facts in ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]:
            one, other = of.get(facts["RequesterVpcInfo"]["VpcId"]), of.get(facts["AccepterVpcInfo"]["VpcId"])
            if one and other and facts["Status"]["Code"] == "active" and one.region == region:
                self.peerings[facts["VpcPeeringConnectionId"]] = self._lab.link(one.site, other.site, PEERING)

    def _add_routes(self, vpc: Vpc) -> None:
        """A table of its own for each subnet; what it does not name is dropped without a word, as on AWS."""
        ec2, router = self._emulator.client("ec2", vpc.region), vpc.site.router
        targets, entrance = self._targets(vpc, ec2), self.transit.entrances.get(vpc.id)
        tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc.id]}])["RouteTables"]
        for number, table in enumerate(tables, start=100):
            router.ip("route", "add", str(vpc.cidr), "dev", BRIDGE, "table", str(number))
            router.ip("route", "add", "blackhole", "default", "metric", "9999", "table", str(number))
            for route in table["Routes"]:
                for way in (targets[route[name]] for name in TARGETS if route.get(name) in targets):
                    router.ip("route", "add", route["DestinationCidrBlock"], *way, "table", str(number))
            for subnet in (association.get("SubnetId", "") for association in table["Associations"]):
                if block := vpc.subnets.get(subnet):
                    vpc.tables[subnet] = number
                    for selector in (("from", str(block)), ("fwmark", str(number))):
                        router.ip("rule", "add", "iif", BRIDGE, *selector, "lookup", str(number))
                # What comes out of a gateway is looked up in the table of the subnet that its attachment has here.
                if entrance and subnet == entrance.subnets[0]:
                    router.ip(*("rule", "add", "iif", cloud_transit.DEVICE, "lookup", str(number)))

    def _targets(self, vpc: Vpc, ec2: Any) -> dict[str, tuple[str, ...]]:
        """How a VPC's router sends to what its routes may name, by id: the words of a route."""
        peers = {other.id: other for other in self.vpcs.values()}
        ways: dict[str, tuple[str, ...]] = {}
        for facts in ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]:
            pair = {facts["RequesterVpcInfo"]["VpcId"], facts["AccepterVpcInfo"]["VpcId"]}
            if vpc.id in pair and pair <= peers.keys():
                (other,) = pair - {vpc.id}
                ways[facts["VpcPeeringConnectionId"]] = ("dev", peers[other].site.name)
        for facts in ec2.describe_internet_gateways()["InternetGateways"]:
            ways[facts["InternetGatewayId"]] = ("dev", self._internet.name)
        for reservation in ec2.describe_instances()["Reservations"]:
            for facts in reservation["Instances"]:
                if "PrivateIpAddress" in facts:
                    ways[facts["InstanceId"]] = ("via", facts["PrivateIpAddress"], "dev", BRIDGE)
        if entrance := self.transit.entrances.get(vpc.id):
            ways[entrance.gateway] = ("via", entrance.address, "dev", cloud_transit.DEVICE)
        return ways

    def plug(self, vpc: Vpc, instance: Instance, namespace: str, port: str, *, device: str = "eth0") -> None:
        """Give a host's network namespace its interface, addressed as DHCP would not have done yet: only by MAC."""
        router = vpc.site.router
        peer = ("peer", "name", device, "address", instance.mac, "netns", namespace)
        router.ip("link", "add", port, "mtu", str(HOST_MTU), "type", "veth", *peer)
        router.ip("link", "set", port, "master", BRIDGE, "up")
        subprocess.run(["ip", "-n", namespace, "link", "set", device, "mtu", str(HOST_MTU)], check=True)


def filter_rules(vpc: Vpc, groups: dict[str, dict[str, Any]]) -> str:
    """The router's rules: security groups (stateful, by instance) and the internet gateway's one-to-one NAT."""
    ingress, egress, chains = [], [], []
    down, up, forwarded = [], [], []
    for number, instance in enumerate(vpc.instances):
        worn = [groups[item["GroupId"]] for item in instance.facts["SecurityGroups"]]
        address = instance.address
        chains.append(_chain(f"in_{number}", [m for g in worn for m in _matches(g["IpPermissions"], "saddr")]))
        chains.append(_chain(f"out_{number}", [m for g in worn for m in _matches(g["IpPermissionsEgress"], "daddr")]))
        own = f"{{ {', '.join(instance.addresses)} }}"
        # A group filters what is handed to its interface, wherever it goes on to.
        if instance.facts["SourceDestCheck"]:
            ingress.append(f"rt ip nexthop {own} ip daddr != {own} counter name refused drop")
            egress.append(f"ether saddr {instance.mac} ip saddr != {own} counter name refused drop")
        elif table := vpc.tables.get(instance.facts["SubnetId"]):
            # What it sends in others' names is of its subnet too, whatever the source says.
            forwarded.append(f'iifname "{BRIDGE}" ether saddr {instance.mac} ip saddr != {own} meta mark set {table}')
        ingress.append(f"rt ip nexthop {own} goto in_{number}")
        egress.append(f"ip saddr {own} goto out_{number}")
        if instance.public:
            down.append(f'iifname "internet" ip daddr {instance.public} dnat to {address}')
            up.append(f'oifname "internet" ip saddr {address} snat to {instance.public}')
    with_public = ", ".join(instance.address for instance in vpc.instances if instance.public) or "0.0.0.0"
    return f"""
table ip vpc {{
}}
delete table ip vpc
table ip vpc {{
    counter refused {{ }}
    {"".join(chains)}
    chain ingress {{
        {_lines(ingress)}
        counter name refused drop
    }}
    chain egress {{
        {_lines(egress)}
        counter name refused drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        oifname "internet" ip saddr != {{ {with_public} }} counter name refused drop
        iifname "{BRIDGE}" jump egress
        oifname "{BRIDGE}" jump ingress
        accept
    }}
    chain remember {{
        type filter hook prerouting priority mangle;
        {_lines(forwarded)}
        iifname "{cloud_accelerator.DEVICE}" ct mark set {cloud_accelerator.MARK}
        iifname "{BRIDGE}" ct direction reply ct mark {cloud_accelerator.MARK} meta mark set ct mark
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != {{ "{BRIDGE}", "lo" }} ip daddr {{ {vpc.resolver}, 169.254.0.0/16 }} drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        {_lines(down)}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        {_lines(up)}
    }}
}}
"""


def _chain(name: str, matches: list[str]) -> str:
    return (
        f"chain {name} {{\n        {_lines(f'{match} return' for match in matches)}\n        counter drop\n    }}\n    "
    )


def _matches(permissions: list[dict[str, Any]], side: str) -> list[str]:
    matches = []
    for permission in permissions:
        protocol = str(permission["IpProtocol"])
        for block in permission.get("IpRanges", []):
            match = f"ip {side} {block['CidrIp']}"
            first, last = permission.get("FromPort"), permission.get("ToPort")
            if protocol in ("tcp", "udp"):
                match += f" {protocol} dport {first}-{last}" if first != last else f" {protocol} dport {first}"
            elif protocol == "icmp":
                match += f" icmp type {first} icmp code {last}"
            elif protocol != "-1":
                match += f" ip protocol {protocol}"
            matches.append(match)
    return matches


def _lines(lines: Any) -> str:
    return "\n        ".join(lines)


def _key(facts: dict[str, Any]) -> str:
    return next((str(tag["Value"]) for tag in facts.get("Tags", []) if tag["Key"] == "latency:key"), "")


def _user_data(ec2: Any, instance: str) -> bytes:
    answer = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    return base64.b64decode(answer["UserData"]["Value"])
