"""A recording of the same kind, made on the emulator: what a real one is compared with."""

import sys
from pathlib import Path

from provisioning.loading import load_topology
from tests.proof.recording import Recorder
from tests.proof.redaction import Redaction
from tests.provisioning.aws import Operator
from tests.provisioning.emulator import serve

__all__ = ["record"]


def record(endpoint: str, topology: str, file: Path) -> None:
    """Build and remove a topology in an empty account of the emulator."""
    shape = load_topology(topology)
    first = Operator(endpoint, shape)
    # What all operators' calls go through; it is asked before the first of its clients is made.
    Recorder(file, Redaction("123456789012"), first.aws.world.clock.monotonic).attach(first.aws.session.events)
    first.up()
    Operator(endpoint, shape).down()


def main(topology: str, file: str) -> None:
    """Record on an emulator of our own."""
    server, endpoint = serve()
    try:
        record(endpoint, topology, Path(file))
    finally:
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
