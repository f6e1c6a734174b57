"""``latency-forwarder``, which does not ask the kernel when it sent what: for what the asking costs."""

from daemons.forwarder.main import main as forwarder_main
from daemons.stream.connection import Connection
from daemons.stream.datagram import DatagramSender

__all__: list[str] = []


def _ask_for_none(_self: object) -> None:
    """Do nothing: what is sent to be stamped is then sent like all else."""


if __name__ == "__main__":
    for owner in (Connection, DatagramSender):
        setattr(owner, "stamp_departures", _ask_for_none)  # noqa: B010 a method may not be assigned to plainly
    forwarder_main()
