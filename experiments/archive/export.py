"""An archive's rows for other programs: hftbacktest's feed input, CSV as receivers write it, and Arrow."""

from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daemons.formats.rows import COLUMNS
from experiments.archive.engine import literal

__all__ = ["EVENT", "SUFFIXES", "export", "feed_events"]

SUFFIXES = (".npz", ".csv", ".arrow")
"""Of files that can be written, each a format."""

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
"""hftbacktest's ``event_dtype`` (version 2; hftbacktest/types.py and its documentation, "Data")."""
# Its flags: the event is to be handled at the exchange's time, and at the local one.
_AT_EXCHANGE = 1 << 31
_AT_LOCAL = 1 << 30

_MILLISECONDS = "CASE WHEN {0} IS NOT NULL THEN printf('%.6f', {0} / 1e6) END"
_CELLS = {
    "sequence_id": "sequence",
    "binance_time": "event_time_ns // 1000000",
    "tokyo_time": "forwarder_ns",
    "frankfurt_time": "arrival_ns",
    "end_to_end_latency_ms": _MILLISECONDS.format("end_to_end_ns"),
    "backbone_latency_ms": _MILLISECONDS.format("backbone_ns"),
    "delayed": "delayed::INT",
}


def export(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    """Write all rows that are open, sorted by arrival; the file's suffix, one of :data:`SUFFIXES`, says how.

    Returns:
        How many were written; of hftbacktest's events, those that a sample of latency belongs to.

    Raises:
        duckdb.Error: the rows cannot be read.
        OSError: the file cannot be written.
    """
    if file.suffix == ".npz":
        return _export_feed(connection, file)
    if file.suffix == ".arrow":
        question = "SELECT * FROM rows ORDER BY arrival_ns"
    else:
        cells = ", ".join(f"{_CELLS.get(name, name)} AS {name}" for name in COLUMNS)
        question = f"SELECT {cells} FROM rows ORDER BY arrival_ns"
    reader = connection.sql(question).to_arrow_reader(131_072)
    count = 0
    with file.open("wb") as sink, _writer(file, sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += len(batch)
    return count


def _writer(file: Path, sink: object, schema: pa.Schema) -> "pa.ipc.RecordBatchFileWriter | pa.csv.CSVWriter":
    import pyarrow.csv as pc  # noqa: PLC0415 - a module of its own

    if file.suffix == ".arrow":
        return pa.ipc.new_file(sink, schema)
    return pc.CSVWriter(sink, schema, write_options=pc.WriteOptions(quoting_style="needed"))


def _export_feed(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    rows = connection.execute(
        "SELECT event_time_ns, arrival_ns FROM rows "
        f"WHERE validity = {literal('ok')} AND NOT delayed AND event_time_ns IS NOT NULL ORDER BY arrival_ns"
    ).fetchnumpy()
    events = feed_events(np.asarray(rows["event_time_ns"], np.int64), np.asarray(rows["arrival_ns"], np.int64))
    with file.open("wb") as sink:
        np.savez_compressed(sink, data=events)
    return len(rows["arrival_ns"])


def feed_events(exchange_ns: npt.NDArray[np.int64], local_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    """Lay events out as hftbacktest replays them: in order of both times at once.

    An event that overtook another between exchange and here stands twice: where its exchange's time belongs, and where
    its arrival does, each with that flag alone.

    Args:
        exchange_ns: when they happened, by the exchange's clock.
        local_ns: when they arrived; sorted.
    """
    events = np.zeros(len(local_ns), EVENT)
    events["exch_ts"], events["local_ts"] = exchange_ns, local_ns
    before = np.concatenate([exchange_ns[:1], np.maximum.accumulate(exchange_ns)[:-1]])
    overtaken = exchange_ns < before
    events["ev"] = np.where(overtaken, _AT_LOCAL, _AT_LOCAL | _AT_EXCHANGE)
    if not overtaken.any():
        return events
    alone = np.sort(events[overtaken], order="exch_ts", kind="stable")
    alone["ev"] = _AT_EXCHANGE
    in_order = np.flatnonzero(~overtaken)
    places = in_order[np.searchsorted(exchange_ns[in_order], alone["exch_ts"], side="right")]
    return np.insert(events, places, alone)
