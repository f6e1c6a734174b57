"""Who has connected and is not known: a bounded crowd, in which no source crowds out the others."""

import ipaddress
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Crowd", "Member", "source_of"]


class Member(Protocol):
    """One of them; ``host`` is the address it came from."""

    @property
    def host(self) -> str: ...


MemberT = TypeVar("MemberT", bound=Member)


class Crowd(Generic[MemberT]):
    """Keeps at most so many; when there are too many, the oldest of the source that has the most gives way.

    A flood from one address costs only that address. From many addresses at a rate ``r`` everybody still has
    ``places / r`` seconds for what makes them known.

    Args:
        places: how many.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._by_source: dict[str, dict[MemberT, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[MemberT]:
        for mine in tuple(self._by_source.values()):
            yield from tuple(mine)

    def add(self, member: MemberT) -> MemberT | None:
        """Take one in; return the one that has to go for it."""
        evicted = self.evict() if self._count >= self._places else None
        self._by_source.setdefault(source_of(member.host), {})[member] = None
        self._count += 1
        return evicted

    def evict(self) -> MemberT | None:
        """Give up one: the oldest of the source that has the most; None when there is nobody."""
        if not self._by_source:
            return None
        fullest = max(self._by_source.values(), key=len)
        oldest = next(iter(fullest))
        self.discard(oldest)
        return oldest

    def renew(self, member: MemberT) -> None:
        """Make one of them the youngest: it has done what it is here for."""
        mine = self._by_source.get(source_of(member.host), {})
        if member in mine:
            del mine[member]
            mine[member] = None

    def discard(self, member: MemberT) -> None:
        """Take out one, if it is there."""
        source = source_of(member.host)
        mine = self._by_source.get(source)
        if mine is None or member not in mine:
            return
        del mine[member]
        self._count -= 1
        if not mine:
            del self._by_source[source]


def source_of(host: str) -> str:
    """Return what one party has of addresses: one of IPv4, 2^64 of IPv6."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.exploded[:19]
