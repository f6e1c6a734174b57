import asyncio
import contextlib
import ipaddress
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.configuration.probe import EgressSection
from daemons.probe.attempt import Attempt, AttemptError, ConnectionKind, Instants, Judge
from daemons.probe.checks.egress import EgressCheck, Identity, identity, mismatches
from daemons.probe.families import Families
from daemons.probe.lane import ColdLane
from daemons.probe.observations import Observations
from daemons.probe.prober import Prober
from daemons.probe.target import Target
from tests.daemons.probe.probing import run, target_of

SECTION = EgressSection(url="https://ip.example/")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"35.76.36.216\n", Identity("35.76.36.216")),
        (b'"35.76.36.216"', Identity("35.76.36.216")),
        (b"2001:DB8::0:1", Identity("2001:db8::1")),
        (
            b'{"ip": "35.76.36.216", "city": "Tokyo", "country": "JP", "loc": "35.6,139.6"}',
            Identity("35.76.36.216", "Tokyo", "JP"),
        ),
        (b'{"ip": "35.76.36.216", "city": null}', Identity("35.76.36.216", "", "")),
        (b'{"ip": "10.0.0.1, 192.0.2.1"}', Identity("10.0.0.1")),
        (b"::ffff:203.0.113.7", Identity("203.0.113.7")),
        (b'{"ip": "::FFFF:cb00:7107"}', Identity("203.0.113.7")),
        (b"203.0.113.7:443\n", Identity("203.0.113.7")),
        (b'{"ip": "203.0.113.7:51234, 10.0.0.1"}', Identity("203.0.113.7")),
        (b"[2001:db8::1]:443", Identity("2001:db8::1")),
        (b"[2001:DB8::1]", Identity("2001:db8::1")),
        (b"[::ffff:203.0.113.7]:1", Identity("203.0.113.7")),
        (b"\xef\xbb\xbf203.0.113.7\r\n", Identity("203.0.113.7")),
        (b'\xef\xbb\xbf{"ip": "203.0.113.7"}', Identity("203.0.113.7")),
        (
            b'{"ip":"198.51.100.9","city":"S\xe3o Paulo"}',  # Latin-1
            Identity("198.51.100.9", "São Paulo"),
        ),
        ('{"ip":"198.51.100.9","city":"São Paulo"}'.encode(), Identity("198.51.100.9", "São Paulo")),
    ],
)
def test_an_identity_is_read_from_json_or_text(body: bytes, found: Identity) -> None:
    assert identity(body, SECTION) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"ip": 5}',
        b"[1]",
        b"\xff\xff",
        b'{"ip": "Tokyo"}',
        b"203.0.113.7:https",
        b"[203.0.113.7",
        b"1.2.3.4.5:80",
        b"[" * 100_000,
        b'{"ip":' * 100_000,
        b'"\\ud800"',
        b"9" * 5000,
    ],
)
def test_an_answer_without_an_address_is_refused(body: bytes) -> None:
    with pytest.raises(AttemptError, match="is not an address"):
        identity(body, SECTION)


@given(
    st.binary(max_size=200)
    | st.sampled_from([b'{"ip":"', b"203.0.113.7", b'","city":"', b'"}', b"\xff", b"[", b"]", b":", b"\xef\xbb\xbf"])
    .flatmap(lambda piece: st.lists(st.just(piece) | st.binary(max_size=4), max_size=8))
    .map(b"".join)
)
def test_whatever_an_endpoint_answers_is_an_identity_or_a_reason(body: bytes) -> None:
    with contextlib.suppress(AttemptError):
        found = identity(body, SECTION)
        assert str(ipaddress.ip_address(found.address)) == found.address
        found.city.encode()


def test_fields_may_be_elsewhere() -> None:
    section = EgressSection(url="https://a/", address_field="query.ip", city_field="geo.0", country_field="geo.1")
    assert identity(b'{"query": {"ip": "1.2.3.4"}, "geo": ["Tokyo", "JP"]}', section) == Identity(
        "1.2.3.4", "Tokyo", "JP"
    )


def test_only_what_is_expected_is_compared() -> None:
    found = Identity("1.2.3.4", "Singapore", "")
    assert mismatches(found, SECTION) == []
    wanted = EgressSection(url="https://a/", expected_address="1.2.3.4", expected_city="Tokyo", expected_country="JP")
    assert mismatches(found, wanted) == ["city is Singapore instead of Tokyo", "country is not told instead of JP"]
    assert mismatches(Identity("1.2.3.4", "Tokyo", "JP"), wanted) == []
    assert mismatches(Identity("1.2.3.5", "Tokyo", "JP"), wanted) == ["address is 1.2.3.5 instead of 1.2.3.4"]


def test_addresses_are_compared_as_addresses_and_not_as_text() -> None:
    wanted = EgressSection(url="https://a/", expected_address="2001:0db8:0:0::1")
    assert mismatches(Identity("2001:db8::1"), wanted) == []
    mapped = EgressSection(url="https://a/", expected_address="::ffff:203.0.113.7")
    assert mismatches(identity(b"203.0.113.7", mapped), mapped) == []
    plain = EgressSection(url="https://a/", expected_address="203.0.113.7")
    assert mismatches(identity(b"::ffff:203.0.113.7", plain), plain) == []
    assert mismatches(identity(b"::ffff:203.0.113.8", plain), plain)


class Answers:
    """A prober whose attempts end when they are told to."""

    def __init__(self) -> None:
        self.bodies: list[asyncio.Future[bytes]] = []

    async def attempt(self, target: Target, intended_ns: int, judge: Judge) -> tuple[Attempt, None]:
        attempt = Attempt(target.name, ConnectionKind.COLD, Instants(intended=intended_ns, start=intended_ns), 0)
        self.bodies.append(asyncio.get_running_loop().create_future())
        body = await self.bodies[-1]
        attempt.instants.last_byte = attempt.instants.end = intended_ns + 1
        judge(attempt, body)
        return attempt, None


def test_an_answer_that_a_later_check_has_overtaken_changes_nothing() -> None:
    async def main() -> tuple[EgressCheck, int]:
        target = target_of("https://a.example/", interval_seconds=1.0)
        seen = Observations(target, (ConnectionKind.COLD,), Families())
        answers = Answers()
        check = EgressCheck(SECTION, target)
        lane = ColdLane(target, cast("Prober", answers), seen, check.learn)
        for second in range(3):
            lane.slot(second * 10**9, 0)
        await asyncio.sleep(0)
        for number, body in ((0, b"1.2.3.4"), (2, b"1.2.3.5"), (1, b"1.2.3.4")):
            answers.bodies[number].set_result(body)
            for _turn in range(5):
                await asyncio.sleep(0)
        await lane.idle()
        return check, seen.successes

    check, successes = run(main)
    assert check.identity == Identity("1.2.3.5")
    assert (check.changes, successes) == (1, 3)
