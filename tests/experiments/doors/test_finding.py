"""A name's addresses from resolvers that answer well, badly, or not at all."""

import asyncio
import socket

import dns.message
import pytest

from experiments.doors import finding
from experiments.doors.finding import SYSTEM, URL, Finder, FoundAddresses, has_way
from tests.experiments.doors.nameserver import Answer, answering, zone

V4 = [f"192.0.2.{number}" for number in range(1, 9)]
V6 = ["2001:db8::1", "2001:db8::2"]
NAME = "stream.example.com"


def found(*answers: Answer, name: str = NAME, system: bool = False) -> FoundAddresses:
    async def ask() -> FoundAddresses:
        async with asyncio.TaskGroup():
            servers = [answering(answer) for answer in answers]
            ports = [await server.__aenter__() for server in servers]
            try:
                return await Finder(name, 443, [("127.0.0.1", port) for port in ports], system=system).look()
            finally:
                for server in servers:
                    await server.__aexit__(None, None, None)

    return asyncio.run(ask())


def only(of: dict[str, list[str]]) -> list[str]:
    (addresses,) = of.values()
    return addresses


def test_all_records_of_both_families_are_found_through_an_alias() -> None:
    records = {
        (f"{NAME}.", "CNAME"): ["edge.example.net."],
        ("edge.example.net.", "A"): V4,
        ("edge.example.net.", "AAAA"): V6,
    }
    got = found(zone(records, ttl=7))
    assert sorted(only(got.addresses)) == sorted([*V4, *V6])
    assert got.troubles == {}
    assert got.again_seconds == 7.0


def test_a_name_without_ipv6_is_no_trouble() -> None:
    got = found(zone({(f"{NAME}.", "A"): V4}))
    assert sorted(only(got.addresses)) == V4
    assert got.troubles == {}


def test_an_answer_that_is_cut_is_had_whole_by_tcp() -> None:
    many = [f"198.51.100.{number}" for number in range(1, 100)]
    assert len(only(found(zone({(f"{NAME}.", "A"): many})).addresses)) == 99


def test_resolvers_are_asked_side_by_side_and_one_that_fails_is_told() -> None:
    good, other = zone({(f"{NAME}.", "A"): V4[:3]}), zone({(f"{NAME}.", "A"): V4[3:]})
    nobody = zone({("another.example.com.", "A"): V4})
    got = found(good, other, nobody)
    assert sorted(address for named in got.addresses.values() for address in named) == V4
    (trouble,) = got.troubles.values()
    assert trouble == f"{NAME}: no such name; check its spelling"


@pytest.mark.parametrize("answer", [b"", b"\0" * 5, b"\xff" * 600, None], ids=["empty", "short", "noise", "silence"])
def test_a_resolver_that_answers_nonsense_or_nothing_costs_its_limit_alone(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_PATIENCE_SECONDS", 0.2)
    got = found(lambda _question: answer)
    assert got.addresses == {}
    (trouble,) = got.troubles.values()
    assert trouble.endswith("; check the resolver")


def test_the_next_question_is_asked_neither_at_once_nor_in_hours() -> None:
    records = {(f"{NAME}.", "A"): V4}
    assert found(zone(records, ttl=0)).again_seconds == 5.0
    # Long answers end where this host's resolver would be asked again.
    assert found(zone(records, ttl=86_400)).again_seconds == 20.0


def test_this_hosts_resolver_is_what_getaddrinfo_says() -> None:
    got = found(name="localhost", system=True)
    wanted = {str(info[4][0]) for info in socket.getaddrinfo("localhost", 443, type=socket.SOCK_STREAM)}
    assert set(got.addresses[SYSTEM]) == wanted
    got = found(name="no-such-name.invalid", system=True)
    assert "does not resolve" in got.troubles[SYSTEM]
    assert got.addresses == {}


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_a_url_with_an_address_names_a_door_and_nobody_is_asked(address: str) -> None:
    asked: list[dns.message.Message] = []
    got = found(asked.append, name=address, system=True)
    assert (got.addresses, got.troubles, asked) == ({URL: [address]}, {}, [])


def test_an_address_that_no_route_leads_to_is_known_without_a_packet() -> None:
    assert has_way("127.0.0.1")
    assert not has_way("255.255.255.255")
