"""What a measurement with an end shows: a display that changes while it measures, and the table at its end."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.text import Text

from daemons.probe.attempt import ConnectionKind, Phase
from daemons.probe.once.document import Vantage
from daemons.probe.once.statistics import ConnectionStatistics, TargetStatistics, summary
from daemons.service.console.display import Display
from daemons.service.console.screen import MISSING, Grid, figure, screen, sentence, wrapped
from daemons.service.log import logs

__all__ = ["Asked", "print_result", "print_vantage", "result_console", "show_progress"]

_REFRESH_SECONDS = 0.25
_QUANTILES: tuple[tuple[str, Literal["median_ms", "p95_ms", "p99_ms", "max_ms"]], ...] = (
    ("p50", "median_ms"),
    ("p95", "p95_ms"),
    ("p99", "p99_ms"),
    ("max", "max_ms"),
)

Asked = dict[ConnectionKind, int]
"""How many requests of each kind were asked for."""


def result_console(*, json_to_output: bool) -> Console:
    """Give the console for people: standard output, unless that is taken by what programs read."""
    return screen(errors=json_to_output)


async def show_progress(
    statistics: Sequence[TargetStatistics], asked: Sequence[Asked], seconds: float, status: Callable[[], str]
) -> None:
    """Show how far it is until cancelled, on whichever of the standard streams is a terminal; else show nothing.

    Args:
        statistics: of all targets, as they grow.
        asked: of each target.
        seconds: that it will take when every slot is kept.
        status: says what is done beside the requests.
    """
    console = next((one for one in (screen(), screen(errors=True)) if Display(one).moves), None)
    if console is None:
        return
    begun = time.monotonic()
    with Display(console, transient=True) as display, _logs_above(display):

        def shown() -> RenderableType:
            left = max(0.0, seconds - (time.monotonic() - begun))
            made = sum(one.attempts for one in statistics)
            wanted = sum(sum(one.values()) for one in asked)
            head = f"{made} of {wanted} requests, about {left:.0f} s left" if made < wanted else status()
            parts: list[RenderableType] = [Text(line) for line in wrapped(head, console.width)]
            parts.append(_grid(statistics, asked, live=True))
            parts += (Text(line) for text in _failures(statistics) for line in wrapped(text, console.width, 2))
            return Group(*parts)

        while True:
            display.update(shown)
            await asyncio.sleep(_REFRESH_SECONDS)


@contextlib.contextmanager
def _logs_above(display: Display) -> Iterator[None]:
    """Let log lines for this terminal go above what moves; those for a file or a pipe go there."""
    if os.isatty(2):
        logs.writer.divert = display.above
    try:
        yield
    finally:
        logs.writer.divert = None


def print_result(console: Console, statistics: Sequence[TargetStatistics], asked: Sequence[Asked]) -> None:
    """Print the figures: a row for each target and kind of connection, medians of phases, then totals."""
    console.print(_grid(statistics, asked, live=False))
    for text in _failures(statistics):
        sentence(console, text)


def print_vantage(console: Console, found: Vantage) -> None:
    """Print where the measurement stands: of what was asked for and has no answer, why.

    Args:
        console: where to.
        found: as :mod:`daemons.probe.once.vantage` has it, by part.
    """
    if egress := found.get("egress"):
        sentence(console, f"egress: {_identity(egress)}{_because(egress)}")
    if route := found.get("route"):
        if route["hops"]:
            console.print(_hops(route))
        if route["failure_details"] or not route["hops"]:
            sentence(console, f"route to {route['target']}: not traced{_because(route)}")
    if overlay := found.get("overlay"):
        sentence(console, f"overlay to {overlay['peer']}: {_echoes(overlay)}{_because(overlay)}")


def _identity(egress: Mapping[str, Any]) -> str:
    if egress["address"] is None:
        return "no answer"
    place = ", ".join(egress[key] for key in ("address", "city", "country") if egress[key])
    way = f" through {egress['proxy']}" if egress["proxy"] else ""
    if egress["mismatches"]:
        return f"{place}{way}, NOT as expected: {'; '.join(egress['mismatches'])}"
    return f"{place}{way}{', as expected' if egress['matches'] else ''}"


def _hops(route: Mapping[str, Any]) -> Grid:
    grid = Grid(f"route to {route['target']}, ms", ["hop", "address", "lost", "mean", "worst"], {"address"})
    for hop in route["hops"]:
        lost = f"{hop['loss_ratio']:.0%}"
        grid.add(str(hop["number"]), hop["address"] or MISSING, lost, figure(hop["avg_ms"]), figure(hop["max_ms"]))
    return grid


def _echoes(overlay: Mapping[str, Any]) -> str:
    round_trip = overlay["rtt"]
    times = ", ".join(f"{name} {figure(round_trip[key])}" for name, key in _QUANTILES)
    times = f"; {times} ms" if round_trip["sample_count"] else ""
    counted = ("lost", "late", "duplicates", "send_errors")
    others = "".join(f", {overlay[key]} {key.replace('_', ' ')}" for key in counted if overlay[key])
    return f"{overlay['received']} of {overlay['sent']} echoes answered{others}{times}"


def _because(found: Mapping[str, Any]) -> str:
    return "".join(f"; {reason}: {detail}" for reason, detail in found["failure_details"].items())


def _grid(statistics: Sequence[TargetStatistics], asked: Sequence[Asked], *, live: bool) -> Grid:
    several = len(statistics) > 1
    rows: list[tuple[str, int, ConnectionStatistics]] = []
    for target, wanted in zip(statistics, asked, strict=True):
        for kind in (kind for kind in ConnectionKind if kind in wanted):
            name = f"{target.name} {kind}" if several else kind
            rows.append((name, wanted[kind], target.connections.get(kind, ConnectionStatistics())))
    # A phase that no request had, such as a tunnel without a proxy, needs no column.
    phases = [phase for phase in Phase if any(phase in one.phases for _name, _count, one in rows)]
    of = ["of", "ok", "failed", *(["last"] if live else [])]
    title = "ms (phases: medians)" if several else f"{statistics[0].name}, ms (phases: medians)"
    grid = Grid(title, ["requests", *of, *phases, *(name for name, _key in _QUANTILES)])
    for name, count, one in rows:
        total = summary(one.total)
        medians = [one.phases[phase].quantile(0.5) if phase in one.phases else None for phase in phases]
        counts = [str(count), str(one.total.count), str(sum(one.failures.values()))]
        last = [figure(_ms(one.last_ns))] if live else []
        figures = [figure(_ms(median)) for median in medians] + [figure(total[key]) for _name, key in _QUANTILES]
        grid.add(name, *counts, *last, *figures)
    return grid


def _failures(statistics: Sequence[TargetStatistics]) -> list[str]:
    lines = [
        f"{target.name}: {reason}: {detail}" for target in statistics for reason, detail in target.failures.items()
    ]
    return lines + [
        f"{target.name}: {target.remade} more request{'s' * (target.remade > 1)} went to make connections again, "
        "for none stayed open"
        for target in statistics
        if target.remade
    ]


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6
