"""Where and how instances are launched: zones, hosts that share a subnet, and the credit mode of burstable types."""

from typing import Any

import msgspec
import pytest

from provisioning.errors import CapacityError
from provisioning.loading import adjusted, load_topology
from provisioning.topology import Host
from tests.provisioning.aws import Call, Operator, census

FULL = "InsufficientInstanceCapacity", "We currently do not have sufficient t3.micro capacity"


def host_of(call: Call) -> str:
    tags = call.params["TagSpecifications"][0]["Tags"]
    return str(next(tag["Value"] for tag in tags if tag["Key"] == "latency:key"))


def zones_of(operator: Operator) -> list[str]:
    return [
        call.params["AvailabilityZone"]
        for call in operator.aws.calls
        if call.operation == "CreateSubnet" and call.region == "ap-northeast-1" and call.error is None
    ]


@pytest.mark.process
def test_a_subnet_is_not_taken_from_under_another_launch(endpoint: str) -> None:
    """Two hosts of one subnet come to be launched at once, and the first zone has no room for one of them."""
    topology = load_topology("full")
    operator = Operator(endpoint, topology)

    def crowded(call: Call) -> Any:
        first_zone = len(zones_of(operator)) == 1
        return FULL if call.operation == "RunInstances" and host_of(call) == "host/forwarder" and first_zone else None

    operator.aws.before.append(crowded)
    try:
        operator.up()
    except CapacityError as error:
        # The NAT instance was first: it stays where it is.
        assert "(tried ap-northeast-1a: host/nat stands in its subnet, which stays)" in str(error)  # noqa: PT017
        assert zones_of(operator) == ["ap-northeast-1a"]
        Operator(endpoint, topology).up()
    else:
        assert zones_of(operator) == ["ap-northeast-1a", "ap-northeast-1c"]
    assert Operator(endpoint, topology).up().aws.changing() == []
    instances = {
        key: count for (_, kind, key), count in census(endpoint, topology.regions).items() if kind == "instance"
    }
    assert instances == {f"test/host/{host.name}": 1 for host in topology.host}


@pytest.mark.process
def test_a_subnet_that_aws_keeps_for_something_unseen_is_left(endpoint: str) -> None:
    """A launch whose answer was lost, or somebody's interface: only the refusal to delete the subnet tells."""
    operator = Operator(endpoint, load_topology("backbone"))

    def kept(call: Call) -> Any:
        if call.region != "ap-northeast-1":
            return None
        in_use = "DependencyViolation", "The subnet has dependencies and cannot be deleted."
        return {"RunInstances": FULL, "DeleteSubnet": in_use}.get(call.operation)

    operator.aws.before.append(kept)
    with pytest.raises(CapacityError, match=r"tried ap-northeast-1a: something stands in its subnet, which stays"):
        operator.up()
    Operator(endpoint, load_topology("backbone")).up()


@pytest.mark.process
def test_what_measures_is_not_throttled(endpoint: str) -> None:
    topology = adjusted(load_topology("backbone"), types={"receiver": "c7i.large"}, monitor=True)
    operator = Operator(endpoint, topology).up()
    modes = {
        host_of(call): call.params.get("CreditSpecification", {}).get("CpuCredits")
        for call in operator.aws.calls
        if call.operation == "RunInstances"
    }
    assert modes == {"host/forwarder": "unlimited", "host/receiver": None, "host/monitor": "standard"}


def test_the_credit_mode_is_the_roles_unless_chosen() -> None:
    def mode(kind: str, role: Any = "probe", **more: Any) -> str:
        return Host(name="x", role=role, site="s", subnet="n", address="10.0.0.4", type=kind, **more).credit_mode

    assert {mode(kind) for kind in ("t2.micro", "t3.micro", "t3a.nano", "t4g.small")} == {"unlimited"}
    # Their names begin with a t, and they have no credits: AWS refuses the option.
    assert {mode(kind) for kind in ("trn1.2xlarge", "trn2.48xlarge", "c7i.large")} == {""}
    assert mode("t3.micro", "monitor") == "standard"
    assert mode("t3.micro", "monitor", cpu_credits="unlimited") == "unlimited"
    assert mode("c7i.large", cpu_credits="standard") == ""
    wished = adjusted(load_topology("full"), types={}, cpu_credits="standard")
    assert {host.credit_mode for host in wished.host} == {"standard"}
    assert {msgspec.structs.replace(host, cpu_credits="").credit_mode for host in wished.host} == {"unlimited"}
