"""Which paths are ranked, and when two are compared instead."""

from collections.abc import Sequence

from daemons.errors import ConfigError
from experiments.results.run import Run

__all__ = ["ranked_paths"]


def ranked_paths(runs: Sequence[Run], paths: Sequence[str] = ()) -> list[str] | None:
    """Name the paths to rank, or None where the comparison is about two.

    Args:
        runs: one race is ranked, two runs are compared.
        paths: those that were asked for; all by default.

    Raises:
        ConfigError: one of them does not exist.
    """
    if len(runs) != 1:
        return None
    known = runs[0].path_names()
    names = list(dict.fromkeys(paths)) or known
    if len(names) < 3:
        return None
    for name in names:
        if name not in known:
            raise ConfigError("--path", f"{name!r} is not in {runs[0].source}", f"it has {', '.join(known)}")
    return names
