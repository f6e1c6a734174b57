import random
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemons.errors import ConfigError
from provisioning.loading import BUILT_IN, adjusted, deployment_name, load_topology
from provisioning.targets import unscraped
from provisioning.topology import Access, Topology, port_of
from provisioning.validation import check, expiry

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
MONITOR_IN_FRANKFURT = {
    "name": "monitor",
    "role": "monitor",
    "site": "frankfurt",
    "subnet": "public",
    "address": "10.1.1.30",
    "public": "assigned",
}
LINK = {"forwarder": "forwarder", "receiver": "receiver"}
SECOND_FORWARDER = {
    "name": "other",
    "role": "forwarder",
    "site": "tokyo",
    "subnet": "public",
    "address": "10.0.1.11",
    "public": "assigned",
    "feed": "wss://stream.binance.com:443/stream?streams=btcusdt@trade",
}


def changed(name: str, **changes: Any) -> Topology:
    """A built-in topology with parts replaced, as plain data; not checked."""
    data = msgspec.json.decode(msgspec.json.encode(load_topology(name)))
    for path, value in changes.items():
        *way, last = (int(part) if part.isdigit() else part for part in path.split("__"))
        here = data
        for part in way:
            here = here[part]
        if last == len(here):
            here.append(value)
        else:
            here[last] = value
    return msgspec.convert(data, Topology)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_topologies_are_valid(name: str) -> None:
    check(load_topology(name))


def test_the_seeds_addresses_are_kept() -> None:
    backbone, egress = load_topology("backbone"), load_topology("egress")
    assert [(site.region, site.cidr) for site in backbone.site] == [
        ("ap-northeast-1", "10.0.0.0/16"),
        ("eu-central-1", "10.1.0.0/16"),
    ]
    assert backbone.named_host("receiver").address == "10.1.1.10"
    assert egress.named_host("client").address == "10.0.1.10"
    assert egress.named_host("nat").address == "10.1.1.10"


def test_forwarders_reach_a_receiver_by_one_port_each_naming_its_path() -> None:
    links = [LINK, {**LINK, "name": "second", "forwarder": "other"}]
    check(changed("backbone", host__2=SECOND_FORWARDER, link=links))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "backbone",
            {
                "site__1__cidr": "10.0.0.0/16",
                "site__1__subnet__0__cidr": "10.0.1.0/24",
                "host__1__address": "10.0.1.11",
            },
            "peering.tokyo-frankfurt: 10.0.0.0/16 overlaps 10.0.0.0/16",
        ),
        ("backbone", {"site__0__region": "tokyo"}, "site.tokyo.region: 'tokyo' is not a region"),
        ("backbone", {"site__0__cidr": "8.8.0.0/16"}, "site.tokyo.cidr: 8.8.0.0/16 is not private"),
        ("backbone", {"site__0__cidr": "169.254.0.0/16"}, "site.tokyo.cidr: 169.254.0.0/16 is not private"),
        ("backbone", {"site__0__cidr": "198.18.0.0/16"}, "site.tokyo.cidr: 198.18.0.0/16 is not private"),
        ("backbone", {"site__0__cidr": "10.0.0.0/8"}, "site.tokyo.cidr: 10.0.0.0/8 is /8; use /16 to /28"),
        ("backbone", {"site__0__subnet__0__cidr": "10.9.1.0/24"}, "is not inside 10.0.0.0/16"),
        ("backbone", {"site__0__name": "Tokyo!"}, "site.name: 'Tokyo!' is not a name"),
        ("backbone", {"site__1__name": "tokyo"}, "site.name: 'tokyo' appears twice"),
        ("backbone", {"peering__0__accepter": "paris"}, "'paris' is not a site"),
        ("backbone", {"peering": []}, "link.backbone: its sites are not peered"),
        ("backbone", {"host__0__address": "10.0.1.2"}, "10.0.1.2 is reserved by AWS"),
        ("backbone", {"host__0__address": "10.0.1.255"}, "10.0.1.255 is reserved by AWS"),
        ("backbone", {"host__0__address": "10.0.2.10"}, "10.0.2.10 is not in public"),
        ("backbone", {"host__0__address": "ten"}, "'ten' is not an IPv4 address"),
        ("backbone", {"host__0__type": "huge"}, "'huge' is not an instance type"),
        ("backbone", {"host__0__image": "windows"}, "'windows' is not known"),
        ("backbone", {"host__0__feed": ""}, "a forwarder needs the stream it forwards"),
        ("backbone", {"host__0__feed": "http://x"}, "is not a wss:// URL"),
        ("backbone", {"host__0__public": "none"}, "the host has no way out"),
        ("backbone", {"host__0__precision_time": True}, "the kernel of debian-12 has no ENA PTP clock; leave it out"),
        (
            "backbone",
            {"site__0__subnet__0__zone_id": "euc1-az1"},
            "'euc1-az1' is not in ap-northeast-1; write one such",
        ),
        (
            "backbone",
            {"site__0__subnet__0__zone_id": "apne1-az1", "site__0__subnet__0__zone": "ap-northeast-1a"},
            "zone_id: the zone has its name too",
        ),
        ("backbone", {"host__0__placement": "cluster"}, "t3.micro cannot stand in a cluster placement group"),
        ("backbone", {"host__0__volume_gib": 1}, "volume_gib: 1 is out of range"),
        ("backbone", {"link__0__port": 9472}, "9472 is reserved"),
        ("backbone", {"owner": "x" * 300}, "cannot be a tag"),
        ("backbone", {"owner": "desk & co"}, "'desk & co' cannot be a tag"),
        ("backbone", {"expires": "tomorrow"}, "--expires: 'tomorrow' is not a date"),
        ("backbone", {"expires": "2026-13-01"}, "is not a date"),
        ("backbone", {"expires": "2026-12-31T18:00"}, "has no time zone"),
        (
            "backbone",
            {"link": [LINK, {**LINK, "name": "second"}]},
            "host.forwarder: its forwarder.toml is refused: destination: 10.1.1.10:8080 is given twice",
        ),
        (
            "backbone",
            {"link": [LINK, {**LINK, "port": 7000}]},
            "host.receiver: its receiver.toml is refused: path[0].name: 'backbone' is used twice",
        ),
        ("egress", {"host__0__target__0__name": "a b"}, "its probe.toml is refused: target[0].name: 'a b' is no label"),
        ("egress", {"host__0__target__0__resolve": "nowhere"}, "'nowhere' is not an IP address"),
        ("backbone", {"link": []}, "no link starts at this forwarder"),
        (
            "egress",
            {
                "overlay": None,
                "host__0__subnet": "public",
                "host__0__address": "10.0.2.11",
                "host__0__public": "assigned",
            },
            "a NAT instance without an overlay serves nobody",
        ),
        ("egress", {"overlay__gateway": "baseline"}, "baseline is a probe"),
        ("egress", {"overlay__client": "baseline"}, "host.client.public: the host has no way out"),
        ("egress", {"overlay__network": "10.0.8.0/30"}, "overlaps singapore's 10.0.0.0/16"),
        ("egress", {"host__0__public": "assigned"}, "subnet private is private"),
        ("egress", {"host__2__public": "assigned"}, "a NAT instance needs a fixed outside address"),
        ("proxy", {"proxy__gateway": "nat"}, "proxy.gateway: nat is a nat; name a host of role proxy"),
        ("proxy", {"proxy__client": "baseline"}, "host.proxied.public: the host has no way out"),
        ("proxy", {"proxy__client": "client"}, "host.proxied.public: the host has no way out"),
        ("proxy", {"proxy__client": "nobody"}, "host.proxied.public: the host has no way out"),
        (
            "proxy",
            {
                "proxy": None,
                "host__0__subnet": "public",
                "host__0__address": "10.0.2.20",
                "host__0__public": "assigned",
            },
            "host.proxy: a proxy without a client serves nobody; add [proxy]",
        ),
        ("proxy", {"proxy__port": 9474}, "proxy.port: 9474 is reserved or out of range"),
        ("proxy", {"proxy__port": 80}, "proxy.port: 80 is reserved or out of range"),
        ("proxy", {"proxy__names": ["*.example"]}, "proxy.names: '*.example' is no name; write NAME or NAME:PORT"),
        ("proxy", {"proxy__names": ["a.example:0"]}, "proxy.names: 'a.example:0' is no name"),
        ("proxy", {"proxy__names": ["a b"]}, "proxy.names: 'a b' is no name"),
        ("proxy", {"host__3__public": "assigned"}, "host.proxy.public: a proxy needs a fixed outside address"),
        ("proxy", {"peering": []}, "overlay: the two ends are not in peered sites"),
        ("egress", {"host__0__target": []}, "a probe needs at least one"),
        ("egress", {"host__0__target__0__url": "http://plain"}, "is not an https:// URL"),
        ("egress", {"site__0__subnet__1__cidr": "10.0.1.0/25"}, "overlaps private's"),
        ("egress", {"site__0__cidr": "10.0.0.0/255.255.0.0"}, "is not how EC2 writes it; write 10.0.0.0/16"),
        ("egress", {"site__0__cidr": "10.0.0.1/16"}, "write 10.0.0.0/16 for the block, 10.0.0.1/32 for the one"),
        (
            "full",
            {
                "site__2__cidr": "10.1.0.0/16",
                "site__2__subnet": [
                    {"name": "private", "cidr": "10.1.2.0/24", "public": False},
                    {"name": "public", "cidr": "10.1.3.0/24"},
                ],
                "host__3__address": "10.1.2.10",
                "host__4__address": "10.1.3.10",
            },
            "tokyo peers with both and needs one route",
        ),
        (
            "backbone",
            {
                "access": {
                    "ssh_from": ["0.0.0.0/0"],
                    "ssh_key": KEY,
                }
            },
            "0.0.0.0/0 is too wide",
        ),
        ("backbone", {"access": {"ssh_from": ["203.0.113.7/32"]}}, "ssh_from and ssh_key go together"),
        ("backbone", {"access": {"ssh_from": ["203.0.113.7/32"], "ssh_key": "secret"}}, "is not a public key"),
    ],
)
def test_what_aws_would_refuse_is_refused_before_the_first_call(
    name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(changed(name, **changes))


def test_a_file_is_read_and_a_misspelt_key_is_found(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "provisioning/topologies/backbone.toml").read_text()
    file = tmp_path / "mine.toml"
    file.write_text(text.replace("cidr", "cdir", 1))
    with pytest.raises(ConfigError, match="did you mean `cidr`"):
        load_topology(str(file))
    file.write_text(text)
    assert load_topology(str(file)) == load_topology("backbone")
    with pytest.raises(ConfigError, match="'backbon' is not built in"):
        load_topology("backbon")


def ssh_keygen(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("algorithm", "bits", "takes"), [("ed25519", "0", True), ("rsa", "2048", True), ("ecdsa", "256", False)]
)
def test_a_public_key_that_was_cut_on_its_way_is_refused_as_ssh_refuses_it(
    tmp_path: Path, algorithm: str, bits: str, takes: bool
) -> None:
    """EC2 takes RSA and Ed25519, and says `InvalidKey.Format` when networks stand already."""
    kind = ["-t", algorithm, *(["-b", bits] if bits != "0" else [])]
    assert ssh_keygen("-q", *kind, "-N", "", "-C", "me@here", "-f", str(tmp_path / "key")).returncode == 0
    text = (tmp_path / "key.pub").read_text()
    topology = load_topology("backbone")
    cuts = random.Random(7).sample(range(len(text)), 12)
    for text_or_part in (text, text + "\n", (tmp_path / "key").read_text(), *(text[:cut] for cut in cuts)):
        file = tmp_path / "part.pub"
        file.write_text(text_or_part)
        good = takes and ssh_keygen("-l", "-f", str(file)).returncode == 0 and "PRIVATE" not in text_or_part
        access = Access(ssh_from=("203.0.113.7/32",), ssh_key=text_or_part.strip())
        told = ""
        try:
            adjusted(topology, types={}, access=access)
        except ConfigError as error:
            told = str(error)
        assert (told == "") == good, (text_or_part, told)


def test_wishes_of_the_command_line() -> None:
    topology = adjusted(
        load_topology("backbone"),
        types={"receiver": "c7i.large"},
        monitor=True,
        owner="desk",
        access=Access(
            ssh_from=("203.0.113.7/32",),
            ssh_key=f"{KEY} me",
        ),
    )
    assert topology.named_host("receiver").type == "c7i.large"
    assert topology.named_host("forwarder").type == "t3.micro"
    assert topology.named_host("monitor").site == "frankfurt"
    assert topology.owner == "desk"
    with pytest.raises(ConfigError, match="neither a host nor a role"):
        adjusted(load_topology("backbone"), types={"forwader": "t3.small"})
    with pytest.raises(ConfigError, match="has no overlay"):
        adjusted(load_topology("backbone"), types={}, overlay="wireguard")
    with pytest.raises(ConfigError, match="no PTP hardware clock"):
        adjusted(load_topology("backbone"), types={}, image="ami-0123456789abcdef0", precision_time=True)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_monitor_stands_where_it_reaches_every_exporter(name: str) -> None:
    topology = adjusted(load_topology(name), types={}, monitor=True)
    assert topology.subnet_of(topology.named_host("monitor")).public
    assert unscraped(topology) == ()


def test_what_no_monitor_reaches_is_named() -> None:
    assert unscraped(changed("full", host__5=MONITOR_IN_FRANKFURT)) == ("client", "baseline")


def test_an_expiry_ends_with_its_day_or_at_its_moment() -> None:
    assert expiry("2026-12-31").isoformat() == "2027-01-01T00:00:00+00:00"
    assert expiry("2026-12-31T18:00:00Z").isoformat() == "2026-12-31T18:00:00+00:00"


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a-", "x" * 25])
def test_deployment_names(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a deployment name"):
        deployment_name(name)
    assert deployment_name("desk-7") == "desk-7"


def test_ports_of_urls() -> None:
    assert port_of("https://api.example/x") == 443
    assert port_of("wss://stream.example:9443/ws") == 9443
