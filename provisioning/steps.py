"""What the engine tells of its work: the lines of a plan, and what happened while it was applied."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "Step", "Verb"]

Verb = Literal["create", "change", "replace", "remove", "blocked"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a plan."""

    verb: Verb
    key: str
    region: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened while a plan was applied."""

    verb: Literal["read", "created", "changed", "removed"]
    key: str
    region: str
    text: str = ""
