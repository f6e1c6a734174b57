"""Which rows a question is about, and in which files of an archive they lie: told by names, without opening any."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from daemons.formats.archive.layout import SegmentName, escaped, parse

__all__ = ["EVERYTHING", "Moment", "Selection", "is_archive", "segments_of", "selecting"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """Rows by their arrival and stream.

    Attributes:
        from_ns: the first moment, epoch nanoseconds; None for no limit.
        to_ns: the first moment after.
        streams: their names; all when there are none.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    streams: tuple[str, ...] = ()

    def has_part_of(self, start_ns: int, end_ns: int) -> bool:
        """Tell whether a span, its end excluded, may have such rows."""
        return (self.from_ns is None or end_ns > self.from_ns) and (self.to_ns is None or start_ns < self.to_ns)


EVERYTHING = Selection()

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Moment(click.ParamType[int]):
    """A date or a moment in ISO 8601, in UTC unless it says otherwise, as epoch nanoseconds."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert what was given; a default passes."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no moment; write 2026-11-29, or 2026-11-29T14:00 (UTC)", param, ctx)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def selecting(command: _Command) -> _Command:
    """Add ``--from``, ``--to`` and ``--stream`` to a command, as ``from_ns``, ``to_ns`` and ``streams``."""
    options = (
        click.option("--from", "from_ns", type=Moment(), metavar="MOMENT", help="Only what arrived then or later."),
        click.option("--to", "to_ns", type=Moment(), metavar="MOMENT", help="Only what arrived before."),
        click.option("--stream", "streams", multiple=True, metavar="NAME", help="Only this stream; repeatable."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def is_archive(folder: Path) -> bool:
    """Tell an archive's folder by those of the days in it."""
    return folder.is_dir() and any(_days(folder))


def segments_of(
    folder: Path, selection: Selection = EVERYTHING, paths: tuple[str, ...] = ()
) -> list[tuple[SegmentName, Path]]:
    """List the finished files that may have selected rows, in order of time; of all paths when none is named."""
    wanted = {escaped(path) for path in paths}
    return sorted(
        ((name, file) for name, file in _segments(folder, selection) if not wanted or name.path in wanted),
        key=lambda found: (found[0].start_ns, found[0].session, found[0].number, found[0].path),
    )


def _segments(folder: Path, selection: Selection) -> Iterator[tuple[SegmentName, Path]]:
    for day in _days(folder):
        start_ns = Moment().convert(day.name.removeprefix("date="), None, None)
        # A day without selected rows is not even listed.
        if not selection.has_part_of(start_ns, start_ns + 24 * 3600 * 10**9):
            continue
        for file in day.glob("path=*/*.parquet"):
            name = parse(file.relative_to(folder).as_posix())
            if name is not None and selection.has_part_of(name.start_ns, name.end_ns):
                yield name, file


def _days(folder: Path) -> Iterator[Path]:
    for day in folder.glob("date=[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"):
        try:
            datetime.fromisoformat(day.name.removeprefix("date="))
        except ValueError:
            continue
        yield day
