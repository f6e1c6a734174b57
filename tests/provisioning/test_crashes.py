"""Process death and lost answers at every changing call, one run for each call.

Death comes when the call took effect and before its answer is read, which is also the state of a death right before the
next call.

A call is named by operation, region and its number among those: threads may change the order between regions, not
that. Calls that were refused (a volume that went with its instance) changed nothing and are not struck. `make
exhaustive` strikes every call; `make test` some of them, drawn by a seed.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from provisioning.loading import BUILT_IN, adjusted, load_topology
from provisioning.topology import Topology
from tests.provisioning.aws import Call, Once, Operator, ProcessDeathError, census, lost
from tests.provisioning.conftest import reset

pytestmark = pytest.mark.process

SPREAD = 2
Name = tuple[str, str, int]


def names(calls: list[Call]) -> list[Name]:
    seen: Counter[tuple[str, str]] = Counter()
    result = []
    for call in calls:
        if call.error is not None:
            continue
        seen[call.operation, call.region] += 1
        result.append((call.operation, call.region, seen[call.operation, call.region]))
    return result


def at(name: Name, outcome: object) -> Once:
    operation, region, number = name
    return Once(lambda call: (call.operation, call.region) == (operation, region), lambda: outcome, number)


OFTEN = ("backbone", "proxy")
CASES = [*(("some", name) for name in OFTEN), *(("every", name) for name in (*BUILT_IN, "egress-by-transit"))]


def shape(name: str) -> Topology:
    """A built-in topology, or one whose overlay is of transit gateways."""
    base, by, overlay = name.partition("-by-")
    return adjusted(load_topology(base), types={}, overlay=overlay) if by else load_topology(base)


@pytest.fixture(
    params=[
        pytest.param(case, marks=pytest.mark.exhaustive if case[0] == "every" else (), id="-".join(case))
        for case in CASES
    ]
)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Which calls are struck, of which topology."""
    which, name = request.param
    return which, name


def each(endpoint: str, which: str, names: list[Name]) -> Iterator[Name]:
    for name in names if which == "every" else random.Random(6).sample(sorted(names), SPREAD):
        reset(endpoint)
        yield name


def killed(operator: Operator, command: Callable[[], object], name: Name) -> bool:
    """Whether the command died at that call; else it came to its end without it."""
    operator.aws.after.append(at(name, ProcessDeathError()))
    try:
        command()
    except ProcessDeathError:
        return True
    return False


def assert_nearly_all_struck(unstruck: list[Name], tried: int) -> None:
    """A late answer makes now and then a call more than the next run needs: such calls are few."""
    assert len(unstruck) <= max(1, tried // 20), unstruck


def test_up_killed_at_every_changing_call_is_completed_by_the_next(endpoint: str, case: tuple[str, str]) -> None:
    calls, topology_name = case
    topology = shape(topology_name)
    clean = Operator(endpoint, topology).up()
    good = census(endpoint, topology.regions)
    changing = names(clean.aws.changing())
    assert len(changing) > 40, topology_name
    tried, unstruck = 0, []
    for name in each(endpoint, calls, changing):
        tried += 1
        operator = Operator(endpoint, topology)
        if not killed(operator, operator.up, name):
            unstruck.append(name)
        Operator(endpoint, topology).up()
        assert census(endpoint, topology.regions) == good, name
        assert Operator(endpoint, topology).up().aws.changing() == [], name
    assert_nearly_all_struck(unstruck, tried)


def test_down_killed_at_every_changing_call_is_completed_by_the_next(endpoint: str, case: tuple[str, str]) -> None:
    calls, topology_name = case
    topology = shape(topology_name)
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    changing = names(Operator(endpoint, topology).down().aws.changing())
    assert len(changing) > 25
    tried, unstruck = 0, []
    for name in each(endpoint, calls, changing):
        tried += 1
        Operator(endpoint, topology).up()
        operator = Operator(endpoint, topology)
        if not killed(operator, operator.down, name):
            unstruck.append(name)
        Operator(endpoint, topology).down()
        assert census(endpoint, topology.regions) == empty, name
    assert_nearly_all_struck(unstruck, tried)


def test_an_answer_lost_to_any_call_of_up_changes_nothing_in_the_end(endpoint: str, case: tuple[str, str]) -> None:
    calls, topology_name = case
    topology = shape(topology_name)
    changing = names(Operator(endpoint, topology).up().aws.changing())
    good = census(endpoint, topology.regions)
    tried, unstruck = 0, []
    for name in each(endpoint, calls, changing):
        tried += 1
        operator = Operator(endpoint, topology)
        fault = at(name, lost())
        operator.aws.after.append(fault)
        operator.up()
        if not fault.struck:
            unstruck.append(name)
        assert census(endpoint, topology.regions) == good, name
    assert_nearly_all_struck(unstruck, tried)


def test_an_answer_lost_to_any_call_of_down_changes_nothing_in_the_end(endpoint: str, case: tuple[str, str]) -> None:
    calls, topology_name = case
    topology = shape(topology_name)
    empty = census(endpoint, topology.regions)
    Operator(endpoint, topology).up()
    changing = names(Operator(endpoint, topology).down().aws.changing())
    tried, unstruck = 0, []
    for name in each(endpoint, calls, changing):
        tried += 1
        Operator(endpoint, topology).up()
        operator = Operator(endpoint, topology)
        fault = at(name, lost())
        operator.aws.after.append(fault)
        operator.down()
        if not fault.struck:
            unstruck.append(name)
        assert census(endpoint, topology.regions) == empty, name
    assert_nearly_all_struck(unstruck, tried)
