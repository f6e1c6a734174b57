"""The archive's files read with their pages' check sums: what a disk or a copy has changed is not taken for rows.

The archiver gives every page one; files of earlier versions have none, and are believed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from daemons.formats.archive.schema import SCHEMA
from experiments.errors import InputError

__all__ = ["batches_of", "dataset_of"]

# Columns of so many rows fit a processor's cache, and calls for them are few.
_BATCH_ROWS = 131_072


def batches_of(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of a file in batches, in order; of one that it has not yet all are null.

    Args:
        file: whose facts were read: what its columns are called is right.
        columns: their names.

    Raises:
        InputError: it is damaged, or cannot be read.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            known = [name for name in columns if name in opened.schema_arrow.names]
            for batch in opened.iter_batches(_BATCH_ROWS, columns=known):
                yield _with_all(batch, columns)
    except FileNotFoundError as error:
        why = "was removed while it was to be read, as a receiver's retention does"
        raise InputError(file, None, why, "ask again, or with a later --from") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(file, None, f"cannot be read: {error}", "fetch it again, or remove it") from error


def _with_all(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    arrays = [
        batch.column(name) if name in batch.schema.names else pa.nulls(len(batch), SCHEMA.field(name).type)
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def dataset_of(files: Sequence[Path]) -> ds.Dataset:
    """Give files as one table that the engine scans, of all columns of the archive."""
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    reader = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    return ds.dataset([str(file) for file in files], schema=SCHEMA, format=reader)
