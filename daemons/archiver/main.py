"""The archiver's process: ``python -m daemons.archiver.main SOCKET PAGE``, descriptors that its receiver hands it."""

import signal
import socket
import sys

__all__ = ["main"]


def main() -> None:
    """Work for a receiver, however that ends."""
    # What stops the receiver is not for us: it says when no more is to come. Before the imports, which take their time.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    from daemons.archiver.work import work  # noqa: PLC0415

    work(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))


if __name__ == "__main__":
    main()
