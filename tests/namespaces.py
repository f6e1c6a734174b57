"""Network namespaces for tests that need hosts of their own; they need root."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone", "entered", "inside", "ip"]


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def inside(namespace: str, *command: str) -> list[str]:
    """Return the command line that runs a command in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Let this thread make sockets, threads and processes in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as own, Path(f"/run/netns/{namespace}").open("rb") as other:
        assert libc.setns(other.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(own.fileno(), 0) == 0, os.strerror(ctypes.get_errno())


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Let this thread be in a network of its own, of a loopback device, where nobody else knocks at a port."""
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        with entered(name):
            yield
    finally:
        ip("netns", "del", name)
