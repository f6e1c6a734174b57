"""The record of a run: what was asked for, on what, how it went. Written at every step, so a crash leaves it true."""

import platform
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from daemons.decoding import UNDECODABLE
from daemons.records import ClockState
from daemons.service.distribution import DISTRIBUTION, installed_version
from experiments.folder import write_whole
from experiments.runs.checks import Check

__all__ = [
    "FILE",
    "FORMAT",
    "BlockRecord",
    "ClockRecord",
    "Manifest",
    "PriceRecord",
    "begin",
    "clock_record",
    "now",
    "recorded_prices",
    "versions",
    "write_manifest",
]

FORMAT = "backbone-latency-run/1"
FILE = "manifest.json"


class ClockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A clock at one moment; the bound is None when it is not known."""

    time: str
    synchronized: bool
    offset_ms: float
    error_bound_ms: float | None
    source: str


class BlockRecord(msgspec.Struct, kw_only=True):
    """One block.

    Attributes:
        state: ``done``, ``cut short`` (rows are kept), ``empty`` (nothing arrived), ``failed`` or ``missed`` (the one
            before it took too long).
        exit_code: of the receiver.
        clocks: this host's clock before and after.
        error: why it failed.
    """

    number: int
    name: str
    mode: str
    due: str
    state: str
    start: str | None = None
    end: str | None = None
    exit_code: int | None = None
    events: dict[str, int] = {}
    clocks: list[ClockRecord] = []
    error: str = ""


class PriceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What paths cost when they were measured.

    Attributes:
        date: of the price table, YYYY-MM-DD.
        usd_per_day: what each path needs by itself: hours, without traffic.
    """

    date: str
    usd_per_day: dict[str, float]


class Manifest(msgspec.Struct, kw_only=True):
    """The whole record.

    Attributes:
        complete: everything that was planned was measured.
        ended_by: ``running`` until the end, then ``done``, a signal's name, or an error.
        endpoints: ``real`` or ``simulated``, with the distances that a simulation put in.
        config: the receiver's effective configuration; key files by name only.
        prices: of the paths, where a deployment was measured and the table has them.
        exit_code: of ``experiment run``; None while it runs.
    """

    format: str = FORMAT
    complete: bool = False
    ended_by: str = "running"
    command: list[str] = []
    host: str = ""
    versions: dict[str, str] = {}
    start: str = ""
    end: str | None = None
    plan: dict[str, Any] = {}
    endpoints: dict[str, Any] = {}
    config: dict[str, Any] | None = None
    preflight: list[Check] = []
    blocks: list[BlockRecord] = []
    verdict: str = ""
    prices: PriceRecord | None = None
    exit_code: int | None = None


def begin(command: list[str], plan: dict[str, Any], endpoints: dict[str, Any]) -> Manifest:
    """Begin the record of a run on this host."""
    return Manifest(
        command=command, host=socket.gethostname(), versions=versions(), start=now(), plan=plan, endpoints=endpoints
    )


def now() -> str:
    """Give the time of day as result files write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def versions() -> dict[str, str]:
    """Name the software that measures."""
    return {
        DISTRIBUTION: installed_version(),
        "python": sys.version.split()[0],
        "kernel": f"{platform.system()} {platform.release()}",
    }


def clock_record(state: ClockState) -> ClockRecord:
    """Turn a clock's state into milliseconds, with the time of the look."""
    bound = None if state.error_bound_ns is None else state.error_bound_ns / 1e6
    return ClockRecord(
        time=now(),
        synchronized=state.synchronized,
        offset_ms=state.offset_ns / 1e6,
        error_bound_ms=bound,
        source=state.source,
    )


class _Priced(msgspec.Struct):
    """A record, as far as prices go."""

    prices: PriceRecord | None = None


def recorded_prices(source: Path) -> dict[str, float]:
    """Give what the record of a run says that its paths cost a day; nothing where it has none, or is no run's.

    Args:
        source: the run's folder, one of its blocks' folders, or a results file in one.
    """
    for folder in (source, *source.parents[:2]):
        try:
            found = msgspec.json.decode((folder / FILE).read_bytes(), type=_Priced).prices
        except (OSError, *UNDECODABLE):
            continue
        return found.usd_per_day if found else {}
    return {}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, whole or not at all.

    Raises:
        ResultsError: it cannot be written.
    """
    write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
