"""What this software is called where it is installed, and in which version."""

import importlib.metadata

__all__ = ["DISTRIBUTION", "installed_version"]

DISTRIBUTION = "backbone-latency"


def installed_version() -> str:
    """Return the version of the installation that runs."""
    return importlib.metadata.version(DISTRIBUTION)
