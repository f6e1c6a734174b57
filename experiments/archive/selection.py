"""Which rows a question is about, and in which files of an archive they lie: told by names, without opening any."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from daemons.formats.archive.finished import finished
from daemons.formats.archive.layout import DAY_NS, SegmentName, escaped
from experiments.errors import InputError

__all__ = [
    "EVERYTHING",
    "Moment",
    "Selection",
    "day_has_part_of",
    "is_archive",
    "segments_of",
    "selecting",
    "wanted_by",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """Rows by their arrival and stream.

    Attributes:
        from_ns: the first moment, epoch nanoseconds; None for no limit.
        to_ns: the first moment after.
        streams: their names; all when there are none.
        receivers: of an archive only what these wrote, by the names of their hosts or of their lives.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    streams: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()

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
    """Add the options of a :class:`Selection` to a command, which gets one as ``selection``."""

    @functools.wraps(command)
    def selected(
        *args: Any,
        from_ns: int | None,
        to_ns: int | None,
        streams: tuple[str, ...],
        receivers: tuple[str, ...],
        **more: Any,
    ) -> Any:
        return command(*args, selection=Selection(from_ns, to_ns, streams, receivers), **more)

    options = (
        click.option("--from", "from_ns", type=Moment(), metavar="MOMENT", help="Only what arrived then or later."),
        click.option("--to", "to_ns", type=Moment(), metavar="MOMENT", help="Only what arrived before."),
        click.option("--stream", "streams", multiple=True, metavar="NAME", help="Only this stream; repeatable."),
        click.option(
            "--receiver",
            "receivers",
            multiple=True,
            metavar="NAME",
            help="Of an archive only what this receiver wrote, by its host or its session in files' names; repeatable.",
        ),
    )
    for option in reversed(options):
        selected = option(selected)
    return cast("_Command", selected)


def is_archive(folder: Path) -> bool:
    """Tell an archive's folder by those of the days in it."""
    return folder.is_dir() and any(day_has_part_of(day.name, EVERYTHING) for day in folder.glob("date=*"))


def segments_of(
    folder: Path, selection: Selection = EVERYTHING, paths: tuple[str, ...] = ()
) -> list[tuple[SegmentName, Path]]:
    """List the finished files that may have selected rows, in order of time; of all paths when none is named.

    Raises:
        InputError: a folder cannot be read.
    """
    wanted = wanted_by(selection, paths)
    try:
        # A day without selected rows is not even listed.
        found = list(finished(folder, lambda day: day_has_part_of(day, selection)))
    except OSError as error:
        why = f"cannot be listed: {error.strerror}"
        raise InputError(Path(error.filename), None, why, "ask as a user who may read the whole archive") from error
    return sorted(
        ((name, file) for name, file in found if wanted(name)),
        key=lambda found: (found[0].start_ns, found[0].session, found[0].number, found[0].path),
    )


def wanted_by(selection: Selection, paths: tuple[str, ...]) -> Callable[[SegmentName], bool]:
    """Give what tells by a file's name whether it may have selected rows."""
    folders = {escaped(path) for path in paths}
    return lambda name: selection.has_part_of(name.start_ns, name.end_ns) and (not folders or name.path in folders)


def day_has_part_of(folder: str, selection: Selection) -> bool:
    """Tell by the name of a folder whether it is of a day that may have selected rows."""
    try:
        day = datetime.strptime(folder, "date=%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    start_ns = (day - _EPOCH) // timedelta(microseconds=1) * 1000
    return selection.has_part_of(start_ns, start_ns + DAY_NS)
