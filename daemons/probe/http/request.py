"""What is asked for, in words that every HTTP version has."""

from dataclasses import dataclass, field

__all__ = ["Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, whatever the HTTP version.

    Attributes:
        method: such as GET.
        scheme: https or http.
        authority: host, and port unless it is the scheme's own.
        path: with the query.
        headers: further ones, names in lower case.
        body: what follows them.
        through_proxy: a proxy passes it on and must be told of scheme and authority.
    """

    method: str
    scheme: str
    authority: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes
    through_proxy: bool = False

    @property
    def target(self) -> str:
        """The request target of HTTP/1.1: origin form, or for a proxy absolute form (RFC 9112, section 3.2)."""
        return f"{self.scheme}://{self.authority}{self.path}" if self.through_proxy else self.path
