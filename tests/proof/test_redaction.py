"""Nothing that belongs to the account's owner is in a recording."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof.redaction import OWN_ACCOUNT, Redaction

ACCOUNT = "987654321098"
OTHER = "123412341234"
PLANTED = {
    ACCOUNT: ACCOUNT,
    OTHER: OTHER,
    "8.8.4.4": "8.8.4.4",
    "ec2-8-8-4-4.eu-central-1.compute.amazonaws.com": "8-8-4-4",
    "AKIAQWERTYUIOPASDFGH": "AKIAQWERTYUIOPASDFGH",
    "AROAQWERTYUIOPASDFGH:session": "AROAQWERTYUIOPASDFGH",
    "06:aa:bb:cc:dd:ee": "06:aa:bb:cc:dd:ee",
    f"arn:aws:iam::{ACCOUNT}:user/jane.doe": "jane.doe",
    f"arn:aws:sts::{ACCOUNT}:assumed-role/Admins/jane": "Admins",
    f"latency-latency-{ACCOUNT}": ACCOUNT,
    "2a05:d014:1234:5600:abcd::1": "2a05:d014",
    "Encoded authorization failure message: Ab_9-XyZ0123": "Ab_9-XyZ0123",
    "the operator at example-desk-17": "example-desk-17",
}
"""What may come in a text, and what of it may not come out."""

WORDS = st.sampled_from(["vpc-0123456789abcdef0", "State", "10.0.1.10", "available", ":", "/", " ", '"', "é"])
TEXTS = st.lists(WORDS | st.sampled_from(sorted(PLANTED)), max_size=6).map(" ".join)
DATA: st.SearchStrategy[Any] = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def redaction() -> Redaction:
    return Redaction(ACCOUNT, {"example-desk-17": "operator", "": "nothing"})


@given(DATA)
def test_nothing_planted_comes_out(data: Any) -> None:
    told = json.dumps(redaction().data(data))
    for secret in PLANTED.values():
        assert secret not in told


@given(DATA)
def test_what_is_redacted_stays_as_it_is(data: Any) -> None:
    once = redaction().data(data)
    assert Redaction(OWN_ACCOUNT).data(once) == once


@pytest.mark.parametrize("text", sorted(PLANTED))
def test_each_by_itself(text: str) -> None:
    assert PLANTED[text] not in redaction().text(text)


def test_the_same_value_is_the_same_stand_in() -> None:
    same = redaction()
    assert same.text("8.8.4.4 and ec2-8-8-4-4.compute.amazonaws.com") == (
        "198.51.100.1 and ec2-198-51-100-1.compute.amazonaws.com"
    )
    assert same.text("8.8.8.8 8.8.4.4") == "198.51.100.2 198.51.100.1"
    assert same.text(f"{ACCOUNT} {OTHER} {OTHER}") == f"{OWN_ACCOUNT} 444400000001 444400000001"


@pytest.mark.parametrize(
    "text",
    [
        "10.0.1.10",
        "169.254.169.123",
        "0.0.0.0/0",
        "vpc-0123456789abcdef0",
        "2026-11-29T03:10:00+00:00",
        "136693071363",
        "arn:aws:s3:::latency-x",
        "ami-0debaadcafe00010",
        "12:30:45",
    ],
)
def test_what_belongs_to_nobody_stays(text: str) -> None:
    assert redaction().text(text) == text


@pytest.mark.parametrize("name", ["UserData", "Output", "PublicKeyMaterial", "Body", "UserId", "SecretAccessKey"])
def test_what_carries_keys_is_withheld_whole(name: str) -> None:
    told = redaction().data({"a": [{name: "ssh-ed25519 AAAA"}]})
    assert told == {"a": [{name: "withheld, 16 characters"}]}
    assert redaction().data({name: {"Value": "x"}}) == {name: "withheld"}
