"""What somebody published of a set of runs: ``published.json`` beside the run folders.

``{"RUN": {"label": "from Tokyo", "warm_ms": {"median": 5.48, "p95": 6.4, "p99": 8.31}}}``: for each run folder the name
it goes by, and the figures of its warm requests in ms that are to be checked against its samples.
"""

from pathlib import Path
from typing import Literal

import msgspec

from daemons.decoding import UNDECODABLE
from experiments.errors import InputError

__all__ = ["Published", "load_published"]


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the published table; figures in ms."""

    label: str
    warm_ms: dict[Literal["min", "max", "mean", "median", "p95", "p99"], float] = {}


def load_published(folder: Path) -> dict[str, Published]:
    """Read the published table of a folder of runs, by run; empty where there is none.

    Raises:
        InputError: the file is no such table.
    """
    file = folder / "published.json"
    if not file.exists():
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Published])
    except (OSError, *UNDECODABLE) as error:
        remedy = 'write {"RUN": {"label": "NAME", "warm_ms": {"median": 5.4}}}, or take the file away'
        raise InputError(file, None, f"not a published table: {error}", remedy) from error
