"""Accelerators and links over the internet: addresses that AWS chooses, known before the hosts that name them."""

from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from daemons.errors import ConfigError
from provisioning.cost import Traffic, estimate, hour_of
from provisioning.desired import desired
from provisioning.loading import load_topology
from provisioning.model import Deployment
from provisioning.roleconfig import role_files
from provisioning.topology import Topology
from provisioning.validation import check
from tests.provisioning.aws import Once, Operator, ProcessDeathError, census, client, lost, operation
from tests.provisioning.test_topology import changed

WORLD = "us-west-2"
FRANKFURT = "eu-central-1"
OUTSIDE = {"address/forwarder": "192.0.2.7", "address/receiver": "192.0.2.8", "accelerator/receiver": "198.51.100.9"}


def accelerated() -> Topology:
    """The two sites with a link by an accelerator alone."""
    ways = load_topology("ways")
    link = next(link for link in ways.link if link.via == "accelerator")
    sites = tuple(msgspec.structs.replace(site, transit="") for site in ways.site)
    hosts = tuple(msgspec.structs.replace(host, second_address="") for host in ways.host)
    return msgspec.structs.replace(ways, site=sites, host=hosts, peering=(), transit=(), link=(link,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host__0__public": "assigned"}, "host.forwarder.public: its link accelerator needs a fixed outside address"),
        ({"host__1__public": "assigned"}, "host.receiver.public: its link internet needs a fixed outside address"),
    ],
)
def test_what_others_must_know_is_fixed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(changed("ways", **changes))
    assert message in str(refused.value)


def test_configurations_name_the_addresses_that_aws_chose() -> None:
    topology = load_topology("ways")
    forwarder, receiver = topology.named_host("forwarder"), topology.named_host("receiver")
    assert topology.outside(forwarder) == tuple(sorted(OUTSIDE))
    ((_, _, sends),) = role_files(topology, forwarder, "desk", OUTSIDE)
    for address in ("192.0.2.8", "198.51.100.9", "10.1.1.10", "10.1.1.11"):
        assert f'address = "{address}:8080"' in sends
    assert sends.count("source_address") == 1
    ((_, _, takes),) = role_files(topology, receiver, "desk", OUTSIDE)
    assert takes.count('allowed_sources = ["192.0.2.7/32"]') == 2


def test_addresses_stand_before_the_hosts_that_name_them() -> None:
    nodes = desired(load_topology("ways"), Deployment("test"), "123456789012", lambda: b"a bundle")
    for host in ("forwarder", "receiver"):
        assert {"address/forwarder", f"address/{host}"} <= set(nodes[f"host/{host}"].needs)
        assert nodes[f"address/{host}"].needs == ()
    assert "accelerator/receiver" in nodes["host/forwarder"].needs
    assert "host/receiver" in nodes["listener/receiver/tcp-8080"].needs


def test_an_accelerator_costs_by_the_hour_and_by_what_goes_through() -> None:
    items = {item.what: item for item in estimate(load_topology("ways"), Traffic(link_gb=10)).items}
    assert items["accelerator of receiver"].hour == 0.025
    assert items["link accelerator: accelerator"].per_30_days == pytest.approx(0.43)
    assert not items["link accelerator: accelerator"].verified
    assert items["link accelerator: to the internet"].per_30_days == pytest.approx(1.14)
    assert items["link internet: to the internet"].per_30_days == pytest.approx(1.14)


@pytest.mark.process
def test_the_link_is_let_in_from_the_forwarders_own_address(endpoint: str) -> None:
    topology = accelerated()
    check(topology)
    empty = census(endpoint, topology.regions)
    operator = Operator(endpoint, topology).up()
    assert Operator(endpoint, topology).up().aws.changing() == []
    (address,) = client(endpoint, "ec2", "ap-northeast-1").describe_addresses()["Addresses"]
    launched = {call.region: call.params for call in operator.aws.calls if call.operation == "RunInstances"}
    assert address["InstanceId"]
    ec2 = client(endpoint, "ec2", FRANKFURT)
    tagged = [{"Name": "tag:latency:key", "Values": ["firewall/receiver"]}]
    (group,) = ec2.describe_security_groups(Filters=tagged)["SecurityGroups"]
    let_in = {
        block["CidrIp"] for rule in group["IpPermissions"] if rule.get("FromPort") == 8080 for block in rule["IpRanges"]
    }
    assert let_in == {f"{address['PublicIp']}/32"}
    assert len(launched) == 2
    accelerators = client(endpoint, "globalaccelerator", WORLD).list_accelerators()["Accelerators"]
    assert [item["Enabled"] for item in accelerators] == [True]
    standing = [found for found in Operator(endpoint, topology).left() if found.kind == "accelerator"]
    assert hour_of(standing) == 0.025
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_it_goes_before_the_receiver_and_what_it_leaves_goes_too(endpoint: str) -> None:
    topology = accelerated()
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    calls = Operator(endpoint, topology).down().aws.changing()
    order = [call.operation for call in calls if call.error is None]
    ended = [order.index(name) for name in ("DeleteEndpointGroup", "DeleteListener", "DeleteAccelerator")]
    assert ended == sorted(ended)
    assert ended[-1] < order.index("TerminateInstances") < order.index("DeleteSubnet")
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_what_was_disabled_and_led_away_by_hand_is_put_right(endpoint: str) -> None:
    topology = accelerated()
    Operator(endpoint, topology).up()
    good = census(endpoint, topology.regions)
    hand = client(endpoint, "globalaccelerator", WORLD)
    (accelerator,) = hand.list_accelerators()["Accelerators"]
    (listener,) = hand.list_listeners(AcceleratorArn=accelerator["AcceleratorArn"])["Listeners"]
    (group,) = hand.list_endpoint_groups(ListenerArn=listener["ListenerArn"])["EndpointGroups"]
    hand.update_accelerator(AcceleratorArn=accelerator["AcceleratorArn"], Enabled=False)
    hand.update_endpoint_group(EndpointGroupArn=group["EndpointGroupArn"], EndpointConfigurations=[])
    engine = Operator(endpoint, topology).engine()
    engine.read()
    assert {step.key: step.texts for step in engine.plan()} == {
        "accelerator/receiver": ("enable",),
        "listener/receiver/tcp-8080": ("lead to host/receiver",),
    }
    Operator(endpoint, topology).up()
    assert census(endpoint, topology.regions) == good
    assert Operator(endpoint, topology).up().aws.changing() == []


@pytest.mark.process
def test_a_lost_answer_makes_no_second_accelerator(endpoint: str) -> None:
    topology = accelerated()
    operator = Operator(endpoint, topology)
    names = ("CreateAccelerator", "CreateListener", "CreateEndpointGroup")
    faults = [Once(operation(name), lost) for name in names]
    operator.aws.after.extend(faults)
    operator.up()
    assert all(fault.struck for fault in faults)
    found = census(endpoint, topology.regions)
    assert sum(count for (_, kind, _), count in found.items() if kind == "accelerator") == 1
    assert sum(count for (_, kind, _), count in found.items() if kind == "listener") == 1


@pytest.mark.process
@pytest.mark.parametrize("name", ["CreateAccelerator", "CreateEndpointGroup"])
def test_a_death_on_the_way_leaves_nothing_that_down_does_not_find(endpoint: str, name: str) -> None:
    topology = accelerated()
    empty = census(endpoint, topology.regions)
    operator = Operator(endpoint, topology)
    operator.aws.after.append(Once(operation(name), ProcessDeathError))
    with pytest.raises(ProcessDeathError):
        operator.up()
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_the_emulator_refuses_what_the_service_does(endpoint: str) -> None:
    hand = client(endpoint, "globalaccelerator", WORLD)
    arn = hand.create_accelerator(Name="x", IdempotencyToken="x")["Accelerator"]["AcceleratorArn"]
    ports = [{"FromPort": 80, "ToPort": 80}]
    listener = hand.create_listener(AcceleratorArn=arn, PortRanges=ports, Protocol="TCP", IdempotencyToken="x")
    refused = {
        "delete_accelerator": ({"AcceleratorArn": arn}, "AcceleratorNotDisabledException"),
        "create_listener": (
            {"AcceleratorArn": arn, "PortRanges": ports, "Protocol": "TCP", "IdempotencyToken": "y"},
            "InvalidPortRangeException",
        ),
        "delete_listener": ({"ListenerArn": f"{arn}/listener/none"}, "ListenerNotFoundException"),
        "describe_accelerator": ({"AcceleratorArn": f"{arn}0"}, "AcceleratorNotFoundException"),
    }
    for call, (params, code) in refused.items():
        with pytest.raises(ClientError) as refusal:
            getattr(hand, call)(**params)
        assert refusal.value.response["Error"]["Code"] == code, call
    hand.update_accelerator(AcceleratorArn=arn, Enabled=False)
    with pytest.raises(ClientError, match="AssociatedListenerFoundException"):
        hand.delete_accelerator(AcceleratorArn=arn)
    hand.delete_listener(ListenerArn=listener["Listener"]["ListenerArn"])
    hand.delete_accelerator(AcceleratorArn=arn)
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client(endpoint, "globalaccelerator", "eu-central-1").list_accelerators()


@pytest.mark.process
def test_a_link_by_datagrams_has_two_listeners_and_loses_one_when_it_goes_back(endpoint: str) -> None:
    tcp = accelerated()
    udp = msgspec.structs.replace(tcp, link=tuple(msgspec.structs.replace(one, transport="udp") for one in tcp.link))
    empty = census(endpoint, tcp.regions)

    def listening() -> list[str]:
        return sorted(name for (_, kind, name) in census(endpoint, tcp.regions) if kind == "listener")

    Operator(endpoint, udp).up()
    assert listening() == ["TCP 8080 to [1]", "UDP 8080 to [1]"]
    assert Operator(endpoint, udp).up().aws.changing() == []
    Operator(endpoint, tcp).up()
    assert listening() == ["TCP 8080 to [1]"]
    assert Operator(endpoint, tcp).up().aws.changing() == []
    Operator(endpoint, tcp).down()
    assert census(endpoint, tcp.regions) == empty
