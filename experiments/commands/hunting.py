"""What ``experiment hunt`` does, and what paths cost a day."""

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from daemons.service.console.screen import MISSING, Grid, figure, screen, sentence
from experiments.archive.bucket import Bucket, at_hand
from experiments.archive.selection import Selection
from experiments.comparison.figures import Options
from experiments.comparison.model import METRICS
from experiments.comparison.wording import format_value
from experiments.errors import InputError
from experiments.ranking.compute import rank
from experiments.ranking.hunting import Hunt, HuntedPath, Race, hunt
from experiments.results.run import Run, load_run
from experiments.runs.manifest import PriceRecord
from provisioning.cost import prices
from provisioning.loading import load_topology
from provisioning.needs import PathNeed, path_needs, removable

__all__ = ["hunt_in", "priced"]


def priced(topology: str) -> PriceRecord:
    """Give what each path of a topology needs by itself, in US dollars a day.

    Raises:
        LatencyError: there is no such topology, or the price table lacks something of it.
    """
    return PriceRecord(date=prices().date, usd_per_day=_prices(path_needs(load_topology(topology))))


def _prices(needs: Mapping[str, PathNeed]) -> dict[str, float]:
    return {name: need.usd_per_day for name, need in needs.items()}


def hunt_in(
    sources: tuple[Path | Bucket, ...],
    topology: str,
    selection: Selection,
    margin_ms: float,
    confidence: float,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Rank, say what may go, and print it; the arguments are the command's.

    Raises:
        LatencyError: a source cannot be read or ranked, or is not of that topology.
    """
    shape = load_topology(topology)
    by_receiver = {host.name: path_needs(shape, host.name) for host in shape.host if host.role == "receiver"}
    options = Options(metric=METRICS["end-to-end"], margin_ms=margin_ms, confidence=confidence, seed=seed)
    races: dict[str, Race] = {}
    for source in sources:
        with at_hand(source, selection, ()) as here:
            run = load_run(here, selection=selection)
        receiver = _receiver(by_receiver, topology, run)
        if receiver in races:
            earlier = races[receiver].ranking.source
            raise InputError(
                run.source,
                None,
                f"is of {receiver}, as {earlier} is",
                "give one race of each receiver: --from and --to",
            )
        needs = by_receiver[receiver]
        races[receiver] = Race(rank(run, run.path_names(), options, _prices(needs)), needs)
    everything = [need for needs in by_receiver.values() for need in needs.values()]
    found = hunt(list(races.values()), everything, removable(shape))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _print(found)


def _receiver(by_receiver: Mapping[str, Mapping[str, PathNeed]], topology: str, run: Run) -> str:
    """The receiver whose race it is, by the names of its paths.

    Raises:
        InputError: it has no path of the topology, those of several receivers, or names that several have.
    """
    known = run.path_names()
    every = dict.fromkeys(name for needs in by_receiver.values() for name in needs)
    of_it = set(known) & every.keys()
    fitting = [receiver for receiver, needs in by_receiver.items() if of_it and of_it <= needs.keys()]
    if len(fitting) == 1:
        return fitting[0]
    why = f"has {', '.join(known) or 'no paths'}, and {topology} has {', '.join(every)}"
    remedy = "give the topology that was measured"
    if fitting:
        why, remedy = f"may be of {' or '.join(fitting)}: both have its paths", "give links to each a name of their own"
    elif of_it:
        why, remedy = f"has paths to several of {', '.join(by_receiver)}", "give a race of each by itself"
    raise InputError(run.source, None, why, remedy)


def _print(found: Hunt) -> None:
    console = screen()
    sentence(console, found.sentence, style="bold")
    console.print()
    several = len(found.rankings) > 1
    columns = (
        "path",
        *["receiver"] * several,
        "place",
        "behind, ms",
        "answer",
        "$ a day",
        "forwarder",
        "zone",
        "by",
        "why",
    )
    paths = Grid("", columns, {"path", "receiver", "answer", "forwarder", "zone", "by", "why"})
    for path in found.paths:
        paths.add(
            path.path,
            *[path.receiver] * several,
            _place(path),
            MISSING if path.behind_ms is None else format_value(path.behind_ms, "ms"),
            path.answer,
            figure(path.usd_per_day),
            path.forwarder or MISSING,
            " ".join(filter(None, (path.zone, path.placement))) or MISSING,
            path.via or MISSING,
            path.why,
        )
    console.print(paths)
    things = Grid("hosts, zones, placements and networks", ("kind", "name", "best path", "answer"), {"kind", "name"})
    for thing in found.things:
        things.add(thing.kind, thing.name, thing.best or MISSING, thing.answer)
    console.print(things)
    for ranking in found.rankings:
        of = f"{ranking.source}: " if len(found.rankings) > 1 else ""
        for caveat in ranking.caveats:
            sentence(console, f" ! {of}{caveat}", style="yellow", indent=3)


def _place(path: HuntedPath) -> str:
    if path.best_rank is None:
        return MISSING
    return str(path.best_rank) if path.best_rank == path.worst_rank else f"{path.best_rank}–{path.worst_rank}"
