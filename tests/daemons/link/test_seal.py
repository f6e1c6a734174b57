"""Somebody in the middle, who sees all and may do anything but guess a key."""

import os
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import WireError
from daemons.link.events import DATAGRAM_HEAD
from daemons.link.seal import (
    MAX_RECORD,
    TAG_BYTES,
    WINDOW,
    DatagramOpener,
    DatagramSealer,
    Opener,
    Sealer,
    session_keys,
)

KEY = bytes(range(32))
RECORD_HEAD = 5
REFUSED = {"forged", "garbage", "too_large", "replayed"}
FRAMES = st.binary(max_size=60)


def test_keys_are_those_of_another_maker_of_hkdf() -> None:
    keys = session_keys(b"secret", b"salt", b"transcript")
    hashed = Hash(SHA256())
    hashed.update(b"transcript")
    said = hashed.finalize()
    for purpose, key in (("forwarder", keys.forwarder), ("receiver", keys.receiver), ("datagrams", keys.datagrams)):
        info = b"backbone-latency link 2 " + purpose.encode() + said
        assert key == HKDF(SHA256(), 32, b"salt", info).derive(b"secret")
    assert len({keys.forwarder, keys.receiver, keys.datagrams}) == 3
    assert "secret" not in repr(keys)


@given(st.lists(FRAMES, max_size=8), st.data())
def test_what_was_sealed_is_opened_however_it_is_cut(said: list[bytes], data: st.DataObject) -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    records = [sealer.seal(frames) for frames in said]
    stream = b"".join(records)
    ends = {sum(map(len, records[: count + 1])) for count in range(len(records))}
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream))), max_size=6)) | {len(stream)})
    heard, at = b"", 0
    for end in cuts:
        heard += opener.open(stream[at:end])
        assert opener.exact == (end > at and end in ends)
        at = end
    assert heard == b"".join(said)


def test_what_is_larger_than_a_record_travels_in_several() -> None:
    said = os.urandom(3 * MAX_RECORD + 7)
    sealed = Sealer(KEY).seal(said)
    assert len(sealed) == len(said) + 4 * (RECORD_HEAD + TAG_BYTES)
    assert Opener(KEY).open(sealed) == said


def taken_of(opener: Opener, records: list[bytes]) -> tuple[list[bytes], str]:
    """Return what was taken of a stream, and why not more of it; empty when nothing was refused."""
    taken: list[bytes] = []
    try:
        for record in records:
            taken += filter(None, [opener.open(record)])
    except WireError as error:
        return taken, error.reason
    return taken, ""


Attack = Callable[[random.Random, list[bytes], list[bytes]], list[bytes]]


def altered(rng: random.Random, genuine: list[bytes], _other: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(genuine))
    changed = bytearray(genuine[at])
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return [*genuine[:at], bytes(changed), *genuine[at + 1 :]]


def left_out(rng: random.Random, genuine: list[bytes], _other: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(genuine) - 1)
    return [*genuine[:at], *genuine[at + 1 :]]


def repeated(rng: random.Random, genuine: list[bytes], _other: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(genuine))
    return [*genuine[: at + 1], *genuine[at:]]


def moved(rng: random.Random, genuine: list[bytes], _other: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(genuine) - 1)
    return [*genuine[:at], genuine[at + 1], genuine[at], *genuine[at + 2 :]]


def added(rng: random.Random, genuine: list[bytes], _other: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(genuine) + 1)
    content = rng.randbytes(rng.randrange(40))
    made = bytes([0xB2]) + len(content).to_bytes(4, "big") + content + rng.randbytes(TAG_BYTES)
    return [*genuine[:at], made, *genuine[at:]]


def of_another(rng: random.Random, genuine: list[bytes], other: list[bytes]) -> list[bytes]:
    """Take a record of the other direction, or of an earlier connection: its keys are others."""
    at = rng.randrange(len(genuine))
    return [*genuine[:at], other[at], *genuine[at:]]


ATTACKS: list[Attack] = [altered, left_out, repeated, moved, added, of_another]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rounds", [300, pytest.param(1_000_000, marks=pytest.mark.exhaustive)])
def test_of_a_stream_that_somebody_touched_only_what_came_before_is_taken(attack: Attack, rounds: int) -> None:
    rng = random.Random(7)
    for _round in range(rounds):
        said = [rng.randbytes(rng.randrange(1, 40)) for _ in range(rng.randrange(2, 6))]
        sealer, stranger, opener = Sealer(KEY), Sealer(bytes(32)), Opener(KEY)
        genuine = [sealer.seal(frames) for frames in said]
        touched = attack(rng, genuine, [stranger.seal(frames) for frames in said])
        taken, why = taken_of(opener, touched)
        # Where the length was made larger, what is to come is waited for.
        assert why in REFUSED or (attack is altered and not why)
        assert len(taken) < len(said) or attack in (repeated, added, of_another)
        assert taken == said[: len(taken)]


def datagrams(count: int) -> tuple[DatagramOpener, list[bytes]]:
    sealer = DatagramSealer(5, KEY)
    return DatagramOpener(KEY), [sealer.wrap(b"frames") for _ in range(count)]


def taken_by(opener: DatagramOpener, datagram: bytes) -> str:
    """Say why a datagram was refused; empty when it was taken."""
    try:
        _magic, _version, _token, number = DATAGRAM_HEAD.unpack_from(datagram)
        end = opener.end_of_events(number, datagram)
    except WireError as error:
        return error.reason
    assert datagram[DATAGRAM_HEAD.size : end] == b"frames"
    return ""


@given(st.lists(st.integers(0, 40), max_size=120))
def test_of_datagrams_in_any_order_each_is_taken_once(order: list[int]) -> None:
    opener, made = datagrams(41)
    seen: set[int] = set()
    for at in order:
        assert taken_by(opener, made[at]) == ("replayed" if at in seen else "")
        seen.add(at)


def test_what_is_far_too_late_cannot_be_told_from_a_repetition() -> None:
    opener, made = datagrams(WINDOW + 2)
    assert taken_by(opener, made[-1]) == ""
    assert [taken_by(opener, made[at]) for at in (0, 1, 2)] == ["replayed", "replayed", ""]
    assert taken_by(opener, made[2]) == "replayed"


@pytest.mark.parametrize("rounds", [3_000, pytest.param(3_000_000, marks=pytest.mark.exhaustive)])
def test_a_datagram_that_somebody_touched_is_refused_and_the_rest_is_not(rounds: int) -> None:
    rng = random.Random(11)
    opener, made = datagrams(rounds)
    stranger = DatagramSealer(5, bytes(32))
    for datagram in made:
        changed = bytearray(datagram)
        changed[rng.randrange(2, len(changed))] ^= 1 << rng.randrange(8)
        for bad in (bytes(changed), datagram[: -rng.randrange(1, 20)], stranger.wrap(b"frames")):
            assert taken_by(opener, bad) == "forged"
        assert taken_by(opener, datagram) == ""
        assert taken_by(opener, datagram) == "replayed"


def test_without_a_key_nothing_is_added_and_all_is_believed() -> None:
    sealer, opener = DatagramSealer(5), DatagramOpener()
    datagram = sealer.wrap(b"frames")
    assert len(datagram) == sealer.overhead + len(b"frames")
    assert [taken_by(opener, datagram) for _ in range(2)] == ["", ""]
