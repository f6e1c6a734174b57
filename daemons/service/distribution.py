"""What this software is called where it is installed, and in which version."""

import importlib.metadata
import importlib.util
import shlex
import sys
from pathlib import Path

__all__ = ["DISTRIBUTION", "installed_version", "remedy_for"]

DISTRIBUTION = "backbone-latency"


def installed_version() -> str:
    """Return the version of the installation that runs."""
    return importlib.metadata.version(DISTRIBUTION)


def remedy_for(extra: str, prefix: str = sys.prefix) -> str:
    """Say how the libraries of an extra come to this installation, by where it lies (docs/operations.md, "Install")."""
    place = Path(prefix)
    if place == Path("/opt/backbone-latency"):
        return f"build the image of what `make wheelhouse EXTRAS={extra}` makes"
    if place.is_relative_to("/opt/backbone-latency"):
        return f"install again with systemd/install --extra {extra}, or of a wheelhouse made with --extra {extra}"
    if place.is_relative_to("/usr/lib/backbone-latency"):
        return f"install a package that was made with `make deb EXTRAS={extra}`"
    wanted = f"'{DISTRIBUTION}[{extra}]'"
    # Environments of a tool are not what a `pip` of the path installs into; and those of uv have none.
    if (place / "pipx_metadata.json").exists():
        return f"pipx inject {DISTRIBUTION} {wanted}"
    if (place / "uv-receipt.toml").exists() or importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {shlex.quote(prefix)} {wanted}"
    return f"pip install {wanted}"
