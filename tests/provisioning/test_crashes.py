"""Process death and lost answers at every changing call, one run for each call.

A call is named by operation, region and its number among those: threads may change the order between regions, not
that.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from provisioning.loading import load_topology
from tests.provisioning.aws import Call, Once, Operator, ProcessDeathError, census, lost
from tests.provisioning.conftest import reset

pytestmark = pytest.mark.soak

Name = tuple[str, str, int]


def names(calls: list[Call]) -> list[Name]:
    seen: Counter[tuple[str, str]] = Counter()
    result = []
    for call in calls:
        seen[call.operation, call.region] += 1
        result.append((call.operation, call.region, seen[call.operation, call.region]))
    return result


def at(name: Name, outcome: object) -> Once:
    operation, region, number = name
    return Once(lambda call: (call.operation, call.region) == (operation, region), lambda: outcome, number)


def each(endpoint: str, calls: list[Name]) -> Iterator[Name]:
    for name in calls:
        reset(endpoint)
        yield name


@pytest.mark.parametrize(
    ("topology_name", "moment"), [("backbone", "before"), ("egress", "before"), ("egress", "after")]
)
def test_up_killed_at_every_changing_call_is_completed_by_the_next(
    endpoint: str, topology_name: str, moment: str
) -> None:
    topology = load_topology(topology_name)
    clean = Operator(endpoint, topology).up()
    good = census(endpoint, topology.regions)
    calls = names(clean.aws.changing())
    assert len(calls) > 40
    for name in each(endpoint, calls):
        operator = Operator(endpoint, topology)
        getattr(operator.aws, moment).append(at(name, ProcessDeathError()))
        with pytest.raises(ProcessDeathError):
            operator.up()
        Operator(endpoint, topology).up()
        assert census(endpoint, topology.regions) == good, name
        assert Operator(endpoint, topology).up().aws.changing() == [], name


@pytest.mark.parametrize(
    ("topology_name", "moment"), [("backbone", "before"), ("egress", "before"), ("egress", "after")]
)
def test_down_killed_at_every_changing_call_is_completed_by_the_next(
    endpoint: str, topology_name: str, moment: str
) -> None:
    topology = load_topology(topology_name)
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    calls = names(Operator(endpoint, topology).down().aws.changing())
    assert len(calls) > 25
    for name in each(endpoint, calls):
        Operator(endpoint, topology).up()
        operator = Operator(endpoint, topology)
        getattr(operator.aws, moment).append(at(name, ProcessDeathError()))
        with pytest.raises(ProcessDeathError):
            operator.down()
        Operator(endpoint, topology).down()
        assert census(endpoint, topology.regions) == empty, name


@pytest.mark.parametrize("topology_name", ["egress"])
def test_a_lost_answer_to_any_changing_call_changes_nothing_in_the_end(endpoint: str, topology_name: str) -> None:
    topology = load_topology(topology_name)
    empty = census(endpoint, topology.regions)
    up_calls = names(Operator(endpoint, topology).up().aws.changing())
    good = census(endpoint, topology.regions)
    for name in each(endpoint, up_calls):
        operator = Operator(endpoint, topology)
        fault = at(name, lost())
        operator.aws.after.append(fault)
        operator.up()
        assert fault.struck, name
        assert census(endpoint, topology.regions) == good, name
    down_calls = names(Operator(endpoint, topology).down().aws.changing())
    for name in each(endpoint, down_calls):
        Operator(endpoint, topology).up()
        operator = Operator(endpoint, topology)
        fault = at(name, lost())
        operator.aws.after.append(fault)
        operator.down()
        assert fault.struck, name
        assert census(endpoint, topology.regions) == empty, name
