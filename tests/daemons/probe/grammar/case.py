"""What a random conversation is, and how one is made up."""

import random
from dataclasses import dataclass

from tests.daemons.probe.script import Step

__all__ = ["BODY", "MAX_REQUESTS", "METHODS", "STATUS", "Case", "Maker"]

METHODS = ("GET", "GET", "GET", "HEAD", "POST")
MAX_REQUESTS = 4
STATUS = (200, 200, 200, 200, 204, 206, 301, 304, 404, 429, 500, 503, 299, 599)
BODY = b"0123456789abcdef" * 4096


@dataclass(frozen=True)
class Case:
    """One conversation.

    Attributes:
        http: 1.1 or 2.
        method: of every request.
        requests: how many are made, one after the other.
        scripts: one for each connection; the last one serves all that follow.
        traits: what is odd about it, to tell cases apart.
    """

    http: str
    method: str
    requests: int
    scripts: tuple[tuple[Step, ...], ...]
    traits: tuple[str, ...]


class Maker:
    """Makes one case; notes what is odd about it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.traits: list[str] = []

    def odd(self, probability: float, trait: str) -> bool:
        if self.rng.random() >= probability:
            return False
        self.traits.append(trait)
        return True

    def pick(self, trait: str, choices: dict[str, bytes]) -> bytes:
        name = self.rng.choice(list(choices))
        self.traits.append(f"{trait}:{name}")
        return choices[name]

    def cut(self, data: bytes) -> list[Step]:
        """Send in one to four pieces; the last two bytes come together, so that what follows an end comes with it."""
        if len(data) < 3:
            return [data]
        at = sorted({self.rng.randrange(1, len(data) - 1) for _cut in range(self.rng.randrange(4))})
        return [data[since:until] for since, until in zip([0, *at], [*at, len(data)], strict=True)]
