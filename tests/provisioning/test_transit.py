"""Transit gateways: what a topology must say, and what stands, changes and goes in the account."""

from typing import Any

import msgspec
import pytest

from daemons.errors import ConfigError
from provisioning.cost import Traffic, estimate, hour_of
from provisioning.desired import desired
from provisioning.errors import ProvisionError
from provisioning.firewall import firewall
from provisioning.loading import load_topology
from provisioning.model import Deployment, Node
from provisioning.roleconfig import role_files
from provisioning.topology import Link, Topology
from provisioning.userdata import host_files
from provisioning.validation import check
from tests.provisioning.aws import Call, Once, Operator, ProcessDeathError, catch_up, census, client, lost, operation
from tests.provisioning.test_topology import changed

TOKYO, FRANKFURT = "ap-northeast-1", "eu-central-1"
LATE = ("CreateTransitGateway", "CreateTransitGatewayVpcAttachment", "CreateTransitGatewayPeeringAttachment")


def graph(topology: Topology) -> dict[str, Node]:
    return desired(topology, Deployment("test"), "123456789012", lambda: b"a bundle")


def without_peering(**changes: Any) -> Topology:
    """The two sites joined by transit gateways alone."""
    link = Link("forwarder", "receiver", via="transit")
    bare = msgspec.structs.replace(load_topology("ways"), peering=(), link=(link,), **changes)
    hosts = tuple(msgspec.structs.replace(host, second_address="") for host in bare.host)
    return msgspec.structs.replace(bare, host=hosts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transit__0__accepter": "paris"}, "transit.tokyo-paris: 'paris' is not a site"),
        ({"transit__0__accepter": "tokyo"}, "both sites are in ap-northeast-1; join sites of two regions"),
        (
            {"transit__1": {"requester": "frankfurt", "accepter": "tokyo"}},
            "transit.frankfurt-tokyo: the two sites are joined already",
        ),
        ({"site__0__transit": ""}, "site.tokyo.transit: is missing; give a free block"),
        ({"site__0__transit": "10.0.1.0/26"}, "10.0.1.0/26 overlaps public's 10.0.1.0/24"),
        ({"site__0__transit": "10.1.255.0/26"}, "10.1.255.0/26 is not inside 10.0.0.0/16"),
        ({"site__0__transit": "10.0.255.0/29"}, "has no /28 for each of 1 zones"),
        ({"site__0__transit": "some"}, "'some' is not an IPv4 network"),
        (
            {"transit": [], "link": [{"forwarder": "forwarder", "receiver": "receiver"}]},
            "no [[transit]] names the site",
        ),
        ({"transit": [], "site__0__transit": "", "site__1__transit": ""}, "link.transit: no transit gateways join"),
        ({"host__1__second_address": ""}, "host.receiver.second_address: is missing: its first is reached otherwise"),
        ({"host__0__second_address": "10.0.1.10"}, "host.forwarder.second_address: 10.0.1.10 is forwarder.address"),
        ({"host__0__second_address": "10.0.2.9"}, "host.forwarder.second_address: 10.0.2.9 is not in public"),
    ],
)
def test_what_would_not_carry_anything_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(changed("ways", **changes))
    assert message in str(refused.value)


def test_every_zone_with_hosts_has_a_part_of_the_attachment() -> None:
    zones = load_topology("zones")
    data = msgspec.to_builtins(zones)
    for site, block in zip(data["site"], ("10.0.255.0/26", "10.1.255.0/26"), strict=True):
        site["transit"] = block
    data |= {"peering": [], "transit": [{"requester": "tokyo", "accepter": "frankfurt"}]}
    for link in data["link"]:
        link["via"] = "transit"
    topology = msgspec.convert(data, Topology)
    check(topology)
    nodes = graph(topology)
    parts = nodes["transit-attachment/tokyo"].spec.subnets
    assert [nodes[key].spec.beside for key in parts] == [f"subnet/tokyo/az{number}" for number in (1, 2, 4)]
    assert [nodes[key].spec.cidr for key in parts] == ["10.0.255.0/28", "10.0.255.16/28", "10.0.255.32/28"]
    # Two subnets in one zone share a part; where it is not known which zone that is, nothing can be shared.
    data["site"][0]["subnet"][1]["zone_id"] = "apne1-az1"
    assert len(graph(msgspec.convert(data, Topology))["transit-attachment/tokyo"].spec.subnets) == 2
    data["site"][0]["subnet"][1]["zone_id"] = ""
    with pytest.raises(ConfigError, match="not known which of the site's subnets share a zone"):
        check(msgspec.convert(data, Topology))


def test_beside_a_peering_the_gateway_has_the_second_addresses() -> None:
    both = graph(load_topology("ways"))
    assert dict(both["routes/tokyo/public"].spec.routes) == {
        "10.1.0.0/16": "peering/tokyo-frankfurt",
        "10.1.1.11/32": "transit/tokyo",
        "0.0.0.0/0": "gateway/tokyo",
    }
    alone = graph(without_peering())
    assert dict(alone["routes/tokyo/public"].spec.routes)["10.1.0.0/16"] == "transit/tokyo"
    assert "transit-attachment/tokyo" in alone["routes/tokyo/public"].needs
    assert both["host/receiver"].spec.addresses == ("10.1.1.10", "10.1.1.11")


def test_the_link_goes_between_the_second_addresses() -> None:
    topology = load_topology("ways")
    forwarder, receiver = topology.named_host("forwarder"), topology.named_host("receiver")
    ((_, _, sends),) = role_files(topology, forwarder, "desk")
    assert 'address = "10.1.1.11:8080"\nsource_address = "10.0.1.11"' in sends
    takes = next(text for path, _, text in role_files(topology, receiver, "desk") if path.endswith("receiver.toml"))
    assert 'allowed_sources = ["10.0.1.11/32"]' in takes
    ingress, _ = firewall(topology, receiver)
    _, egress = firewall(topology, forwarder)
    assert {str(rule) for rule in ingress} >= {"tcp 8080 10.0.1.10/32", "tcp 8080 10.0.1.11/32"}
    assert {str(rule) for rule in egress} >= {"tcp 8080 10.1.1.10/32", "tcp 8080 10.1.1.11/32"}
    files = {path: text for path, _, text in host_files(topology, forwarder, "desk", "b", TOKYO, ())}
    unit = files["/etc/systemd/system/latency-second-address.service"]
    assert "ExecStart=ip address replace 10.0.1.11/32 dev lo" in unit


def test_four_attachments_and_what_goes_through_them_are_charged() -> None:
    result = estimate(load_topology("ways"), Traffic(link_gb=10))
    items = {item.what: item for item in result.items}
    attachments = {name: item for name, item in items.items() if name.startswith("transit gateway")}
    assert sum(item.hour or 0.0 for item in attachments.values()) == pytest.approx(0.26)
    assert {item.where for item in attachments.values() if item.verified} == {TOKYO}
    assert items["link transit: transit gateway"].per_30_days == pytest.approx(0.2)
    assert items[f"link transit: {TOKYO} to {FRANKFURT}"].per_30_days == pytest.approx(0.9)


@pytest.mark.process
def test_gateways_alone_join_two_sites_and_cost_what_is_told(endpoint: str) -> None:
    topology = without_peering()
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    assert Operator(endpoint, topology).up().aws.changing() == []
    standing = [found for found in Operator(endpoint, topology).left() if found.kind.startswith("transit")]
    assert hour_of(standing) == pytest.approx(0.26)
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_what_was_changed_by_hand_is_shown_and_mended(endpoint: str) -> None:
    topology = load_topology("ways")
    Operator(endpoint, topology).up()
    hand = client(endpoint, "ec2", TOKYO)
    (table,) = (
        item["TransitGatewayRouteTableId"]
        for item in hand.describe_transit_gateway_route_tables()["TransitGatewayRouteTables"]
        if not item["DefaultAssociationRouteTable"]
    )
    (peering,) = hand.describe_transit_gateway_peering_attachments()["TransitGatewayPeeringAttachments"]
    identity = peering["TransitGatewayAttachmentId"]
    hand.delete_transit_gateway_route(TransitGatewayRouteTableId=table, DestinationCidrBlock="10.1.0.0/16")
    hand.create_transit_gateway_route(
        TransitGatewayRouteTableId=table, DestinationCidrBlock="192.0.2.0/24", TransitGatewayAttachmentId=identity
    )
    hand.disassociate_transit_gateway_route_table(TransitGatewayRouteTableId=table, TransitGatewayAttachmentId=identity)
    engine = Operator(endpoint, topology).engine()
    engine.read()
    assert {step.key: step.texts for step in engine.plan()} == {
        "transit-routes/tokyo": (
            "associate transit-peering/tokyo-frankfurt",
            "route 10.1.0.0/16 to transit-peering/tokyo-frankfurt",
            f"remove route 192.0.2.0/24 to {identity}",
        )
    }
    Operator(endpoint, topology).up()
    assert Operator(endpoint, topology).up().aws.changing() == []


@pytest.mark.process
def test_gateways_that_nothing_asks_for_any_more_go(endpoint: str) -> None:
    topology = load_topology("ways")
    sites = tuple(msgspec.structs.replace(site, transit="") for site in topology.site)
    plain = msgspec.structs.replace(topology, site=sites, transit=(), link=topology.link[:1])
    Operator(endpoint, plain).up()
    without = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    assert census(endpoint, topology.regions) != without
    Operator(endpoint, plain).up()
    # An accelerator leaves its group in the VPC, costs nothing by it, and may come again: it goes with the VPC.
    left = census(endpoint, topology.regions) - without
    assert left == {("eu-central-1", "group", "None/None"): 1}
    Operator(endpoint, plain).down()
    assert not census(endpoint, topology.regions)


@pytest.mark.process
def test_routes_and_associations_that_went_meanwhile_are_not_in_the_way(endpoint: str) -> None:
    topology = without_peering()
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    operator = Operator(endpoint, topology)
    went: list[str] = []

    def go(call: Call) -> None:
        """Somebody else is a moment faster with the same call."""
        names = {
            "DeleteTransitGatewayRoute": "delete_transit_gateway_route",
            "DisassociateTransitGatewayRouteTable": "disassociate_transit_gateway_route_table",
        }
        if call.operation in names and call.region == TOKYO:
            getattr(client(endpoint, "ec2", TOKYO), names[call.operation])(**call.params)
            went.append(call.operation)

    operator.aws.before.append(go)
    operator.down()
    assert set(went) == {"DeleteTransitGatewayRoute", "DisassociateTransitGatewayRouteTable"}
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_a_lost_answer_makes_no_second_gateway(endpoint: str) -> None:
    topology = load_topology("ways")
    good = census(endpoint, Operator(endpoint, topology).up().topology.regions)
    Operator(endpoint, topology).down()
    operator = Operator(endpoint, topology)
    faults = [Once(operation(name), lost) for name in (*LATE, "CreateTransitGatewayRouteTable")]
    operator.aws.after.extend(faults)
    operator.up()
    assert all(fault.struck for fault in faults)
    assert census(endpoint, topology.regions) == good


@pytest.mark.process
def test_a_table_that_is_not_known_yet_is_waited_for(endpoint: str) -> None:
    operator = Operator(endpoint, without_peering())
    late = [
        Once(operation(name), lambda: ("InvalidRouteTableID.NotFound", "The ID does not exist"))
        for name in ("GetTransitGatewayRouteTableAssociations", "SearchTransitGatewayRoutes")
    ]
    operator.aws.before.extend(late)
    operator.up()
    assert all(fault.struck for fault in late)


@pytest.mark.process
@pytest.mark.parametrize("name", LATE)
def test_what_is_still_being_made_after_a_death_goes_too(endpoint: str, name: str) -> None:
    topology = load_topology("ways")
    empty = census(endpoint, topology.regions)
    operator = Operator(endpoint, topology)
    operator.aws.after.append(Once(operation(name), ProcessDeathError))
    with pytest.raises(ProcessDeathError):
        operator.up()
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


@pytest.mark.process
def test_a_peering_that_fails_ends_the_run_with_the_reason(endpoint: str) -> None:
    operator = Operator(endpoint, load_topology("ways"))
    told = {"Code": "400", "Message": "the gateway of the peer was deleted"}

    def failed(call: Call) -> None:
        for item in call.answer.get("TransitGatewayPeeringAttachments", []):
            item |= {"State": "failed", "Status": told}

    tell = operator.aws.world.after

    def after(call: Call, answer: dict[str, Any]) -> None:
        tell(call, answer)
        accepted = any(item.operation == "AcceptTransitGatewayPeeringAttachment" for item in operator.aws.calls)
        if accepted:
            call.answer = answer
            failed(call)

    operator.aws.world.after = after  # type: ignore[method-assign]
    try:
        with pytest.raises(ProvisionError, match="is failed: the gateway of the peer was deleted; run again"):
            operator.up()
    finally:
        del operator.aws.world.after


@pytest.mark.process
def test_a_strangers_attachment_stays_and_is_named(endpoint: str) -> None:
    topology = load_topology("ways")
    Operator(endpoint, topology).up()
    hand = client(endpoint, "ec2", TOKYO)
    vpc = hand.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = hand.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    (gateway,) = hand.describe_transit_gateways()["TransitGateways"]
    theirs = hand.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway["TransitGatewayId"], VpcId=vpc, SubnetIds=[subnet]
    )["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    with pytest.raises(ProvisionError) as told:
        Operator(endpoint, topology).down()
    assert theirs in "\n".join([str(told.value), *told.value.__notes__])
    catch_up(endpoint)
    assert [found.key for found in Operator(endpoint, topology).left()] == ["transit/tokyo"]
    hand.delete_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=theirs)
    Operator(endpoint, topology).down()
    assert Operator(endpoint, topology).left() == []
