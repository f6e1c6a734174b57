"""Files that come with the package and are no Python: rules, dashboards, units.

A checkout has them as top-level folders. A wheel puts them below ``share/backbone-latency`` of the environment it is
installed into, and the installation's own record says where that is.
"""

import importlib.metadata
from pathlib import Path

from daemons.errors import ConfigError
from daemons.service.distribution import DISTRIBUTION

__all__ = ["shipped"]

_CHECKOUT = Path(__file__).parents[2]


def shipped(folder: str) -> Path:
    """Give the place of a shipped folder: ``grafana``, ``prometheus`` or ``systemd``.

    Raises:
        ConfigError: this installation came without it.
    """
    if (_CHECKOUT / "pyproject.toml").exists():
        return _CHECKOUT / folder
    below = ("share", DISTRIBUTION, folder)
    for file in importlib.metadata.files(DISTRIBUTION) or []:
        parts = file.parts
        if below in zip(parts, parts[1:], parts[2:], strict=False):
            recorded = Path(str(file.locate())).resolve()
            at = recorded.parts.index(folder, recorded.parts.index(DISTRIBUTION))
            # `pip install --target` moves the files after it has recorded where they are: beside the packages, then.
            for place in (Path(*recorded.parts[: at + 1]), _CHECKOUT.joinpath(*below)):
                if place.is_dir():
                    return place
    raise ConfigError(folder, "did not come with this installation", f"install {DISTRIBUTION} from its wheel")
