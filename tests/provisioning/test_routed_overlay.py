"""An overlay of transit gateways: routes in place of a tunnel, from a private client to the NAT instance and back."""

import ipaddress
import json
import subprocess
from typing import Any

import msgspec
import pytest

from daemons.errors import ConfigError
from provisioning.cost import Traffic, estimate
from provisioning.desired import desired
from provisioning.drawing import drawing
from provisioning.firewall import firewall
from provisioning.loading import adjusted, load_topology
from provisioning.model import Deployment, Node
from provisioning.overlay import overlay_files
from provisioning.roleconfig import role_files
from provisioning.topology import Topology
from provisioning.userdata import host_files
from provisioning.validation import check
from tests.provisioning.aws import Operator, census

SINGAPORE, TOKYO = "ap-southeast-1", "ap-northeast-1"


def routed(name: str = "egress") -> Topology:
    return adjusted(load_topology(name), types={}, overlay="transit")


def graph(topology: Topology) -> dict[str, Node]:
    return desired(topology, Deployment("test"), "123456789012", lambda: b"a bundle")


def hop(table: dict[str, str], address: str) -> str:
    """What a table of blocks does with an address: the longest prefix decides (RFC 4632, section 5.1)."""
    fitting = [block for block in table if ipaddress.IPv4Address(address) in ipaddress.IPv4Network(block)]
    return table[max(fitting, key=lambda block: ipaddress.IPv4Network(block).prefixlen)] if fitting else "nowhere"


def way(nodes: dict[str, Node], table: str, address: str) -> list[str]:
    """Every hop from a subnet's table to where a packet leaves AWS's routers, by a model of them."""
    sites = {key.partition("/")[2]: node.spec.cidr for key, node in nodes.items() if node.kind == "vpc"}
    seen = [table]
    while len(seen) < 12:
        kind, _, rest = seen[-1].partition("/")
        if kind in ("routes", "transit-routes"):
            own = {sites[rest.partition("/")[0]]: "local"} if kind == "routes" else {}
            seen.append(hop({**dict(nodes[seen[-1]].spec.routes), **own}, address))
        elif kind == "transit":
            seen.append(f"transit-routes/{rest}")
        elif kind == "transit-peering":
            other = next(site for site in rest.split("-") if f"transit-routes/{site}" not in seen)
            seen.append(f"transit-routes/{other}")
        elif kind == "transit-attachment":
            seen.append(f"routes/{rest}/transit" if f"routes/{rest}/transit" in nodes else "local")
        else:
            return [one for one in seen if one.partition("/")[0] != "transit"]
    raise AssertionError(seen)


@pytest.mark.parametrize("name", ["egress", "full"])
def test_the_client_leaves_by_the_gateways_and_is_answered_by_them(name: str) -> None:
    topology = routed(name)
    nodes = graph(topology)
    assert topology.overlay is not None
    ends = topology.named_host(topology.overlay.client), topology.named_host(topology.overlay.gateway)
    tables = [f"routes/{host.site}/{host.subnet}" for host in ends]
    assert way(nodes, tables[0], "203.0.113.9")[-1] == f"host/{ends[1].name}"
    assert way(nodes, tables[1], "203.0.113.9")[-1] == f"gateway/{ends[1].site}"
    # Both directions between the two, although the sites are peered too.
    there, back = way(nodes, tables[0], ends[1].address), way(nodes, tables[1], ends[0].address)
    assert [hops[-1] for hops in (there, back)] == ["local", "local"]
    assert all(any(one.startswith("transit-peering/") for one in hops) for hops in (there, back))
    # A public host beside it leaves as it always did.
    baseline = topology.named_host("baseline")
    assert way(nodes, f"routes/{baseline.site}/{baseline.subnet}", "203.0.113.9")[-1] == f"gateway/{baseline.site}"


def test_names_are_asked_at_the_nat_and_nowhere_else() -> None:
    topology = routed()
    files = {path: text for path, _, text in overlay_files(topology, topology.named_host("client"))}
    assert "DNS=10.1.1.10" in files["/etc/systemd/resolved.conf.d/latency.conf"]
    assert not any(path.startswith("/etc/systemd/network/") for path in files)
    ingress, _ = firewall(topology, topology.named_host("nat"))
    _, egress = firewall(topology, topology.named_host("client"))
    dns = {f"{protocol} 53" for protocol in ("tcp", "udp")}
    assert {f"{rule} 10.0.1.10/32" for rule in dns} <= {str(rule) for rule in ingress}
    assert {f"{rule} 10.1.1.10/32" for rule in dns} <= {str(rule) for rule in egress}
    whole = {path: text for path, _, text in host_files(topology, topology.named_host("client"), "d", "b", TOKYO, ())}
    told = json.loads(whole["/etc/latency/bootstrap.json"])["overlay"]
    assert told == {"kind": "transit", "client": True, "interface": "", "mtu": 0, "peer": "10.1.1.10"}
    assert any('[overlay]\npeer = "10.1.1.10"' in text for _, _, text in role_files(topology, topology.host[0], "d"))


def test_what_goes_through_the_gateways_costs_and_is_drawn() -> None:
    topology = routed()
    items = {item.what: item for item in estimate(topology, Traffic(overlay_gb=10)).items}
    assert sum(item.hour or 0.0 for name, item in items.items() if name.startswith("transit gateway")) > 0.2
    assert items["overlay out: transit gateway"].per_30_days == pytest.approx(0.2)
    assert {"overlay out: transit gateway", "overlay back: transit gateway"} <= items.keys()
    assert "  client --overlay by transit gateways--> nat --> the internet" in drawing(topology)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transit": ()}, "no transit gateways join the two ends' sites; add the"),
        ({"peering": ()}, None),
    ],
)
def test_an_overlay_of_gateways_needs_them_and_no_peering(changes: dict[str, Any], message: str | None) -> None:
    topology = msgspec.structs.replace(routed(), **changes)
    if message is None:
        with pytest.raises(ConfigError, match="not known which of the site's subnets share a zone"):
            check(topology)
        data = msgspec.to_builtins(topology)
        for number, subnet in enumerate(data["site"][0]["subnet"], 1):
            subnet["zone_id"] = f"apse1-az{number}"
        topology = msgspec.convert(data, Topology)
        check(topology)
        assert way(graph(topology), "routes/singapore/private", "203.0.113.9")[-1] == "host/nat"
        return
    sites = tuple(msgspec.structs.replace(site, transit="") for site in topology.site)
    with pytest.raises(ConfigError, match=message):
        check(msgspec.structs.replace(topology, site=sites))


@pytest.mark.process
def test_up_changes_nothing_again_a_new_nat_is_routed_to_and_down_leaves_nothing(endpoint: str) -> None:
    topology = routed()
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    assert Operator(endpoint, topology).up().aws.changing() == []
    tokyo = Operator(endpoint, topology).aws.session.client("ec2", region_name=TOKYO)
    (nat,) = (item["InstanceId"] for found in tokyo.describe_instances()["Reservations"] for item in found["Instances"])
    tokyo.terminate_instances(InstanceIds=[nat])
    up = Operator(endpoint, topology).up()
    # Whoever creates the route again instead of replacing it is told that it exists, and leads into nothing for ever.
    assert [call.params["DestinationCidrBlock"] for call in up.aws.changing() if call.operation == "ReplaceRoute"] == [
        "0.0.0.0/0"
    ]
    (table,) = (
        item
        for item in tokyo.describe_route_tables()["RouteTables"]
        if {"Key": "latency:key", "Value": "routes/tokyo/transit"} in item["Tags"]
    )
    assert {route.get("InstanceId") for route in table["Routes"]} - {None, nat}
    assert Operator(endpoint, topology).up().aws.changing() == []
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_going_from_a_tunnel_to_the_gateways_and_back(endpoint: str) -> None:
    tunnel = load_topology("egress")
    Operator(endpoint, tunnel).up()
    before = census(endpoint, tunnel.regions)
    Operator(endpoint, routed()).up()
    assert Operator(endpoint, routed()).up().aws.changing() == []
    Operator(endpoint, tunnel).up()
    assert census(endpoint, tunnel.regions) == before


LAB = """
in_() { ns=$1; shift; ip netns exec $ns "$@"; }
for ns in vpc client nat out; do ip netns add $ns; in_ $ns ip link set lo up; done
for ns in client nat out; do
  ip link add veth-$ns type veth peer name to-$ns
  ip link set veth-$ns netns $ns; ip link set to-$ns netns vpc
  in_ $ns ip link set veth-$ns up; in_ vpc ip link set to-$ns up
done
in_ client ip address add 10.0.1.10/24 dev veth-client; in_ client ip route add default via 10.0.1.1
in_ nat ip address add 10.1.1.10/24 dev veth-nat; in_ nat ip route add default via 10.1.1.1
in_ out ip address add 203.0.113.9/24 dev veth-out; in_ out ip route add 10.0.0.0/8 via 203.0.113.1
in_ out ip address add 10.1.0.2/32 dev lo; in_ out ip address add 10.1.7.7/32 dev lo
in_ vpc ip address add 10.0.1.1/24 dev to-client; in_ vpc ip address add 10.1.1.1/24 dev to-nat
in_ vpc ip address add 203.0.113.1/24 dev to-out
in_ vpc ip route add 10.1.0.2/32 via 203.0.113.9; in_ vpc ip route add 10.1.7.7/32 via 203.0.113.9
in_ vpc sysctl -qw net.ipv4.ip_forward=1; in_ nat sysctl -qw net.ipv4.ip_forward=1
# What comes out of the gateway, wherever it goes, is routed to the NAT's interface.
in_ vpc ip rule add iif to-client lookup 7; in_ vpc ip route add default via 10.1.1.10 table 7
"""


@pytest.mark.process
def test_packets_go_by_the_nat_under_its_address_and_nowhere_else() -> None:
    """The shipped rules in namespaces of the test's own; a server tells the address that it sees."""
    topology = routed()
    files = {
        name: {path: text for path, _, text in overlay_files(topology, topology.named_host(name))}
        for name in ("client", "nat")
    }
    rules = "".join(
        f"ip netns exec {name} iptables-restore <<'E'\n{files[name]['/etc/latency/overlay.v4']}E\n" for name in files
    )
    server = (
        "import socket,threading\n"
        "def serve(kind, port):\n"
        " s=socket.socket(socket.AF_INET,kind); s.bind(('10.1.0.2' if port==53 else '0.0.0.0',port))\n"
        " if kind==socket.SOCK_DGRAM:\n"
        "  while True: d,a=s.recvfrom(99); s.sendto(a[0].encode(),a)\n"
        " s.listen()\n"
        " if port==443: print('up',flush=True)\n"
        " while True: c,a=s.accept(); c.sendall(a[0].encode()); c.close()\n"
        "threading.Thread(target=serve,args=(socket.SOCK_DGRAM,53)).start()\n"
        "serve(socket.SOCK_STREAM,443)\n"
    )
    ask = (
        "import socket,sys\n"
        "def tcp(a):\n"
        " try:\n"
        "  with socket.create_connection((a,443),2) as s: return s.recv(99).decode()\n"
        " except OSError: return 'refused'\n"
        "def udp(a):\n"
        " s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(2)\n"
        " try: s.sendto(b'?',(a,53)); return s.recv(99).decode()\n"
        " except OSError: return 'refused'\n"
        "print(tcp('203.0.113.9'), udp('10.1.1.10'), udp('10.1.0.2'), udp('203.0.113.9'), tcp('10.1.7.7'))\n"
    )
    script = (
        f"mount -t tmpfs none /run\n{LAB}{rules}\n"
        f'exec 3< <(ip netns exec out timeout 30 python3 -c "{server}")\nread -u3 up\n'
        f'ip netns exec client python3 -c "{ask}"\n'
    )
    done = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-ec", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    # The internet and the NAT's resolver see the NAT; no other resolver and no other host of the site is reached.
    assert done.stdout.split() == ["10.1.1.10", "10.1.1.10", "refused", "refused", "refused"]
