"""What sections of configuration files are made of.

It lies below everything, so that a part of the daemons declares the section that it is set by, and keeps to it as it
was written; ``daemons.configuration`` reads and checks it.

Numbers are finite, and within bounds that stand where the key is declared: a comparison with NaN is never true, so that
a limit of NaN is no limit, and infinity is a word for "off" that no key has. Both can be written in TOML.
"""

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

__all__ = ["Count", "Dscp", "LogFormat", "Milliseconds", "Seconds", "Section"]

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=1e9)]
"""A span of time in a file: above zero, and at most some thirty years."""
Milliseconds: TypeAlias = Annotated[float, Meta(gt=0, le=1e12)]
"""The same in another unit."""
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 53)]
"""So many of something that there must be at least one of: events, bytes."""
Dscp: TypeAlias = Annotated[int, Meta(ge=0, le=63)]
"""A class of packets: six bits (RFC 2474, section 3)."""
LogFormat: TypeAlias = Literal["auto", "json", "console"]
"""Of log lines: objects, lines to read, or the latter where standard error is a terminal."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all configuration structs: immutable, and closed to unknown keys.

    Attributes:
        hidden: fields whose values are nobody's business but the peer's; of a table, the names may be seen.
    """

    hidden: ClassVar[tuple[str, ...]] = ()
