"""What ``experiment watch`` shows: tables for a terminal, a line for a pipe."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from daemons.service.screen import MISSING, NOT_CONFIGURED, Grid, figure, wrapped
from experiments.live.figures import Clock, Daemon, Lead, Path, Watched
from experiments.live.targets import DAEMONS

__all__ = ["line", "sparkline", "tables"]

_BARS = "▁▂▃▄▅▆▇█"
_PERCENT = 100
_TREND = "p50 lately"
_NOISE = 0.05


def tables(seen: Watched, width: int) -> RenderableType:
    """Make all tables; those that would be empty are left out."""
    parts: list[RenderableType] = [_head(seen, width)]
    if seen.paths:
        parts += [_paths(seen), _leads(seen, width)]
    if seen.links:
        parts.append(_links(seen))
    if seen.requests:
        parts.append(_requests(seen))
    if seen.clocks:
        parts.append(_clocks(seen))
    apart: list[RenderableType] = []
    for part in parts:
        apart += [part, Text("")]
    return Group(*apart[:-1])


def line(seen: Watched) -> str:
    """Make one line for a pipe or a log file."""
    parts = [
        f"{_name(path.name, path.daemon, seen)}: {_rate(path.events_per_second)} events/s, "
        f"p50 {figure(path.median_ms)} p99 {figure(path.p99_ms)} ms, lost {path.lost}"
        for path in seen.paths
    ]
    gone = [f"{_called(daemon)} {_state(daemon)}" for daemon in seen.daemons if daemon.state != "up"]
    return "  |  ".join([seen.time, *parts, *(_lead(lead) for lead in seen.leads), *gone])


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values from the lowest to the highest of them; a gap where there is none.

    What differs by less than a twentieth is drawn as such a small difference, so that noise is no mountain.

    >>> sparkline([1.0, None, 2.0, 3.0]), sparkline([100.0, 100.4])
    ('▁ ▅█', '▁▂')
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    spread = max(high - low, max(abs(low), abs(high)) * _NOISE)
    heights = (None if value is None else (value - low) / spread if spread else 0.0 for value in values)
    return "".join(" " if height is None else _BARS[int(height * (len(_BARS) - 1) + 0.5)] for height in heights)


def _head(seen: Watched, width: int) -> RenderableType:
    texts = [f"{seen.time}  {_cover(seen)}"]
    lines = [Text(line) for text in texts for line in wrapped(text, width)]
    for daemon in seen.daemons:
        style = "" if daemon.state == "up" else "bold red"
        text = f"{_called(daemon)} {_state(daemon)}"
        lines += [Text(part, style=style) for part in wrapped(text, width, 2)]
    absent = [role for role in DAEMONS if role not in {daemon.role for daemon in seen.daemons}]
    # A daemon that has never answered may be of any role.
    if absent and all(daemon.role for daemon in seen.daemons):
        lines.append(Text(f"{', '.join(absent)}: {NOT_CONFIGURED}", style="dim"))
    return Group(*lines)


def _cover(seen: Watched) -> str:
    spans = [daemon.over_seconds for daemon in seen.daemons if daemon.over_seconds is not None]
    if not spans:
        return "no figures"
    fine = {daemon.address for daemon in seen.daemons if daemon.fine}
    all_fine = fine and not seen.requests and fine >= {path.daemon for path in seen.paths}
    return f"figures of the last {_span(min(spans))}; p50 and p99 to within {'0.05 %' if all_fine else 'a bucket, 9 %'}"


def _called(daemon: Daemon) -> str:
    return f"{daemon.role or 'daemon'} {daemon.address}"


def _state(daemon: Daemon) -> str:
    restarts = f", restarted {daemon.restarts}x since watched" if daemon.restarts else ""
    if daemon.state == "up":
        return f"up{f' ({daemon.version})' if daemon.version else ''}{restarts}"
    silent = "" if daemon.silent_seconds is None else f" since {_span(daemon.silent_seconds)}"
    return f"does not answer{silent}{restarts}: {daemon.trouble}"


def _paths(seen: Watched) -> Grid:
    trends = any(path.trend_ms for path in seen.paths)
    columns = ["path", "state", "events/s", "p50 ms", "p99 ms", "jitter ms", "lost", "wins"]
    grid = Grid("paths", [*columns, *([_TREND] if trends else [])], {"state", _TREND})
    best = max(path.wins for path in seen.paths)
    for path in seen.paths:
        grid.add(
            _name(path.name, path.daemon, seen),
            _connected(path),
            _rate(path.events_per_second),
            *map(figure, (path.median_ms, path.p99_ms, path.jitter_ms)),
            str(path.lost),
            Text(str(path.wins), style="green" if path.wins and path.wins == best else ""),
            *([sparkline(path.trend_ms)] if trends else []),
        )
    return grid


def _connected(path: Path) -> Text:
    if path.connected is False:
        return Text("DOWN", style="bold red")
    if path.silent_seconds is not None and path.silent_seconds > 10:
        return Text(f"silent {_span(path.silent_seconds)}", style="yellow")
    return Text("up" if path.connected else MISSING)


def _leads(seen: Watched, width: int) -> Group:
    lines = [Text(part, style="bold") for lead in seen.leads for part in wrapped(_lead(lead), width, 2)]
    return Group(*lines) if lines else Group(Text(f"race: {NOT_CONFIGURED}", style="dim"))


def _lead(lead: Lead) -> str:
    if lead.median_ms is None:
        count = f"{lead.events} events by both, too few for a median" if lead.events else "no event by both lately"
        return f"{lead.path} and {lead.reference}: {count}"
    word = "leads" if lead.median_ms >= 0 else "trails"
    share = _share(lead.wins, lead.wins + lead.reference_wins)
    trend = f"  {sparkline(lead.trend_ms)}" if len(lead.trend_ms) > 1 else ""
    return (
        f"{lead.path} {word} {lead.reference} by {figure(abs(lead.median_ms))} ms (median), "
        f"first in {share} of {lead.events:,} events{trend}"
    )


def _share(part: int, whole: int) -> str:
    if not whole:
        return MISSING
    if part in {0, whole}:
        return f"{_PERCENT * part // whole} %"
    return f"{min(max(part / whole, 0.001), 0.999) * _PERCENT:.1f} %"


def _links(seen: Watched) -> Grid:
    grid = Grid("links of the forwarder", ["destination", "state", "events/s", "waiting", "dropped"], {"state"})
    for link in seen.links:
        state = Text("up") if link.connected else Text("DOWN", style="bold red")
        name = _name(link.destination, link.daemon, seen)
        grid.add(name, state, _rate(link.events_per_second), str(link.waiting), str(link.dropped))
    return grid


def _requests(seen: Watched) -> Grid:
    failed = sum(daemon.failed_requests or 0 for daemon in seen.daemons)
    title = f"requests{f', {failed} failed' if failed else ''}"
    trends = any(one.trend_ms for one in seen.requests)
    columns = ["target", "connection", "requests", "p50 ms", "p99 ms"]
    grid = Grid(title, [*columns, *([_TREND] if trends else [])], {"connection", _TREND})
    for one in seen.requests:
        figures = (figure(one.median_ms), figure(one.p99_ms))
        name = _name(one.target, one.daemon, seen)
        grid.add(name, one.connection, str(one.requests), *figures, *([sparkline(one.trend_ms)] if trends else []))
    return grid


def _clocks(seen: Watched) -> Grid:
    grid = Grid("clocks", ["host of", "kept", "offset ms", "error up to ms"], {"kept"})
    for clock in seen.clocks:
        kept = {True: "yes", False: "no", None: MISSING}[clock.synchronized]
        grid.add(_host_of(clock, seen), kept, figure(clock.offset_ms, 3), figure(clock.error_ms, 3))
    return grid


def _host_of(clock: Clock, seen: Watched) -> str:
    daemon = next(daemon for daemon in seen.daemons if daemon.address == clock.daemon)
    return f"the far end of {clock.peer_of}" if clock.peer_of else _called(daemon)


def _name(name: str, daemon: str, seen: Watched) -> str:
    """Say of which daemon something is where there are several of its kind."""
    role = next((one.role for one in seen.daemons if one.address == daemon), "")
    alike = [one for one in seen.daemons if one.role == role and one.state == "up"]
    return f"{name} ({daemon})" if len(alike) > 1 else name


def _rate(value: float | None) -> str:
    return figure(value, 1)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
