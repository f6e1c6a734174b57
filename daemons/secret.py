"""Bytes that no text shows, and texts that may be a secret by their form alone."""

import hmac
import re

__all__ = ["HIDDEN", "Secret", "without_tokens"]

HIDDEN = "***"
_TOKEN = re.compile(r"(?<![\w@!.%~=-])[\w%~=-]{32,}(?![\w@!.%~=-])")
"""What stands by itself, and is as long as keys are: those that exchanges and providers put into paths have 32 to 64
characters. Names of streams have an ``@`` or begin with ``!``, names of hosts and files have dots."""


class Secret:
    """A key. Its text in a log, a traceback with variables, a message or a debugger says only that it is one.

    Args:
        value: the bytes; take them out at the place that computes with them, and nowhere before.
    """

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.value, other.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be written anywhere")


def without_tokens(text: str) -> str:
    """Return a URL's path, or a part of it, without the elements that by their length may be a key."""
    return _TOKEN.sub(HIDDEN, text)
