"""Everything that is being probed, brought in line with a configuration at the start and at every reload."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from daemons.configuration.probe import EgressSection, OverlaySection, ProbeConfig, RouteSection
from daemons.probe.attempt import ConnectionKind
from daemons.probe.checks.egress import EgressCheck
from daemons.probe.checks.overlay import OverlayPinger
from daemons.probe.checks.route import RouteTracer
from daemons.probe.families import Families
from daemons.probe.lane import Asker, ColdLane, WarmLane
from daemons.probe.observations import Observations
from daemons.probe.schedule import Grid, Timetable
from daemons.probe.target import Target, prepared
from daemons.sections import Section
from daemons.stream.stamping import Stamper

__all__ = ["Roster"]

FIRST_SLOT_NS = 100_000_000
"""From the start to the first slot: time for everything to be in place."""


class _Scheduled(Protocol):
    """Something that uses the slots of a grid."""

    def slot(self, intended_ns: int, missed: int) -> object:
        """Use a slot; so many before it were missed."""

    async def close(self) -> None:
        """Stop for good."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a section of the configuration asks for; ``files`` is what stood in those that it names."""

    section: Section
    interval_ns: int
    make: Callable[[], list[_Scheduled]]
    files: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class _Running:
    """What runs for a section, with the numbers that the timetable knows it by."""

    plan: _Plan
    lanes: list[tuple[int, _Scheduled]]

    def as_planned(self, plan: _Plan) -> bool:
        """Whether it does what a new configuration asks for."""
        return (self.plan.section, self.plan.files) == (plan.section, plan.files)


def _files(target: Target) -> tuple[object, ...]:
    """Return what was read for a target: of a file behind an unchanged section nothing else tells that it changed."""
    authorities = target.context.get_ca_certs(binary_form=True) if target.context and target.section.ca_file else []
    return (target.proxy, *authorities)


class Roster:
    """What is probed now.

    Args:
        stamper: for the sockets' stamps and the clock.
        prober: makes the attempts.
        timetable: calls the slots.
        families: take the latencies.

    Attributes:
        targets: by name, the egress endpoint among them.
        egress: the egress check, if there is one.
        route: the route tracer, if there is one.
        overlay: the tunnel's pinger, if there is one.
    """

    def __init__(self, stamper: Stamper, prober: Asker, timetable: Timetable, families: Families) -> None:
        self._stamper = stamper
        self._prober = prober
        self._timetable = timetable
        self._families = families
        self._running: dict[str, _Running] = {}
        self._observations: dict[str, Observations] = {}
        self.targets: dict[str, Target] = {}
        self.egress: EgressCheck | None = None
        self.route: RouteTracer | None = None
        self.overlay: OverlayPinger | None = None

    @property
    def observations(self) -> tuple[Observations, ...]:
        """Of every target, the egress endpoint among them."""
        return tuple(self._observations.values())

    async def apply(self, config: ProbeConfig) -> None:
        """Probe what the configuration says; what did not change keeps its schedule, connections and figures.

        Raises:
            ConfigError: a file that it names cannot be used; nothing has changed then.
        """
        targets, plans = self._planned(config)
        for name, running in tuple(self._running.items()):
            if name not in plans or not running.as_planned(plans[name]):
                await self._drop(name)
        self.targets = targets
        new = [name for name in plans if name not in self._running]
        start_ns = self._stamper.clock.monotonic_ns() + FIRST_SLOT_NS
        for position, name in enumerate(new):
            self._add(name, plans[name], start_ns, position / len(new))

    async def close(self) -> None:
        """Stop everything."""
        for name in tuple(self._running):
            await self._drop(name)

    def _planned(self, config: ProbeConfig) -> tuple[dict[str, Target], dict[str, _Plan]]:
        targets: dict[str, Target] = {}
        plans: dict[str, _Plan] = {}
        for target in prepared(config):
            targets[target.name] = target
            plans[target.name] = _Plan(target.section, target.interval_ns, partial(self._lanes, target), _files(target))
        if config.route is not None:
            plans["[route]"] = _Plan(
                config.route, round(config.route.interval_seconds * 1e9), partial(self._route_tracer, config.route)
            )
        if config.overlay is not None:
            plans["[overlay]"] = _Plan(
                config.overlay, round(config.overlay.interval_seconds * 1e9), partial(self._pinger, config.overlay)
            )
        return targets, plans

    def _add(self, name: str, plan: _Plan, start_ns: int, share: float) -> None:
        """Start what a section asks for, at its share of its interval, so that not all begin at once."""
        lanes = plan.make()
        entries: list[tuple[int, _Scheduled]] = []
        for position, lane in enumerate(lanes):
            # The warm lane stands half an interval from the cold one.
            offset_ns = round((share + position / len(lanes)) % 1.0 * plan.interval_ns)
            grid = Grid(start_ns + offset_ns, plan.interval_ns)
            entries.append((self._timetable.add(grid, lane.slot), lane))
        self._running[name] = _Running(plan, entries)

    async def _drop(self, name: str) -> None:
        for number, lane in self._running.pop(name).lanes:
            self._timetable.remove(number)
            await lane.close()
            if lane is self.route:
                self.route = None
            elif lane is self.overlay:
                self.overlay = None
        if self.egress is not None and self.egress.target == name:
            self.egress = None
        if name in self._observations:
            del self._observations[name]
            self._families.remove(name)

    def _lanes(self, target: Target) -> list[_Scheduled]:
        seen = self._observations[target.name] = Observations(target, target.kinds, self._families)
        if isinstance(target.section, EgressSection):
            self.egress = EgressCheck(target.section, target)
            return [ColdLane(target, self._prober, seen, self.egress.learn)]
        return [
            (ColdLane if kind is ConnectionKind.COLD else WarmLane)(target, self._prober, seen) for kind in target.kinds
        ]

    def _route_tracer(self, section: RouteSection) -> list[_Scheduled]:
        self.route = RouteTracer(section)
        return [self.route]

    def _pinger(self, section: OverlaySection) -> list[_Scheduled]:
        self.overlay = OverlayPinger(section, self._stamper, self._families.overlay_rtt.labels(section.peer).observe)
        return [self.overlay]
