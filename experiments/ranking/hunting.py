"""From a ranking of a deployment's paths to what of the deployment may go: hosts, and networks between them.

A path stays while it is not ruled out that it is the first. What is shown to be later than another goes; of those
that are shown to be as fast as the first within the margin, the cheapest stays and the others are spare. A host or a
network goes when all its paths go.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from experiments.ranking.model import RankedPath, Ranking

if TYPE_CHECKING:  # it comes with an extra that a ranking does not need
    from provisioning.needs import PathNeed

__all__ = ["FORMAT", "Answer", "Hunt", "HuntedPath", "HuntedThing", "Race", "hunt"]

FORMAT = "backbone-latency-hunt/1"

Answer = Literal["stays", "spare", "goes", "unmeasured"]


class HuntedPath(msgspec.Struct, frozen=True, kw_only=True):
    """One path.

    Attributes:
        path: its name.
        best_rank: the best place that cannot be ruled out; None where it was not measured.
        worst_rank: and the worst.
        behind_ms: the median of how much later than the first it had the same event.
        answer: ``stays``, ``spare`` (another is as fast), ``goes`` (another is shown to be earlier) or ``unmeasured``.
        why: in words.
        receiver: where it ends.
        forwarder: where it begins; empty for a receiver's own feed.
        via: the network; empty likewise.
        zone: of the forwarder.
        placement: of the forwarder.
        usd_per_day: what it needs by itself.
    """

    path: str
    best_rank: int | None
    worst_rank: int | None
    behind_ms: float | None
    answer: Answer
    why: str
    receiver: str
    forwarder: str
    via: str
    zone: str
    placement: str
    usd_per_day: float


class HuntedThing(msgspec.Struct, frozen=True, kw_only=True):
    """A forwarder, a zone, a placement or a network.

    Attributes:
        kind: ``host``, ``zone``, ``placement`` or ``way``.
        name: of it.
        best: its path with the best place; empty where none was measured.
        answer: of its paths together: the first of ``stays``, ``unmeasured``, ``spare`` and ``goes`` that one has.
        paths: of it, in order of rank.
    """

    kind: Literal["host", "zone", "placement", "way"]
    name: str
    best: str
    answer: Answer
    paths: list[str]


class Hunt(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        sentence: which hosts and networks may go, and what that saves a day.
        saved_usd_per_day: by what goes and what is spare; hours, without traffic.
        paths: in order of rank, those of one receiver after the other, the unmeasured last.
        things: hosts, zones, placements and networks, each kind in the order of its best path.
        rankings: what this was read from, one for each receiver's race.
    """

    format: str = FORMAT
    sentence: str
    saved_usd_per_day: float
    paths: list[HuntedPath]
    things: list[HuntedThing]
    rankings: list[Ranking]


@dataclass(frozen=True, slots=True)
class Race:
    """A receiver's race, and what its paths need; those in no need are of another deployment."""

    ranking: Ranking
    needs: Mapping[str, "PathNeed"]


def hunt(races: Sequence[Race], needs: Iterable["PathNeed"], prices: Mapping[tuple[str, str], float]) -> Hunt:
    """Say what may go.

    Args:
        races: of the deployment's paths, one for each receiver that was asked.
        needs: what all paths of the deployment need.
        prices: what the forwarders and networks that may go cost a day, by kind and name.
    """
    paths: list[HuntedPath] = []
    for race in races:
        ranked = [path for path in race.ranking.paths if path.path in race.needs]
        answers = _answers(race.ranking, ranked, race.needs)
        paths += [_path(race.needs[path.path], path, *answers[path.path]) for path in ranked]
    measured = {(path.receiver, path.path) for path in paths}
    paths += [
        _path(need, None, "unmeasured", "no race has such a path")
        for need in needs
        if (need.receiver, need.path) not in measured
    ]
    things = [thing for kind in ("host", "zone", "placement", "way") for thing in _things(kind, paths)]
    gone = [thing for thing in things if thing.answer in ("goes", "spare") and (thing.kind, thing.name) in prices]
    saved = sum(prices[thing.kind, thing.name] for thing in gone)
    return Hunt(
        sentence=_sentence(races, gone, saved),
        saved_usd_per_day=round(saved, 4),
        paths=paths,
        things=things,
        rankings=[race.ranking for race in races],
    )


def _answers(
    ranking: Ranking, ranked: Iterable[RankedPath], needs: Mapping[str, "PathNeed"]
) -> dict[str, tuple[Answer, str]]:
    """Answer for each path; of a group as fast as the first the cheapest stays, and among equals the first in rank."""
    answers: dict[str, tuple[Answer, str]] = {}
    kept: list[str] = []
    equal_first = sorted(ranked, key=lambda path: (needs[path.path].usd_per_day, path.rank))
    for path in equal_first:
        earlier = [pair for pair in ranking.pairs if _later(pair.first, pair.second, pair.relation) == path.path]
        if earlier:
            best = min(earlier, key=lambda pair: -abs(pair.lead.value_ms))
            other = best.first if best.second == path.path else best.second
            answers[path.path] = "goes", f"{other} is shown to be earlier, by {abs(best.lead.value_ms):.3f} ms"
            continue
        as_fast = [name for name in kept if ranking.pair(name, path.path).relation == "equal"]
        if as_fast:
            answers[path.path] = "spare", f"{as_fast[0]} is as fast within the margin, and costs no more"
            continue
        kept.append(path.path)
        rivals = [other.path for other in ranking.paths if other.path != path.path]
        open_ = [name for name in rivals if ranking.pair(name, path.path).relation == "unknown"]
        told = f"it cannot be told from {', '.join(open_)}" if open_ else "no path is shown to be earlier"
        answers[path.path] = "stays", told
    return answers


def _later(first: str, second: str, relation: str) -> str:
    """Of two paths, the one that is shown to be later; empty where neither is."""
    return {"earlier": second, "later": first}.get(relation, "")


def _path(need: "PathNeed", ranked: RankedPath | None, answer: Answer, why: str) -> HuntedPath:
    return HuntedPath(
        path=need.path,
        best_rank=None if ranked is None else ranked.best_rank,
        worst_rank=None if ranked is None else ranked.worst_rank,
        behind_ms=None if ranked is None else ranked.behind_ms,
        answer=answer,
        why=why,
        receiver=need.receiver,
        forwarder=need.forwarder,
        via=need.via,
        zone=need.zone,
        placement=need.placement,
        usd_per_day=round(need.usd_per_day, 4),
    )


def _things(kind: Literal["host", "zone", "placement", "way"], paths: list[HuntedPath]) -> list[HuntedThing]:
    """Group the paths of forwarders by one thing; a kind of which there is one thing only says nothing."""
    field = {"host": "forwarder", "zone": "zone", "placement": "placement", "way": "via"}[kind]
    groups: dict[str, list[HuntedPath]] = {}
    for path in paths:
        if path.forwarder:
            groups.setdefault(getattr(path, field), []).append(path)
    groups.pop("", None)
    return [
        HuntedThing(
            kind=kind,
            name=name,
            best=next((path.path for path in group if path.best_rank is not None), ""),
            answer=next(
                answer
                for answer in ("stays", "unmeasured", "spare", "goes")
                if any(path.answer == answer for path in group)
            ),
            paths=[path.path for path in group],
        )
        for name, group in groups.items()
    ]


def _sentence(races: Sequence[Race], gone: list[HuntedThing], saved: float) -> str:
    told = "; ".join(race.ranking.sentence for race in races)
    if not gone:
        return f"nothing may go; {told}"
    names = ", ".join(f"{'the host' if thing.kind == 'host' else 'the way by'} {thing.name}" for thing in gone)
    return f"{names} may go, which saves {saved:.2f} USD a day; {told}"
