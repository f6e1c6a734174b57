"""What must not be shown: credentials that stand in a configuration, found again by value wherever text leaves us.

A server may send back what it was sent, a library may put it into the message of an exception: so what is hidden is
the value, not the place.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from daemons.secret import HIDDEN, without_tokens

__all__ = ["HIDDEN", "NOTHING", "Secrets", "shown_url", "values_in_query"]

SHORTEST = 8
"""Characters. What is shorter keeps nothing safe, and hiding it would make text unreadable (``1``, ``true``)."""

_CREDENTIALS = re.compile(r"//[^/?#]*@")
_QUERY = re.compile(r"\?[^#]*")
_VALUE = re.compile(r"=[^&;]*")


class Secrets:
    """Values to hide.

    Args:
        values: those shorter than :data:`SHORTEST` are ignored.

    Attributes:
        values: the others.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self.values = frozenset(value for value in values if len(value) >= SHORTEST)
        spellings = {spelling for value in self.values for spelling in _spellings(value)}
        # The longest first: one may be part of another.
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def hide(self, text: str) -> str:
        """Return the text without them."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


NOTHING = Secrets(())


def shown_url(url: str) -> str:
    """Return a URL, good or not, without user and password, keys in its path, and the values in its query."""
    bare = without_tokens(_CREDENTIALS.sub(f"//{HIDDEN}@", url))
    return _QUERY.sub(lambda query: _VALUE.sub(f"={HIDDEN}", query[0]), bare)


def values_in_query(query: str) -> list[str]:
    """Return the values of a query or of a form's body."""
    return [value for pair in re.split("[&;]", query) if (value := pair.partition("=")[2])]


def _spellings(value: str) -> set[str]:
    """Return a value as it is, and as JSON and Python write and percent-encoding reads it."""
    plain = {value, unquote_plus(value)}
    return plain.union(
        *({json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], repr(one)[1:-1]} for one in plain)
    )
