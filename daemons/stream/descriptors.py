"""How many of this process' file descriptors one crowd may take."""

import resource

__all__ = ["share"]

_PART = 4


def share(most: int) -> int:
    """Return how many connections may be held at once of those that nobody knows: ``most``, or a quarter of all.

    What is left is for those that are known, for files, and for the system's libraries (getrlimit(2), RLIMIT_NOFILE).
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // _PART))
