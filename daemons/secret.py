"""Bytes that no text shows."""

import hmac

__all__ = ["Secret"]


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
