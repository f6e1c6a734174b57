import msgspec
import pytest
from hypothesis import given

from provisioning.firewall import Rule, firewall
from provisioning.kinds.security import rules_of
from provisioning.loading import adjusted, load_topology
from provisioning.topology import Access, Topology
from tests.provisioning.test_properties import topologies

ANYWHERE = "0.0.0.0/0"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"


def rules(topology: Topology, host: str) -> tuple[set[str], set[str]]:
    ingress, egress = firewall(topology, topology.named_host(host))
    return {str(rule) for rule in ingress}, {str(rule) for rule in egress}


def test_backbone_opens_the_link_and_nothing_else() -> None:
    topology = load_topology("backbone")
    unreachable = {f"icmp type 3 code 4 {ANYWHERE}"}
    assert rules(topology, "receiver") == (unreachable | {"tcp 8080 10.0.1.10/32"}, {"tcp 443 0.0.0.0/0"})
    assert rules(topology, "forwarder") == (unreachable, {"tcp 443 0.0.0.0/0", "tcp 8080 10.1.1.10/32"})


def test_a_udp_link_needs_both_protocols() -> None:
    topology = load_topology("backbone")
    topology = msgspec.structs.replace(topology, link=(msgspec.structs.replace(topology.link[0], transport="udp"),))
    assert {"tcp 8080 10.0.1.10/32", "udp 8080 10.0.1.10/32"} <= rules(topology, "receiver")[0]


@pytest.mark.parametrize(("kind", "tunnel"), [("ipip", "ipip"), ("wireguard", "udp 51820")])
def test_the_client_can_send_into_the_tunnel_only(kind: str, tunnel: str) -> None:
    topology = adjusted(load_topology("egress"), types={}, overlay=kind)
    assert rules(topology, "client")[1] == {f"{tunnel} 10.1.1.10/32"}
    ingress, egress = rules(topology, "nat")
    assert f"{tunnel} 10.0.1.10/32" in ingress
    assert f"{tunnel} 10.0.1.10/32" in egress
    assert {rule for rule in ingress if rule.endswith(ANYWHERE)} == {f"icmp type 3 code 4 {ANYWHERE}"}


def test_probes_and_what_they_leave_by_may_send_echo_requests() -> None:
    topology = load_topology("full")
    echo = f"icmp type 8 code 0 {ANYWHERE}"
    assert {host.name for host in topology.host if echo in rules(topology, host.name)[1]} == {"baseline", "nat"}


def test_metrics_are_open_to_the_monitor_alone() -> None:
    topology = adjusted(load_topology("backbone"), types={}, monitor=True)
    monitor = topology.named_host("monitor").address
    assert f"tcp 9472 {monitor}/32" in rules(topology, "receiver")[0]
    assert f"tcp 9471 {monitor}/32" in rules(topology, "forwarder")[0]
    assert {"tcp 9471 10.0.1.10/32", "tcp 9472 10.1.1.10/32"} <= rules(topology, "monitor")[1]
    assert not {rule for rule in rules(load_topology("backbone"), "receiver")[0] if "947" in rule}


@pytest.mark.parametrize("block", ["203.0.113.7", "203.0.113.7/32", "203.0.113.7/255.255.255.255"])
def test_who_may_log_in_is_told_ec2_in_its_one_form(block: str) -> None:
    access = Access(ssh_from=(block, "203.0.113.7"), ssh_key=KEY)
    nat = rules(adjusted(load_topology("egress"), types={}, access=access), "nat")[0]
    assert {rule for rule in nat if " 22 " in rule} == {"tcp 22 203.0.113.7/32"}


def test_ssh_is_closed_until_asked_for_and_jumps_to_the_private_client() -> None:
    topology = load_topology("egress")
    assert not {
        rule for host in topology.host for side in rules(topology, host.name) for rule in side if " 22 " in rule
    }
    access = Access(ssh_from=("203.0.113.7/32",), ssh_key=KEY)
    topology = adjusted(topology, types={}, access=access)
    assert "tcp 22 203.0.113.7/32" in rules(topology, "nat")[0]
    assert "tcp 22 10.0.1.10/32" in rules(topology, "nat")[1]
    assert {rule for rule in rules(topology, "client")[0] if " 22 " in rule} == {"tcp 22 10.1.1.10/32"}


@given(topologies())
def test_whatever_one_of_ours_may_send_to_another_the_other_may_receive(topology: Topology) -> None:
    hosts = {f"{host.address}/32": host for host in topology.host}
    for host in topology.host:
        ingress, egress = firewall(topology, host)
        assert {str(rule) for rule in ingress if rule.cidr == ANYWHERE} == {f"icmp type 3 code 4 {ANYWHERE}"}
        for rule in egress:
            if rule.cidr in hosts:
                other, _ = firewall(topology, hosts[rule.cidr])
                assert Rule(rule.protocol, rule.first, rule.last, f"{host.address}/32") in other


@pytest.mark.parametrize(("first", "last"), [(None, None), (-1, -1), (0, 0), (0, 65535)])
def test_protocol_four_is_the_same_however_aws_echoes_its_ports(first: int | None, last: int | None) -> None:
    permission = {"IpProtocol": "4", "FromPort": first, "ToPort": last, "IpRanges": [{"CidrIp": "10.0.0.1/32"}]}
    assert rules_of([permission]) == ({Rule("4", 0, 0, "10.0.0.1/32")}, [])


def test_rules_that_are_never_ours_are_kept_apart() -> None:
    pair = [{"GroupId": "sg-1"}]
    permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [], "UserIdGroupPairs": pair}
    assert rules_of([permission]) == (
        set(),
        [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": pair}],
    )
