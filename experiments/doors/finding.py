"""The addresses of an exchange's name: asked again and again, for a name with many gives other ones each time."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from daemons.errors import StreamError
from daemons.service.settings.config import Address
from daemons.stream.dial import resolve

__all__ = ["DNS_PORT", "SYSTEM", "URL", "Finder", "FoundAddresses", "has_way"]

URL = "URL"
"""Names a door itself, where it has an address for a host."""
SYSTEM = "system"
"""This host's own resolver, hosts file and all: what a feed asks."""
_SECONDS = 20.0
"""Between questions to this host's resolver, which does not say for how long an answer holds."""
_SOONEST, _LATEST = 5.0, 60.0
_PATIENCE_SECONDS = 5.0
DNS_PORT = 53
_IPV6 = 6


@dataclass
class FoundAddresses:
    """What one round of questions brought.

    Attributes:
        addresses: by who named them.
        troubles: who did not answer, and why.
        again_seconds: when to ask again: as soon as an answer has run out.
    """

    addresses: dict[str, list[str]] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    again_seconds: float = _SECONDS


class Finder:
    """Asks for a name's addresses, of both families.

    Args:
        host: the name, or an address.
        port: of the exchange.
        resolvers: to ask besides, or instead of, this host's own.
        system: whether that is asked.
    """

    def __init__(self, host: str, port: int, resolvers: Sequence[Address], *, system: bool) -> None:
        self._host, self._port = host, port
        self._resolvers, self._system = resolvers, system

    async def look(self) -> FoundAddresses:
        """Ask everybody once, side by side."""
        found = FoundAddresses()
        with contextlib.suppress(ValueError):
            # An address is nobody's name.
            found.addresses[URL] = [str(ipaddress.ip_address(self._host))]
            return found
        asking = [self._ask(found, one) for one in self._resolvers]
        if self._system:
            asking.append(self._ask_system(found))
        await asyncio.gather(*asking)
        found.again_seconds = min(_LATEST, max(_SOONEST, found.again_seconds))
        return found

    async def _ask_system(self, found: FoundAddresses) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answers = await resolve(self._host, self._port, socket.SOCK_STREAM)
        except StreamError as error:
            found.troubles[SYSTEM] = str(error)
        except TimeoutError:
            found.troubles[SYSTEM] = f"no answer within {_PATIENCE_SECONDS:g} s; check the resolver"
        else:
            found.addresses[SYSTEM] = list(dict.fromkeys(str(target[0]) for *_rest, target in answers))

    async def _ask(self, found: FoundAddresses, resolver: Address) -> None:
        """Ask one resolver for both families; one that has none of a family has answered all the same."""
        import dns.asyncresolver  # noqa: PLC0415 - who asks this host's resolver alone needs no library for it
        import dns.exception  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        asked = dns.asyncresolver.Resolver(configure=False)
        host, port = resolver
        asked.nameservers, asked.port = [host], port
        name = host if port == DNS_PORT else f"{host}:{port}"
        addresses: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                # Beside the library's own limit, which users found not always kept.
                async with asyncio.timeout(_PATIENCE_SECONDS + 1):
                    answer = await asked.resolve(
                        self._host, kind, raise_on_no_answer=False, lifetime=_PATIENCE_SECONDS, search=False
                    )
            except dns.resolver.NXDOMAIN:
                found.troubles[name] = f"{self._host}: no such name; check its spelling"
                return
            except (dns.exception.DNSException, OSError, TimeoutError) as error:
                why = str(error).rstrip(".") or type(error).__name__
                found.troubles[name] = f"{why}; check the resolver"
                continue
            if answer.rrset is not None:
                addresses += [record.address for record in answer.rrset]
                found.again_seconds = min(found.again_seconds, float(answer.rrset.ttl))
        if addresses:
            found.addresses[name] = addresses


def has_way(address: str) -> bool:
    """Say whether this host has any route to an address; nothing is sent (udp(7): connect only looks the route up)."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == _IPV6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.connect((address, 9))
    except OSError:
        return False
    return True
