"""From which address, city and country the internet sees us."""

import ipaddress
import re
from dataclasses import dataclass

import structlog

from daemons.configuration.probe import EgressSection
from daemons.probe.attempt import Attempt, AttemptError, Reason
from daemons.probe.expectation import decoded, field
from daemons.probe.target import Target
from daemons.service.secrecy import NOTHING, Secrets

__all__ = ["EgressCheck", "Identity", "identity", "mismatches"]

MAX_PLACE_CHARACTERS = 100
_BRACKETED = re.compile(r"\[([^]]*)\](:\d+)?")
_IPV4_WITH_PORT = re.compile(r"([\d.]+):\d+")


@dataclass(frozen=True, slots=True)
class Identity:
    """What the endpoint says of us; places are empty when it says nothing of them."""

    address: str
    city: str = ""
    country: str = ""


def identity(body: bytes, section: EgressSection, secrets: Secrets = NOTHING) -> Identity:
    """Read the endpoint's answer: JSON, or an address as plain text, in the forms that servers write addresses in.

    Raises:
        AttemptError: it holds no address.
    """
    city = country = ""
    try:
        document = decoded(body)
    except ValueError:
        text = body.decode("utf-8-sig", "replace").strip()
    else:
        # An address in quotes is JSON too.
        text = document if isinstance(document, str) else _text(document, section.address_field)
        city = _text(document, section.city_field)
        country = _text(document, section.country_field)
    try:
        # A list, as a chain of proxies makes of it, begins with the client.
        address = _address(text.split(",")[0].strip())
    except ValueError as error:
        raise AttemptError(
            Reason.BODY, f"{text[:60]!r}: is not an address; use another url, or set address_field"
        ) from error
    return Identity(address, secrets.hide(city), secrets.hide(country))


def mismatches(found: Identity, section: EgressSection) -> list[str]:
    """Say in what the identity differs from the one expected; a place that the endpoint leaves out differs."""
    address = _address(section.expected_address) if section.expected_address else ""
    return [
        f"{what} is {seen or 'not told'!s} instead of {wanted}"
        for what, seen, wanted in (
            ("address", found.address, address),
            ("city", found.city, section.expected_city),
            ("country", found.country, section.expected_country),
        )
        if wanted and seen != wanted
    ]


class EgressCheck:
    """What the endpoint's answers say of us; a failure is a failed attempt, and the last known identity stays.

    Args:
        section: what is expected.
        target: the endpoint.

    Attributes:
        target: its name.
        identity: the latest; None before the first answer.
        matches: whether it is as expected; None before the first answer.
        changes: how often the address changed.
    """

    def __init__(self, section: EgressSection, target: Target) -> None:
        self._section = section
        self._secrets = target.secrets
        self._log = structlog.get_logger("egress")
        self.target = target.name
        self.identity: Identity | None = None
        self.matches: bool | None = None
        self.changes = 0
        self._learned_from_ns = 0

    def learn(self, attempt: Attempt, body: bytes) -> None:
        """Take an answer; the judge of the attempts that ask for it.

        Raises:
            AttemptError: it holds no address.
        """
        found = identity(body, self._section, self._secrets)
        if attempt.instants.start < self._learned_from_ns:
            # Checks may overlap: a later one has been answered before this one, and knows better.
            return
        self._learned_from_ns = attempt.instants.start
        before, self.identity = self.identity, found
        if before is not None and before.address != found.address:
            self.changes += 1
            self._log.warning("egress address changed", before=before.address, now=found.address)
        wrong = mismatches(found, self._section)
        if wrong and self.matches is not False:
            self._log.error("egress identity is not the expected one", why="; ".join(wrong))
        self.matches = not wrong


def _address(text: str) -> str:
    """Return the one spelling of an address, without brackets, port, or the IPv6 form of an IPv4 address.

    A server whose socket is IPv6 sees IPv4 clients as ``::ffff:203.0.113.7`` (RFC 4291, section 2.5.5.2); load
    balancers add the client's port.

    Raises:
        ValueError: it is not an address.
    """
    if match := _BRACKETED.fullmatch(text) or _IPV4_WITH_PORT.fullmatch(text):
        text = match[1]
    address = ipaddress.ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _text(document: object, path: str) -> str:
    try:
        found = field(document, path)
    except KeyError:
        return ""
    return "" if found is None else str(found)[:MAX_PLACE_CHARACTERS]
