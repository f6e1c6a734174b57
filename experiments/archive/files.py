"""The files that a question is about, with what they say of themselves; two receivers' are not taken for one's."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from daemons.formats.archive.columns import SegmentFacts
from daemons.formats.archive.layout import MINUTE_NS, SegmentName
from experiments.archive.engine import engine, literal, pattern_of
from experiments.archive.facts import facts_in
from experiments.archive.selection import Selection, segments_of
from experiments.errors import InputError

__all__ = ["Segment", "chosen", "no_such_rows"]

# So much is looked at of the time in which two lives overlap: a path brings two receivers the same events all along.
_LOOK_NS = 10 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished file: what its name says, where it lies, and what it says of itself."""

    name: SegmentName
    file: Path
    facts: SegmentFacts


def chosen(folder: Path, selection: Selection, paths: tuple[str, ...] = ()) -> list[Segment]:
    """List the files that may have selected rows, in order of time; of all paths when none is named.

    Raises:
        InputError: there are none, the folder is no archive's, one is damaged or none of ours, or two receivers wrote
            the same path at once.
    """
    found = list(_segments_of(folder, selection, paths))
    if selection.receivers:
        known = sorted({f"{one.facts.session} of {one.facts.host}" for one in found})
        found = [one for one in found if {one.facts.host, one.facts.session} & set(selection.receivers)]
        if known and not found:
            raise InputError(
                folder, None, f"no file of {', '.join(selection.receivers)}", f"--receiver takes {', '.join(known)}"
            )
    if not found:
        if not segments_of(folder):
            remedy = "give an archive's; a run's is for `experiment compare` and `report`"
            raise InputError(folder, None, "no finished file of an archive in this folder", remedy)
        raise no_such_rows(folder)
    for path in dict.fromkeys(one.facts.path for one in found):
        lives = _lives_of([each for each in found if each.facts.path == path])
        longest = lives[0]
        for life in lives[1:]:
            if _end_ns(longest) >= _start_ns(life) and _are_of_two(longest, life):
                raise _refusal(folder, longest, life)
            longest = max(longest, life, key=_end_ns)
    return found


def _segments_of(folder: Path, selection: Selection, paths: tuple[str, ...]) -> Iterator[Segment]:
    for name, file in segments_of(folder, selection, paths):
        # Retention may have come between: what has gone by now is no longer of the archive.
        with contextlib.suppress(FileNotFoundError):
            yield Segment(name, file, facts_in(file))


def no_such_rows(folder: Path) -> InputError:
    """Say that an archive has none of the rows that were asked for."""
    return InputError(folder, None, "no such rows in the archive", "give another --from, --to, --path or --stream")


def _lives_of(segments: list[Segment]) -> list[list[Segment]]:
    """Sort one path's files by the lives of receivers that wrote them, in order of their first arrivals."""
    lives: dict[str, list[Segment]] = {}
    for one in segments:
        lives.setdefault(one.name.session, []).append(one)
    return sorted(lives.values(), key=_start_ns)


def _start_ns(life: list[Segment]) -> int:
    return min(one.facts.first_arrival_ns for one in life)


def _end_ns(life: list[Segment]) -> int:
    return max(one.facts.last_arrival_ns for one in life)


def _are_of_two(one: list[Segment], other: list[Segment]) -> bool:
    """Tell two receivers from one whose clock was set back while it was restarted: that one has no event twice."""
    if one[0].facts.host != other[0].facts.host:
        return True
    start_ns = _start_ns(other)
    span = (start_ns, min(start_ns + _LOOK_NS, _end_ns(one)))
    with engine() as connection:
        try:
            found = connection.execute(
                f"SELECT count(*) FROM (({_events(one, span)}) INTERSECT ({_events(other, span)}))"
            ).fetchone()
        except duckdb.Error as error:
            why = f"cannot be read: {str(error).splitlines()[0]}"
            raise InputError(other[0].file, None, why, "fetch it again, or remove it") from error
    return found != (0,)


def _events(life: list[Segment], span: tuple[int, int]) -> str:
    start_ns, end_ns = span
    files = [
        literal(pattern_of(str(one.file)))
        for one in life
        if one.facts.first_arrival_ns <= end_ns and one.facts.last_arrival_ns >= start_ns
    ]
    # Events without an id are told by their sequence, which a second life of one receiver never has again.
    return (
        "SELECT DISTINCT stream::VARCHAR, event_id, CASE WHEN event_id IS NULL THEN sequence END "
        f"FROM read_parquet([{', '.join(files)}], hive_partitioning = false, union_by_name = true) "
        f"WHERE arrival_ns BETWEEN {start_ns} AND {end_ns}"
        if files
        else "SELECT '', NULL::BIGINT, NULL::BIGINT WHERE false"
    )


def _refusal(folder: Path, one: list[Segment], other: list[Segment]) -> InputError:
    first, second = one[0].facts, other[0].facts
    start_ns, end_ns = _start_ns(other), min(_end_ns(one), _end_ns(other))
    who = ", ".join(_told((first, second)))
    return InputError(
        folder,
        None,
        f"two receivers wrote path {first.path!r} at once, {who}, from {_moment(start_ns)} to {_moment(end_ns)}",
        "choose one with --receiver, or a time in which one wrote with --from and --to",
    )


def _told(facts: tuple[SegmentFacts, SegmentFacts]) -> Iterator[str]:
    for one in facts:
        yield one.host if facts[0].host != facts[1].host else f"{one.session} of {one.host}"


def _moment(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"
