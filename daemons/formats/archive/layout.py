"""Where the archive's files lie: ``date=2026-11-29/path=direct/1415-1430-5f3a9c0144d2.parquet``, all in UTC.

The folders are what Hive, and every engine since, takes for columns; a file's name says which span of the day its rows
arrived in, so that a question about an hour opens that hour's files alone.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

__all__ = ["DAY_NS", "MINUTE_NS", "SegmentName", "escaped", "parse", "start_of"]

MINUTE_NS = 60_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS

_LONGEST = 200
"""Bytes of an escaped name at most: with what stands around it, a file system takes 255."""
_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What engines take for no name at all."""
_FILE = re.compile(
    r"date=(?P<date>\d{4}-\d\d-\d\d)/path=(?P<path>[^/]+)/"
    r"(?P<start>\d{4})-(?P<end>\d{4})-(?P<session>[0-9a-f]+)(?:-(?P<number>[0-9]+))?\.parquet"
)


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What the name of a segment file says.

    Attributes:
        path: the path's name as it stands in folders: see :func:`escaped`.
        start_ns, end_ns: the span that its rows arrived in, the end excluded; wall clock.
        session: the life of the receiver that wrote it.
        number: 1, and more where the clock came back to a span that was finished already.
    """

    path: str
    start_ns: int
    end_ns: int
    session: str
    number: int = 1

    @property
    def relative(self) -> str:
        """The file's name below the archive's folder, or after the prefix in a bucket."""
        start = _utc(self.start_ns)
        minute = round((self.end_ns - self.start_ns) / MINUTE_NS) + start.hour * 60 + start.minute
        number = "" if self.number == 1 else f"-{self.number}"
        times = f"{start:%H%M}-{minute // 60:02}{minute % 60:02}"
        return f"date={start:%Y-%m-%d}/path={self.path}/{times}-{self.session}{number}.parquet"


def parse(relative: str) -> SegmentName | None:
    """Read the name of a file below an archive's folder, or after its prefix; None where it is of no segment file."""
    found = _FILE.fullmatch(relative)
    if found is None:
        return None
    try:
        day = datetime.strptime(found["date"], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    start_ns, end_ns = (_epoch_ns(day) + _minutes(found[name]) * MINUTE_NS for name in ("start", "end"))
    if not _epoch_ns(day) <= start_ns < end_ns <= _epoch_ns(day) + DAY_NS:
        return None
    return SegmentName(found["path"], start_ns, end_ns, found["session"], int(found["number"] or 1))


def start_of(arrival_ns: int, length_ns: int) -> int:
    """Return when the span began that an arrival falls in; spans begin at midnight UTC and divide the day."""
    return arrival_ns - arrival_ns % DAY_NS % length_ns


def escaped(path: str) -> str:
    """Write a path's name so that it can be a folder anywhere: percent-encoded (RFC 3986) but for letters and digits.

    A name that would be too long for a folder ends in its digest instead; files carry every name in full.
    """
    text = _quoted(path)
    if text == _NULL:
        return "%5F" + text[1:]
    if len(text) <= _LONGEST:
        return text
    digest = "~" + hashlib.sha256(path.encode()).hexdigest()[:16]
    # Whole characters only: engines decode what they find, and refuse half of one.
    kept = path
    while len(text) > _LONGEST - len(digest):
        kept = kept[:-1]
        text = _quoted(kept)
    return text + digest


def _quoted(text: str) -> str:
    return quote(text, safe="").replace("~", "%7E")


def _utc(ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


def _epoch_ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000_000


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[2:])
