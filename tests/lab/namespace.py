"""Network namespaces: one for each host, one for each site's switch and router."""

import ctypes
import os
import subprocess
from pathlib import Path

from tests.lab.inventory import Inventory

__all__ = ["Namespace", "enter"]

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(name: str) -> None:
    """Move the calling thread into a named network namespace, for good.

    A process that makes sockets or devices in several networks does so in turn; a thread that shares its process
    with others enters, makes one socket, and ends.
    """
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if LIBC.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"{name}: cannot enter the network namespace")
    finally:
        os.close(descriptor)


class Namespace:
    """A named network namespace with its loopback up.

    Args:
        inventory: where it is written down.
        name: unique on the machine.
    """

    def __init__(self, inventory: Inventory, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns", name)
        inventory.add("namespace", name)
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` inside."""
        subprocess.run(["ip", "-n", self.name, *arguments], check=True)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command inside this network only, and return its output; files and processes stay the machine's."""
        line = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(line, input=stdin, check=True, capture_output=True, text=True).stdout
