"""File descriptors: how many one crowd may take, and whether there are any left."""

import errno
import os
import resource

__all__ = ["is_reserved", "lacking", "share"]

_PART = 4
_RESERVE = 64
"""As many are kept at most; with few, a quarter of all."""


def share(most: int) -> int:
    """Return how many connections may be held at once of those that nobody knows: ``most``, or a quarter of all.

    What is left is for those that are known, for files, and for the system's libraries (getrlimit(2), RLIMIT_NOFILE).
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // _PART))


def lacking() -> OSError | None:
    """Tell why no descriptor can be had now; None when one can.

    For calls that do not say so themselves: without a descriptor for /etc/hosts and a socket, getaddrinfo(3) says that
    the name is not known.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return error
    return None


def is_reserved(descriptor: int) -> bool:
    """Tell whether a new descriptor is one of the last: those are for pages, files and look-ups.

    A new one has the lowest number that is free (open(2)), so all below it are in use.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - min(_RESERVE, soft // _PART)
