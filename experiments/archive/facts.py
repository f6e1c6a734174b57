"""What an archive's file says of itself; whether it is one at all."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from daemons.formats.archive.columns import FIRST_COLUMNS, FORMAT, SegmentFacts
from daemons.formats.archive.schema import SCHEMA, facts_of
from experiments.errors import InputError

__all__ = ["facts_in"]


def facts_in(file: Path) -> SegmentFacts:
    """Read a file's facts, without its rows.

    Raises:
        FileNotFoundError: it is gone.
        InputError: it is cut off or damaged, or none that a receiver of this format has written.
    """
    try:
        read = pq.read_metadata(file)
        facts, names = facts_of(read.metadata), [read.schema.column(index).name for index in range(read.num_columns)]
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(file, None, f"cannot be read: {error}", "fetch it again, or remove it") from error
    if facts is None or facts.format != FORMAT:
        found = "is not of a receiver's archive" if facts is None else f"has format {facts.format!r}, not {FORMAT!r}"
        raise InputError(
            file, None, found, "use the version of `experiment` that belongs to the receiver which wrote it"
        )
    known = SCHEMA.names[: max(len(names), FIRST_COLUMNS)]
    if names[: len(known)] != known:
        # The end of a file, where its columns are named, has no check sum. Earlier versions have fewer, later more.
        found = f"is damaged: its columns are {', '.join(names)}, and not {', '.join(known)}"
        raise InputError(file, None, found, "fetch it again, or remove it")
    return facts
