import pytest

from daemons.probe.attempt import AttemptError
from daemons.probe.config import EgressSection
from daemons.probe.egress import Identity, identity, mismatches

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
    ],
)
def test_an_identity_is_read_from_json_or_text(body: bytes, found: Identity) -> None:
    assert identity(body, SECTION) == found


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"ip": 5}', b"[1]", b"\xff\xff", b'{"ip": "Tokyo"}'])
def test_an_answer_without_an_address_is_refused(body: bytes) -> None:
    with pytest.raises(AttemptError, match="is not an address"):
        identity(body, SECTION)


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
