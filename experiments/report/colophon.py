"""What stands at the end of every page: when it was written, and by what."""

from datetime import UTC, datetime

from daemons.service.distribution import DISTRIBUTION, installed_version

__all__ = ["program", "written"]


def written() -> str:
    """Return the present minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def program() -> str:
    """Return the name and version of this software."""
    return f"{DISTRIBUTION} {installed_version()}"
