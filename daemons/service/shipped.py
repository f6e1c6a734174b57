"""Files that come with the package and are no Python: rules, dashboards, units.

A checkout has them as top-level folders. A wheel puts them below ``share/backbone-latency`` of the environment it is
installed into, and the installation's own record says where that is.
"""

import importlib.metadata
from pathlib import Path

from daemons.errors import ConfigError

__all__ = ["shipped"]

_PACKAGE = "backbone-latency"
_CHECKOUT = Path(__file__).parents[2]


def shipped(folder: str) -> Path:
    """Give the place of a shipped folder: ``grafana``, ``prometheus`` or ``systemd``.

    Raises:
        ConfigError: this installation came without it.
    """
    if (_CHECKOUT / "pyproject.toml").exists():
        return _CHECKOUT / folder
    for file in importlib.metadata.files(_PACKAGE) or []:
        parts = file.parts
        if ("share", _PACKAGE, folder) in zip(parts, parts[1:], parts[2:], strict=False):
            depth = len(parts) - 1 - parts.index(folder, parts.index(_PACKAGE))
            return Path(str(file.locate())).resolve().parents[depth - 1]
    raise ConfigError(folder, "did not come with this installation", f"install {_PACKAGE} from its wheel")
