"""The raw files of an egress validation run: curl timings of cold and kept-alive requests, and what surrounded them.

Per run folder: ``latencies.txt`` and ``latencies_keepalive.txt`` (seconds, one request a line), for each a
``*_breakdown.csv`` with curl's cumulative times, ``latency_stats*.json`` (what the run's own script computed), and
optionally ``overlay_rtt.txt`` (ping's summary line), ``03-path.log`` (mtr) and ``geolocation.json``.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from daemons.decoding import UNDECODABLE
from experiments.errors import InputError
from experiments.results.series import Flags, Floats

__all__ = ["RawRun", "RecordedHop", "RecordedIdentity", "Requests", "find_raw_runs", "load_raw_run"]

_COLUMNS = ("time_namelookup", "time_connect", "time_appconnect", "time_starttransfer", "time_total")
# Without a new connection curl reports 0 for connect and TLS (7.x of Debian 12), or the instant of the lookup give or
# take its own few µs (8.x). No handshake is that short: one over loopback takes some 40 µs.
_HANDSHAKE_SECONDS = 0.00001
_HOP = re.compile(r"^\s*(\d+)\.\|--\s+(\S+)\s+([\d.]+)%?\s+(\d+)\s+\S+\s+([\d.]+)\s+([\d.]+)")
_PING = re.compile(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms")


class RecordedIdentity(msgspec.Struct, frozen=True):
    """Where the run left for the internet."""

    ip: str
    city: str | None = None
    country: str | None = None


class RecordedHop(msgspec.Struct, frozen=True):
    """One line of mtr's report."""

    number: int
    host: str
    loss_percent: float
    average_ms: float
    best_ms: float


@dataclass(frozen=True)
class Requests:
    """The requests of one kind, in the order they were made; all times in ms.

    Attributes:
        source: the file of totals.
        total_ms: from start to last byte.
        answered: whether a first byte came; where it did not, the request failed and its times are no samples.
        connected: whether the request made a new connection and was answered.
        connect_ms: TCP handshake; NaN where there was none.
        tls_ms: TLS handshake, which with curl includes loading its certificate store; NaN where there was none.
        processing_ms: request sent to first byte; NaN where none came.
        published: what the run's own script computed.
    """

    source: Path
    total_ms: Floats
    answered: Flags
    connected: Flags
    connect_ms: Floats
    tls_ms: Floats
    processing_ms: Floats
    published: dict[str, float]

    @property
    def failures(self) -> int:
        return int(np.count_nonzero(~self.answered))


@dataclass(frozen=True)
class RawRun:
    """One run folder."""

    folder: Path
    cold: Requests
    warm: Requests
    overlay_rtt_ms: float | None
    route: list[RecordedHop]
    identity: RecordedIdentity | None

    @property
    def name(self) -> str:
        return self.folder.name


def find_raw_runs(folder: Path) -> list[RawRun]:
    """Load a run folder, or every run folder directly below, in order of name.

    Raises:
        InputError: there is none, or one of its files is unusable.
    """
    if (folder / "latencies.txt").exists():
        return [load_raw_run(folder)]
    runs = [load_raw_run(file.parent) for file in sorted(folder.glob("*/latencies.txt"))]
    if not runs:
        raise InputError(folder, None, "holds no latencies.txt", "name a run folder, or the folder that holds several")
    return runs


def load_raw_run(folder: Path) -> RawRun:
    """Load one run folder.

    Raises:
        InputError: a file is missing, cut off, or contradicts another; names file and line.
    """
    ping, route, identity = (folder / name for name in ("overlay_rtt.txt", "03-path.log", "geolocation.json"))
    return RawRun(
        folder=folder,
        cold=_requests(folder, ""),
        warm=_requests(folder, "_keepalive"),
        overlay_rtt_ms=_overlay_rtt(ping) if ping.exists() else None,
        route=_route(route) if route.exists() else [],
        identity=_decode(identity, RecordedIdentity) if identity.exists() else None,
    )


def _requests(folder: Path, suffix: str) -> Requests:
    totals, breakdown = folder / f"latencies{suffix}.txt", folder / f"latencies{suffix}_breakdown.csv"
    seconds = np.array([_seconds(totals, line, text) for line, text in enumerate(_lines(totals), start=1)])
    if not len(seconds):
        raise InputError(totals, 1, "no samples", "the run recorded nothing; see its log")
    phases = _phases(breakdown)
    if len(phases) != len(seconds):
        raise InputError(
            breakdown,
            len(phases) + 1,
            f"{len(phases)} requests where {totals.name} has {len(seconds)}",
            "the run was cut off, or the files are of different runs",
        )
    lookup, connect, tls, first_byte, total = phases.T
    if (np.abs(total - seconds) > 1e-6).any():
        row = int(np.flatnonzero(np.abs(total - seconds) > 1e-6)[0])
        raise InputError(
            breakdown,
            row + 2,
            f"time_total {total[row]:g} is {seconds[row]:g} in {totals.name}",
            "the two files are of different runs",
        )
    # curl writes 0 for a phase that did not happen; without a first byte the request failed, whatever its total.
    answered = first_byte > 0
    if not answered.any():
        raise InputError(breakdown, 2, f"all {len(seconds)} requests failed", "see the run's log; nothing was measured")
    ready = np.maximum(np.maximum(connect, tls), lookup)
    connected = answered & (ready - lookup > _HANDSHAKE_SECONDS)
    stats = folder / f"latency_stats{suffix}.json"
    return Requests(
        source=totals,
        total_ms=seconds * 1e3,
        answered=answered,
        connected=connected,
        connect_ms=np.where(connected, connect - lookup, np.nan) * 1e3,
        tls_ms=np.where(connected & (tls > 0), tls - connect, np.nan) * 1e3,
        processing_ms=np.where(answered, first_byte - ready, np.nan) * 1e3,
        published=_decode(stats, dict[str, float]) if stats.exists() else {},
    )


def _phases(file: Path) -> Floats:
    """Read curl's cumulative times, 0 for a phase that did not happen; refuse a row in which time runs backwards."""
    lines = _lines(file)
    header, *rows = list(csv.reader(lines)) if lines else [[]]
    if tuple(header) != _COLUMNS:
        raise InputError(file, 1, f"columns {','.join(header)}", f"expected {','.join(_COLUMNS)}")
    values = []
    for line, row in enumerate(rows, start=2):
        if len(row) != len(_COLUMNS):
            raise InputError(file, line, f"{len(row)} fields, not {len(_COLUMNS)}", "delete the line or fetch it again")
        times = [_seconds(file, line, text) for text in row]
        happened = [time for time in times if time > 0]
        if happened != sorted(happened):
            raise InputError(file, line, "curl's times are cumulative, but these fall", "the file was edited or mixed")
        values.append(times)
    return np.array(values).reshape(-1, len(_COLUMNS))


def _seconds(file: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(file, line, f"{text!r} is not a number of seconds", "fix or delete the line") from error
    if not 0 <= value < 600:
        raise InputError(file, line, f"{text} is no plausible number of seconds", "convert the file to seconds")
    return value


def _overlay_rtt(file: Path) -> float:
    for text in _lines(file):
        if (found := _PING.search(text)) is not None:
            return float(found[2])
    raise InputError(file, 1, "no line `rtt min/avg/max/mdev = … ms`", "put ping's last line there")


def _route(file: Path) -> list[RecordedHop]:
    found = (_HOP.match(text) for text in _lines(file))
    return [
        RecordedHop(int(hop[1]), hop[2], float(hop[3]), float(hop[5]), float(hop[6]))
        for hop in found
        if hop is not None
    ]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(file, None, f"cannot be read: {error}", "check that the run folder is complete") from error


def _decode(file: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode("\n".join(_lines(file)), type=kind)
    except UNDECODABLE as error:
        raise InputError(file, 1, f"not what is expected here: {error}", "fetch the file again") from error
