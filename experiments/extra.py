"""The optional extra ``report``: numpy, matplotlib and jinja2, which hosts that only measure need not carry."""

import importlib.util

from experiments.errors import MissingExtraError

__all__ = ["missing_report_extra", "require_report_extra"]


def missing_report_extra() -> list[str]:
    """Name the libraries of the extra that are not there."""
    return [name for name in ("numpy", "matplotlib", "jinja2") if importlib.util.find_spec(name) is None]


def require_report_extra() -> None:
    """Raise an error that says what to install, when the libraries of the extra are not there.

    Raises:
        MissingExtraError: one of them is missing.
    """
    if missing := missing_report_extra():
        raise MissingExtraError(
            f"{', '.join(missing)} not installed: this command computes and draws; "
            "pip install 'backbone-latency[report]' on the machine where results are read"
        )
