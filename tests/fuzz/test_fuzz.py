"""A short run in the suite: what is known, each input changed at random, and the fuzzer itself."""

import random
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.fuzz.corpus import DICTIONARY, seeds
from tests.fuzz.targets import TARGETS
from tests.processes import DEADLINE_SECONDS


def mutated(rng: random.Random, data: bytes, words: tuple[bytes, ...]) -> bytes:
    changed = bytearray(data)
    for _turn in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + rng.randrange(9)]
            case 2:
                changed[at:at] = changed[at : at + rng.randrange(40)] * rng.randrange(1, 4)
            case 3:
                changed[at : at + rng.randrange(5)] = rng.choice(words)
            case _:
                changed[at : at + 4] = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)).to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rounds", [150, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_nothing_but_what_is_documented_is_raised(target: str, rounds: int) -> None:
    take = TARGETS[target]()
    rng = random.Random(zlib.crc32(target.encode()))
    known = list(seeds(target))
    words = (b"", b"\x00", b"\xff\xfe", b"[" * 2000, b'"', b"9" * 400, *DICTIONARY.get(target, ()))
    for data in (b"", *known):
        take(data)
    for _turn in range(rounds):
        take(mutated(rng, rng.choice(known), words))


def test_every_target_has_inputs_to_begin_from() -> None:
    assert {target for target in TARGETS if list(seeds(target))} == set(TARGETS)


@pytest.mark.process
def test_the_fuzzer_runs_and_shows_what_it_finds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "2", "--kept", str(tmp_path), "sbe_message"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stdout
    found = re.search(r"sbe_message +([\d,]+) inputs +(\d+) edges +0 found", done.stdout)
    assert found is not None
    assert int(found[1].replace(",", "")) > 0
    assert int(found[2]) > 10
