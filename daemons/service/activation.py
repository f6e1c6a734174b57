"""Sockets handed over by systemd (sd_listen_fds(3)): they outlive a restart, so no connection is refused."""

import os
import socket
from collections.abc import Mapping

__all__ = ["Activation"]

FIRST_DESCRIPTOR = 3


class Activation:
    """The sockets passed to this process.

    Args:
        sockets: as inherited.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Activation":
        """Take over what ``LISTEN_FDS`` announces for this process; nothing when it is meant for another."""
        count = environment.get("LISTEN_FDS", "")
        if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
            return cls([])
        sockets = [socket.socket(fileno=FIRST_DESCRIPTOR + index) for index in range(int(count))]
        for sock in sockets:
            sock.setblocking(False)
            os.set_inheritable(sock.fileno(), False)
        return cls(sockets)

    def take(self, where: tuple[str, int], kind: socket.SocketKind) -> socket.socket | None:
        """Return the inherited socket of this kind and port, if there is one.

        The port decides: systemd may have bound a wildcard where the configuration names an address.
        """
        for sock in self._sockets:
            if sock.type == kind and sock.getsockname()[1] == where[1]:
                self._sockets.remove(sock)
                return sock
        return None

    def close_unused(self) -> None:
        """Close what no path wanted."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
