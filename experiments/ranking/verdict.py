"""From the pairs of a ranking to the sentence that answers the question."""

from collections.abc import Mapping, Sequence

from experiments.comparison.verdict import milliseconds
from experiments.ranking.model import Outcome, PathPair, Relation
from experiments.statistics.bootstrap import Interval

__all__ = ["inseparable", "judge", "relation_of"]

_GROUPS_TOLD = 3


def relation_of(lead_ms: float, interval: Interval | None, margin_ms: float) -> Relation:
    """Say what is shown of a pair.

    >>> relation_of(0.2, Interval(0.1, 0.3, 0.95), 0.05), relation_of(0.2, Interval(-0.1, 0.5, 0.95), 0.05)
    ('earlier', 'unknown')
    """
    if interval is None:
        return "unknown"
    if max(abs(interval.low), abs(interval.high)) < margin_ms:
        return "equal"
    if interval.excludes(0) and abs(lead_ms) >= margin_ms:
        return "earlier" if lead_ms > 0 else "later"
    return "unknown"


def inseparable(names: Sequence[str], pairs: Sequence[PathPair]) -> list[list[str]]:
    """Give the largest groups of paths no two of which can be told apart (Bron and Kerbosch, CACM 16, 1973).

    Args:
        names: in order of rank.
        pairs: all of them.
    """
    near: dict[str, set[str]] = {name: set() for name in names}
    for pair in pairs:
        if pair.relation == "unknown":
            near[pair.first].add(pair.second)
            near[pair.second].add(pair.first)
    found: list[list[str]] = []

    def grow(group: set[str], candidates: set[str], excluded: set[str]) -> None:
        if not candidates and not excluded and len(group) > 1:
            found.append(sorted(group, key=names.index))
        pivot = max(candidates | excluded, key=lambda name: len(near[name] & candidates), default="")
        for name in sorted(candidates - near.get(pivot, set()), key=names.index):
            grow(group | {name}, candidates & near[name], excluded & near[name])
            candidates = candidates - {name}
            excluded = excluded | {name}

    grow(set(), set(names), set())
    return sorted(found, key=lambda group: [names.index(name) for name in group])


def judge(
    names: Sequence[str], pairs: Sequence[PathPair], groups: Sequence[Sequence[str]], *, margin_ms: float, note: str
) -> tuple[Outcome, str]:
    """Say what was shown.

    Args:
        names: of the paths, in order of rank.
        pairs: all of them.
        groups: those that cannot be told apart.
        margin_ms: a smaller lead is not worth naming.
        note: why there are no intervals, or "".
    """
    if note:
        return "undecided", f"undecided among {_listed(names)}: {note}"
    leader, rivals = names[0], names[1:]
    mine = {pair.second if pair.first == leader else pair.first: pair for pair in pairs if leader in _both(pair)}
    shown = [name for name in rivals if mine[name].relation == "earlier"]
    level = [name for name in rivals if mine[name].relation == "equal"]
    unknown = [name for name in rivals if mine[name].relation not in {"earlier", "equal"}]
    if not any(pair.relation in {"earlier", "later"} for pair in pairs):
        return "no-difference", _sentence([_none(names, groups, margin_ms)])
    others = [group for group in groups if leader not in group]
    if len(shown) == len(rivals):
        return "first", _sentence([_first(leader, shown, mine), _groups(others)])
    head = [f"{leader} leads"]
    if unknown:
        head.append(f"it cannot be told from {_listed([_reach(name, mine[name].lead.interval) for name in unknown])}")
    if level:
        head.append(f"{_listed(level)} {'is' if len(level) == 1 else 'are'} as fast within {milliseconds(margin_ms)}")
    if shown:
        head.append(f"{leader} is ahead of {_listed([_ahead(name, mine[name]) for name in shown])}")
    return "leaders", _sentence([*head, _groups(others)])


def _first(leader: str, shown: Sequence[str], mine: Mapping[str, PathPair]) -> str:
    return f"{leader} is first: ahead of {_listed([_ahead(name, mine[name]) for name in shown])}"


def _ahead(name: str, pair: PathPair) -> str:
    return f"{_reach(name, pair.lead.interval, f'by {milliseconds(abs(pair.lead.value_ms))}, ')}"


def _reach(name: str, interval: Interval | None, size: str = "") -> str:
    if interval is None:
        return name
    decimals = 2 if max(abs(interval.low), abs(interval.high)) >= 1 else 3
    return f"{name} ({size}{interval.low:.{decimals}f} to {interval.high:.{decimals}f} ms)"


def _none(names: Sequence[str], groups: Sequence[Sequence[str]], margin_ms: float) -> str:
    if not groups:
        return f"{_listed(names)} are equally fast within {milliseconds(margin_ms)}"
    if len(groups) == 1 and len(groups[0]) == len(names):
        return f"no path is shown to be ahead: {_listed(names)} cannot be told apart"
    return f"no path is shown to be ahead; {_groups(groups)}"


def _groups(groups: Sequence[Sequence[str]]) -> str:
    """Name groups that cannot be told apart; the first few, and how many there are besides."""
    if not groups:
        return ""
    told = "; ".join(_listed(group) for group in groups[:_GROUPS_TOLD])
    more = f"; and {len(groups) - _GROUPS_TOLD} more groups" if len(groups) > _GROUPS_TOLD else ""
    return f"not to be told apart: {told}{more}"


def _both(pair: PathPair) -> tuple[str, str]:
    return pair.first, pair.second


def _listed(names: Sequence[str]) -> str:
    """Write a list in words.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _sentence(parts: Sequence[str]) -> str:
    return "; ".join(part for part in parts if part)
