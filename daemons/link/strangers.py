"""Who has connected and not yet proven who it is: a bounded crowd, in which no source crowds out the others."""

import ipaddress
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Stranger", "Strangers"]


class Stranger(Protocol):
    """One of them; ``host`` is the address it came from."""

    @property
    def host(self) -> str: ...


StrangerT = TypeVar("StrangerT", bound=Stranger)


class Strangers(Generic[StrangerT]):
    """Keeps at most so many; when there are too many, the oldest of the source that has the most gives way.

    A flood from one address costs only that address. From many addresses at a rate ``r`` everybody still has
    ``places / r`` seconds for the handshake.

    Args:
        places: how many.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._by_source: dict[str, dict[StrangerT, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[StrangerT]:
        for mine in tuple(self._by_source.values()):
            yield from tuple(mine)

    def add(self, stranger: StrangerT) -> StrangerT | None:
        """Take one in; return the one that has to go for it."""
        evicted = self.evict() if self._count >= self._places else None
        self._by_source.setdefault(_source(stranger.host), {})[stranger] = None
        self._count += 1
        return evicted

    def evict(self) -> StrangerT | None:
        """Give up one: the oldest of the source that has the most; None when there is nobody."""
        if not self._by_source:
            return None
        fullest = max(self._by_source.values(), key=len)
        oldest = next(iter(fullest))
        self.discard(oldest)
        return oldest

    def discard(self, stranger: StrangerT) -> None:
        """Take out one, if it is there."""
        source = _source(stranger.host)
        mine = self._by_source.get(source)
        if mine is None or stranger not in mine:
            return
        del mine[stranger]
        self._count -= 1
        if not mine:
            del self._by_source[source]


def _source(host: str) -> str:
    """Return what one party has of addresses: one of IPv4, 2^64 of IPv6."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.exploded[:19]
