"""Any valid topology, applied to any reachable partial state, is reached; and from there `down` reaches nothing."""

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from provisioning.errors import ProvisionError
from provisioning.topology import Host, Link, Overlay, Peering, Proxy, Site, Subnet, Target, Topology
from provisioning.validation import check
from tests.provisioning.aws import Call, Operator, ProcessDeathError, census
from tests.provisioning.conftest import reset
from tests.provisioning.emulator import REGIONS

SITES = {
    "alpha": ("ap-northeast-1", "10.0"),
    "beta": ("eu-central-1", "10.1"),
    "gamma": ("ap-southeast-1", "10.2"),
}
FEED = "wss://stream.example:9443/ws"
TARGET = (Target(name="t", url="https://api.example/time"),)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    def coin() -> bool:
        flip: bool = draw(st.booleans())
        return flip

    names = draw(st.lists(st.sampled_from(sorted(SITES)), min_size=1, max_size=3, unique=True))
    sites = tuple(
        Site(
            name=name,
            region=SITES[name][0],
            cidr=f"{SITES[name][1]}.0.0/16",
            subnet=(
                Subnet(name="public", cidr=f"{SITES[name][1]}.1.0/24"),
                Subnet(name="private", cidr=f"{SITES[name][1]}.2.0/24", public=False),
            ),
        )
        for name in names
    )
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    peered: list[tuple[str, str]] = []
    for one, other in pairs:
        if coin():
            peered.append((one, other) if coin() else (other, one))
    hosts: list[Host] = []
    links: list[Link] = []
    overlay = None

    def public(name: str, role: Any, site: str, last: int, **more: Any) -> Host:
        address = f"{SITES[site][1]}.1.{last}"
        size = draw(st.sampled_from(["t3.micro", "t3.small"]))
        settings: dict[str, Any] = {"public": "assigned", "type": size, **more}
        return Host(name=name, role=role, site=site, subnet="public", address=address, **settings)

    for number, name in enumerate(names):
        if coin():
            hosts.append(public(f"probe-{number}", "probe", name, 30, target=TARGET))
    if peered and coin():
        a, b = peered[0]
        hosts.append(public("forwarder", "forwarder", a, 10, feed=FEED))
        hosts.append(public("receiver", "receiver", b, 11))
        transport: Any = draw(st.sampled_from(["tcp", "udp"]))
        links.append(Link(forwarder="forwarder", receiver="receiver", transport=transport))
    if peered and coin():
        a, b = peered[-1]
        hosts.append(public("nat", "nat", b, 20, public="elastic"))
        hosts.append(
            Host(name="client", role="probe", site=a, subnet="private", address=f"{SITES[a][1]}.2.10", target=TARGET)
        )
        overlay = Overlay(client="client", gateway="nat", kind=draw(st.sampled_from(["ipip", "wireguard"])))
    if hosts and coin():
        hosts.append(public("monitor", "monitor", names[0], 40))
    proxy, ends = drawn_proxy(draw, peered)
    hosts += ends
    topology = Topology(
        site=sites,
        host=tuple(hosts),
        peering=tuple(Peering(requester=a, accepter=b) for a, b in peered),
        link=tuple(links),
        overlay=overlay,
        proxy=proxy,
        owner=draw(st.sampled_from(["", "desk"])),
    )
    check(topology)
    return topology


def drawn_proxy(draw: st.DrawFn, peered: list[tuple[str, str]]) -> tuple[Proxy | None, list[Host]]:
    if not peered or not draw(st.booleans()):
        return None, []
    client, gateway = peered[0]
    near, far = SITES[client][1], SITES[gateway][1]
    names = draw(st.sampled_from([(), ("ip.example:8443",)]))
    return Proxy(client="proxied", gateway="proxy", names=names), [
        Host(name="proxied", role="probe", site=client, subnet="private", address=f"{near}.2.11", target=TARGET),
        Host(name="proxy", role="proxy", site=gateway, subnet="public", address=f"{far}.1.21", public="elastic"),
    ]


class DieAfter:
    """Kills the process when a number of changing calls took effect."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, call: Call) -> BaseException | None:
        if call.changes:
            self.left -= 1
        return ProcessDeathError() if self.left < 0 else None


def run_and_die(operator: Operator, verb: str, calls: int) -> None:
    operator.aws.after.append(DieAfter(calls))
    try:
        getattr(operator, verb)()
    except ProcessDeathError:
        return


def quietly(examples: int) -> settings:
    """A run is of seconds, on one emulator for all: what hypothesis would warn about is meant."""
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=RUN
    )


RUN = tuple(phase for phase in Phase if phase is not Phase.shrink)
PARTS: dict[str, Any] = {
    "first": topologies(),
    "second": topologies(),
    "built": st.integers(0, 90),
    "removed": st.integers(0, 60),
}


@pytest.mark.process
@quietly(2)
@given(**PARTS)
def test_some_topology_is_reached_from_some_partial_state(
    moto: str, first: Topology, second: Topology, built: int, removed: int
) -> None:
    reaches(moto, first, second, built, removed)


@pytest.mark.exhaustive
@quietly(12)
@given(**PARTS)
def test_any_topology_is_reached_from_any_partial_state(
    moto: str, first: Topology, second: Topology, built: int, removed: int
) -> None:
    reaches(moto, first, second, built, removed)


def reaches(moto: str, first: Topology, second: Topology, built: int, removed: int) -> None:
    reset(moto)
    empty = census(moto, REGIONS)
    run_and_die(Operator(moto, first), "up", built)
    Operator(moto, second).up()
    assert Operator(moto, second).up().aws.changing() == []
    reached = but_for_the_regions_of_buckets(moto)
    run_and_die(Operator(moto, second), "down", removed)
    Operator(moto, first).down()
    assert census(moto, REGIONS) == empty
    Operator(moto, second).up()
    assert but_for_the_regions_of_buckets(moto) == reached


def but_for_the_regions_of_buckets(moto: str) -> Counter[tuple[str, str, str]]:
    """The census; a bucket that a killed run made is taken over where it stands, and made anew it stands at home."""
    found: Counter[tuple[str, str, str]] = Counter()
    for (region, kind, name), number in census(moto, REGIONS).items():
        found[region, kind, re.sub(r"(-\d{12}-)[a-z0-9-]+-an", r"\1*-an", name)] += number
    return found


NAMES = ("lat", "lat-x", "sg-lat")
"""With hosts called ``x-nat`` and ``nat`` these once meant the same role, and a group that AWS refuses."""


@st.composite
def commands(draw: st.DrawFn, most: int) -> list[tuple[str, str, Topology]]:
    """What operators do one after another: a verb, a deployment's name, and whatever topology is at hand."""
    at_hand = [draw(topologies()) for _ in range(3)]
    verb, name = st.sampled_from(["up", "up", "down", "killed"]), st.sampled_from(NAMES)
    number = draw(st.integers(2, most))
    return [(draw(verb), draw(name), draw(st.sampled_from(at_hand))) for _ in range(number)]


@pytest.mark.process
@quietly(2)
@given(commands(3), st.integers(0, 90))
def test_some_commands_leave_no_host_that_the_last_does_not_name(
    moto: str, sequence: list[tuple[str, str, Topology]], calls: int
) -> None:
    leave_no_host(moto, sequence, calls)


@pytest.mark.exhaustive
@quietly(12)
@given(commands(7), st.integers(0, 90))
def test_any_commands_leave_no_host_that_the_last_does_not_name(
    moto: str, sequence: list[tuple[str, str, Topology]], calls: int
) -> None:
    leave_no_host(moto, sequence, calls)


def leave_no_host(moto: str, sequence: list[tuple[str, str, Topology]], calls: int) -> None:
    """After each command that ends well, exactly the hosts stand that the last one for each name asked for."""
    reset(moto)
    empty = census(moto, REGIONS)
    wanted: dict[str, Topology] = {}
    for verb, name, topology in sequence:
        operator = Operator(moto, topology, name)
        if verb == "down":
            operator.down()
            wanted.pop(name, None)
        elif verb == "killed":
            run_and_die(operator, "up", calls)
            Operator(moto, topology, name).down()
            wanted.pop(name, None)
        else:
            try:
                operator.up()
            except ProvisionError as error:
                assert "needs `down` first" in str(error)  # noqa: PT017 - an address block cannot change: all as before
                assert operator.aws.changing() == []
            else:
                wanted[name] = topology
        assert hosts_in(moto) == Counter(
            (named, f"host/{host.name}", one.site_of(host).region) for named, one in wanted.items() for host in one.host
        )
    for name in NAMES:
        Operator(moto, sequence[0][2], name).down()
    assert census(moto, REGIONS) == empty


def hosts_in(moto: str) -> Counter[tuple[str, str, str]]:
    """Every host that runs in the account, by deployment, key and region."""
    found: Counter[tuple[str, str, str]] = Counter()
    for (region, kind, text), number in census(moto, REGIONS).items():
        if kind == "instance":
            deployment, _, key = text.partition("/")
            found[deployment, key, region] += number
    return found
