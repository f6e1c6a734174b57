"""What a measurement with an end learns of where it stands: the egress identity, the route, and the tunnel."""

import asyncio

from daemons.configuration.probe import EgressSection, OverlaySection, RouteSection
from daemons.measurement.histogram import QuantileHistogram
from daemons.probe.checks.egress import EgressCheck, mismatches
from daemons.probe.checks.overlay import OverlayPinger
from daemons.probe.checks.route import RouteTracer
from daemons.probe.lane import ColdLane
from daemons.probe.once.document import Egress, Overlay, Route
from daemons.probe.once.statistics import TargetStatistics, summary
from daemons.probe.prober import Prober
from daemons.probe.schedule import Grid, Timetable
from daemons.probe.target import Target
from daemons.stream.stamping import Stamper

__all__ = ["identity_of", "round_trips_to", "route_to"]

_EGRESS_TRIES = 3
_EXPIRY_PERIOD_SECONDS = 0.05


async def identity_of(section: EgressSection, target: Target, prober: Prober) -> Egress:
    """Ask for our identity, once more or twice when there is no answer; as plain data."""
    statistics = TargetStatistics(target)
    check = EgressCheck(section, target)
    lane = ColdLane(target, prober, statistics, check.learn)
    try:
        for _try in range(_EGRESS_TRIES):
            lane.slot(prober.clock.monotonic_ns(), 0)
            await lane.idle()
            if check.identity is not None:
                break
    finally:
        await lane.close()
    found = check.identity
    return {
        "url": target.url,
        "proxy": target.proxy.authority if target.proxy else None,
        "address": found.address if found else None,
        "city": (found.city or None) if found else None,
        "country": (found.country or None) if found else None,
        "matches": check.matches,
        "mismatches": mismatches(found, section) if found else [],
        "failure_details": {str(reason): detail for reason, detail in statistics.failures.items()},
    }


async def route_to(section: RouteSection) -> Route:
    """Trace the route once; as plain data."""
    tracer = RouteTracer(section)
    tracer.slot(0, 0)
    try:
        await tracer.idle()
    finally:
        await tracer.close()
    return {
        "target": tracer.target,
        "hops": [
            {
                "number": hop.number,
                "address": hop.address,
                "loss_ratio": hop.loss_ratio,
                "avg_ms": _ms(hop.average_ns),
                "max_ms": _ms(hop.worst_ns),
            }
            for hop in tracer.hops
        ],
        "failure_details": {tracer.failure: tracer.complaint} if tracer.failure else {},
    }


async def round_trips_to(section: OverlaySection, stamper: Stamper, timetable: Timetable, count: int) -> Overlay:
    """Send so many echo requests, wait for the last to be answered or lost; as plain data."""
    round_trips = QuantileHistogram()
    pinger = OverlayPinger(section, stamper, round_trips.record)
    left = count
    done = asyncio.Event()

    def slot(intended_ns: int, missed: int) -> None:
        nonlocal left
        pinger.slot(intended_ns, missed)
        left -= 1
        if not left or not pinger.open:
            timetable.remove(number)
            done.set()

    number = timetable.add(Grid(stamper.clock.monotonic_ns(), round(section.interval_seconds * 1e9)), slot)
    try:
        await done.wait()
        while pinger.account.outstanding:
            await asyncio.sleep(_EXPIRY_PERIOD_SECONDS)
            pinger.account.expire(stamper.clock.monotonic_ns())
    finally:
        await pinger.close()
    account = pinger.account
    return {
        "peer": pinger.peer,
        "sent": account.sent,
        "received": account.received,
        "lost": account.lost,
        "late": account.late,
        "duplicates": account.duplicates,
        "send_errors": pinger.send_errors,
        "rtt": summary(round_trips),
        "failure_details": {"local": pinger.complaint} if pinger.complaint else {},
    }


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else round(value_ns / 1e6, 6)
