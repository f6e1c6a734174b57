"""Daemons that run somewhere: what they are, and where their metrics are."""

from typing import NamedTuple

from daemons.errors import ConfigError
from daemons.service.settings.config import address

__all__ = ["DAEMONS", "ROLES", "ScrapeTarget", "parse_target"]

DAEMONS = ("forwarder", "receiver", "probe")
ROLES = (*DAEMONS, "nat")
"""What has metrics; the alerts and dashboards know these alone."""


class ScrapeTarget(NamedTuple):
    """A daemon; its role is "" where it has yet to tell."""

    role: str
    address: str


def parse_target(where: str, text: str, *, role_needed: bool) -> ScrapeTarget:
    """Read ``ROLE=HOST:PORT``, or ``HOST:PORT`` where the role need not be known.

    Raises:
        ConfigError: it is neither, or there is no such role.
    """
    role, equals, at = text.rpartition("=")
    if not equals and role_needed:
        raise ConfigError(where, f"{text!r} names no role", f"write ROLE=HOST:PORT, ROLE one of {', '.join(ROLES)}")
    if equals and role not in ROLES:
        raise ConfigError(where, f"{role!r} is no role that has metrics", f"write one of {', '.join(ROLES)}")
    host, port = address(where, at)
    return ScrapeTarget(role, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
