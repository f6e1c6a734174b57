"""The optional extras: libraries which hosts that only measure need not carry."""

import importlib.util

from daemons.errors import MissingExtraError
from daemons.service.distribution import remedy_for

__all__ = ["EXTRAS", "missing_of", "require_extra"]

EXTRAS = {
    "archive": ("pyarrow",),
    "aws": ("boto3",),
    "compare": ("numpy", "duckdb", "pyarrow"),
    "demo": ("trustme",),
    "doors": ("dns", "numpy"),
    "report": ("numpy", "duckdb", "pyarrow", "matplotlib", "jinja2"),
}
"""Of each extra the modules that it brings; ``pyproject.toml`` has the versions."""


def missing_of(extra: str) -> list[str]:
    """Name the libraries of an extra that are not there."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def require_extra(extra: str) -> None:
    """Raise an error that says what to install, when the libraries of an extra are not there.

    Where work begins, and not before: help, completion and the refusal of a wrong option need none of them.

    Raises:
        MissingExtraError: one of them is missing.
    """
    if missing := missing_of(extra):
        raise MissingExtraError(f"{', '.join(missing)} not installed; {remedy_for(extra)}")
