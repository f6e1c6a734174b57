"""VPC peerings: multipath resilience, which either side allows in its own region."""

from typing import Any

import msgspec
import pytest

from daemons.errors import ConfigError
from provisioning.loading import load_topology
from provisioning.topology import Topology
from provisioning.validation import check
from tests.provisioning.aws import Call, Operator, census, client

TOKYO, FRANKFURT = "ap-northeast-1", "eu-central-1"


def resilient(on: bool) -> Topology:
    topology = load_topology("backbone")
    peering = tuple(msgspec.structs.replace(one, multipath_resilience=on) for one in topology.peering)
    return msgspec.structs.replace(topology, peering=peering)


def sides(endpoint: str) -> dict[str, Any]:
    (item,) = client(endpoint, "ec2", TOKYO).describe_vpc_peering_connections()["VpcPeeringConnections"]
    return {
        side: item[f"{side}VpcInfo"].get("PeeringOptions", {}).get("AllowMultipathResilience", False)
        for side in ("Requester", "Accepter")
    }


@pytest.mark.process
def test_both_sides_allow_it_each_in_its_region_and_neither_does_again(endpoint: str) -> None:
    topology = resilient(True)
    empty = census(endpoint, topology.regions)
    up = Operator(endpoint, topology).up()
    calls = [call for call in up.aws.changing() if call.operation == "ModifyVpcPeeringConnectionOptions"]
    told = {call.region: call.params for call in calls if call.error is None}
    wanted = {"AllowMultipathResilience": True, "MultipathResilienceMode": "always-on"}
    assert told[TOKYO]["RequesterPeeringConnectionOptions"] == wanted
    assert told[FRANKFURT]["AccepterPeeringConnectionOptions"] == wanted
    assert sides(endpoint) == {"Requester": True, "Accepter": True}
    assert Operator(endpoint, topology).up().aws.changing() == []
    by_hand = client(endpoint, "ec2", FRANKFURT)
    (item,) = by_hand.describe_vpc_peering_connections()["VpcPeeringConnections"]
    by_hand.modify_vpc_peering_connection_options(
        VpcPeeringConnectionId=item["VpcPeeringConnectionId"],
        AccepterPeeringConnectionOptions={"AllowMultipathResilience": False},
    )
    engine = Operator(endpoint, topology).engine()
    engine.read()
    assert {step.key: step.texts for step in engine.plan()} == {
        "peering/tokyo-frankfurt": (f"allow multipath resilience in {FRANKFURT}",)
    }
    Operator(endpoint, resilient(False)).up()
    assert sides(endpoint) == {"Requester": False, "Accepter": False}
    assert Operator(endpoint, resilient(False)).up().aws.changing() == []
    Operator(endpoint, topology).down()
    assert census(endpoint, topology.regions) == empty


def test_inside_one_region_there_is_none() -> None:
    data = msgspec.to_builtins(resilient(True))
    data["site"][1]["region"] = TOKYO
    with pytest.raises(ConfigError, match=r"peering.tokyo-frankfurt.multipath_resilience: both sites are in"):
        check(msgspec.convert(data, Topology))


@pytest.mark.process
def test_a_peering_that_no_list_tells_of_yet_goes_with_its_networks(endpoint: str) -> None:
    topology = load_topology("backbone")
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    down = Operator(endpoint, topology)
    hidden: set[str] = set()

    def late(call: Call) -> None:
        if call.operation == "DescribeVpcPeeringConnections" and call.region not in hidden:
            hidden.add(call.region)
            call.answer["VpcPeeringConnections"].clear()

    down.aws.after.append(late)
    down.down()
    assert hidden == {TOKYO, FRANKFURT}
    assert census(endpoint, topology.regions) == empty
