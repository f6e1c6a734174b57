"""What a receiver and its archiver say to each other, over a pair of Unix sockets.

The receiver sends frames: a head, and as many bytes as it says. Every row of a path has a number, from 1; a frame says
the number of its first, so that what is missing between two frames is known to be lost, whoever lost it. The archiver
answers with lines of JSON. Both share a page in memory with a 64-bit integer for each path, in the machine's order: how
many rows have been observed, handed over or not. It outlives a receiver that is killed.
"""

from enum import IntEnum
from struct import Struct
from typing import Literal

import msgspec

from daemons.reasons import ArchiveReason
from daemons.sections import LogFormat

__all__ = [
    "ARRAY_HEAD",
    "HEAD",
    "OPERATIONS",
    "ArchiverReport",
    "FrameKind",
    "Setup",
    "UploadSettings",
]

HEAD = Struct("<BHQI")
"""Kind, index of the path, number of the first row, bytes that follow."""
ARRAY_HEAD = Struct(">BI")
"""MessagePack's ``array 32``: rows encoded one after the other are one array behind it."""


OPERATIONS = ("journal", "finish", "retention", "upload")
"""What an archiver can fail to do."""


class FrameKind(IntEnum):
    """What a frame is."""

    SETUP = 0
    """:class:`Setup` as JSON: the first."""
    ROWS = 1
    """Rows of a path as an array in MessagePack; nothing where only the number of the next one is to be told."""
    CLOCK = 2
    """The host's :class:`~daemons.formats.summary.ClockSummary` as JSON."""
    END = 3
    """No more rows: finish."""


class UploadSettings(msgspec.Struct, frozen=True):
    """Where finished files are copied to.

    Attributes:
        bucket: its name.
        prefix: what the names of objects begin with; empty, or with a slash at its end.
        endpoint: of the store's API; None for AWS.
        region: None for what the environment says.
    """

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None

    @property
    def target(self) -> str:
        """Where files are copied to, in one word."""
        return f"{self.endpoint or ''}s3://{self.bucket}/{self.prefix}"


class Setup(msgspec.Struct, frozen=True):
    """All that an archiver has to know.

    Attributes:
        folder: of the archive.
        length_ns: of a file's span.
        host: name of this host.
        paths: their names, in the order of their indices.
        observed: of each path, rows before this archiver's first.
        previous: the session of this receiver's archiver before, which died.
        told: of each path, the number of the last row that one had told to be written or lost.
        retention_ns, retention_bytes: how old, and how large together, files get; None for no bound.
        upload: None where files stay here.
        log_format, log_level: as the receiver's.
    """

    folder: str
    length_ns: int
    host: str
    paths: tuple[str, ...]
    observed: tuple[int, ...]
    previous: str | None = None
    told: tuple[int, ...] = ()
    retention_ns: int | None = None
    retention_bytes: int | None = None
    upload: UploadSettings | None = None
    log_format: LogFormat = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class ArchiverReport(msgspec.Struct):
    """What an archiver has done so far, and how its folder stands.

    Attributes:
        session: its own.
        error: why it cannot begin; empty otherwise.
        rows: in files and journals, by path.
        numbers: of the last row by path, written or lost.
        lost: rows by path and reason.
        errors: of the disk or the store, by what was to be done.
        files: made, by how: ``finished`` or ``recovered``.
        removed: by what bound: ``age`` or ``size``.
        unknown_ends: receivers that were killed together with their archivers, so that nobody counted their last rows.
        stock_files, stock_bytes: of finished files in the folder.
        oldest_ns: since when files reach back; None where there are none.
        waiting_files: that are to be uploaded, or confirmed.
        uploaded_files, uploaded_bytes: confirmed.
    """

    session: str = ""
    error: str = ""
    rows: dict[str, int] = msgspec.field(default_factory=dict)
    numbers: dict[str, int] = msgspec.field(default_factory=dict)
    lost: dict[str, dict[ArchiveReason, int]] = msgspec.field(default_factory=dict)
    errors: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(OPERATIONS, 0))
    files: dict[str, int] = msgspec.field(default_factory=dict)
    removed: dict[str, int] = msgspec.field(default_factory=dict)
    unknown_ends: int = 0
    stock_files: int = 0
    stock_bytes: int = 0
    oldest_ns: int | None = None
    waiting_files: int = 0
    uploaded_files: int = 0
    uploaded_bytes: int = 0
