"""What ``experiment watch`` shows: tables for a terminal, a line for a pipe."""

from collections.abc import Collection, Sequence

import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from daemons.service.console.screen import MISSING, NOT_CONFIGURED, Grid, figure, wrapped
from experiments.live.figures import ClockFigures, Daemon, LeadFigures, Path, Watched
from experiments.live.targets import DAEMONS

__all__ = ["fitted", "line", "sparkline", "tables"]

_BARS = "▁▂▃▄▅▆▇█"
_PERCENT = 100
_TREND = "p50 lately"
_NOISE = 0.05
_BRIEF = (("path", "state", "p50 ms", "p99 ms", "lost", "wins"), ("path", "state", "p50 ms"))
"""Columns of the paths where there is little room, and where there is least."""
_ALL_PAIRS = 3
"""Of more pairs than those of three paths, those of the first path are shown."""


def tables(seen: Watched, width: int) -> RenderableType:
    """Make all tables; those that would be empty are left out."""
    return _apart(_parts(seen, width))


def fitted(seen: Watched, console: Console) -> RenderableType:
    """Make the tables that a terminal has room for, the most important first, and say which it has not."""
    room = console.height
    shown = tables(seen, console.width)
    if _height(console, shown) <= room:
        return shown
    for columns in _BRIEF:
        parts = _parts(seen, console.width, columns)
        left_out: list[str] = []
        # Who leads and the paths' own figures stay, whatever becomes of the last of them.
        while _height(console, shown := _apart(_with_rest(parts, left_out, console.width))) > room and len(parts) > 3:
            left_out.insert(0, parts.popitem()[0])
        if _height(console, shown) <= room:
            break
    return shown


def _with_rest(parts: dict[str, RenderableType], left_out: Sequence[str], width: int) -> dict[str, RenderableType]:
    """Add what there is no room for, by name."""
    if not left_out:
        return parts
    text = f"no room for: {', '.join(left_out)}; see a higher terminal, or --once"
    return parts | {"": Group(*(Text(each, style="dim") for each in wrapped(text, width)))}


def _parts(seen: Watched, width: int, columns: Collection[str] = ()) -> dict[str, RenderableType]:
    """Make what there is to show by its name, the most important first.

    Args:
        seen: the figures.
        width: of the terminal.
        columns: of the paths. With them it is brief: it begins with who leads, and leaves out trends.
    """
    brief = bool(columns)
    parts: dict[str, RenderableType] = {"daemons": _head(seen, width, brief=brief)}
    if seen.paths:
        paths, leads = _paths(seen, columns), _leads(seen, width, brief=brief)
        parts |= {"leads": leads, "paths": paths} if brief else {"paths": paths, "leads": leads}
    if seen.links:
        parts["links"] = _links(seen)
    if seen.requests:
        parts["requests"] = _requests(seen)
    if seen.clocks:
        parts["clocks"] = _clocks(seen)
    return parts


def _apart(parts: dict[str, RenderableType]) -> RenderableType:
    """Put the parts under each other, with a line between."""
    spaced = [piece for part in parts.values() for piece in (part, Text(""))]
    return Group(*spaced[:-1])


def _height(console: Console, shown: RenderableType) -> int:
    return len(console.render_lines(shown, pad=False))


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


def _head(seen: Watched, width: int, *, brief: bool) -> RenderableType:
    lines = [Text(part) for part in wrapped(f"{seen.time}  {_cover(seen)}", width, 2)]
    well = [daemon for daemon in seen.daemons if daemon.state == "up" and not daemon.restarts] if brief else []
    if well:
        lines += [Text(part) for part in wrapped(f"up: {', '.join(map(_called, well))}", width, 2)]
    for daemon in (daemon for daemon in seen.daemons if daemon not in well):
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
    word = "is slow" if daemon.state == "slow" else "does not answer"
    return f"{word}{silent}{restarts}: {daemon.trouble}"


def _paths(seen: Watched, only: Collection[str]) -> Grid:
    trends = any(path.trend_ms for path in seen.paths)
    columns = ["path", "state", "events/s", "p50 ms", "p99 ms", "jitter ms", "lost", "wins", _TREND]
    shown = [name for name in columns if (name in only if only else trends or name != _TREND)]
    grid = Grid("" if only else "paths", shown, {"state", _TREND})
    best = max(path.wins for path in seen.paths)
    for path in seen.paths:
        cells: list[str | Text] = [
            _name(path.name, path.daemon, seen),
            _connected(path),
            _rate(path.events_per_second),
            *map(figure, (path.median_ms, path.p99_ms, path.jitter_ms)),
            str(path.lost),
            Text(str(path.wins), style="green" if path.wins and path.wins == best else ""),
            sparkline(path.trend_ms),
        ]
        grid.add(*(cell for name, cell in zip(columns, cells, strict=True) if name in shown))
    return grid


def _connected(path: Path) -> Text:
    if path.connected is False:
        return Text("DOWN", style="bold red")
    if path.silent_seconds is not None and path.silent_seconds > 10:
        return Text(f"silent {_span(path.silent_seconds)}", style="yellow")
    return Text("up" if path.connected else MISSING)


def _leads(seen: Watched, width: int, *, brief: bool) -> Group:
    if not seen.leads:
        return Group(Text(f"race: {NOT_CONFIGURED}", style="dim"))
    lines: list[Text] = []
    for daemon in dict.fromkeys(lead.daemon for lead in seen.leads):
        leads = [lead for lead in seen.leads if lead.daemon == daemon]
        shown = leads if len(leads) <= _ALL_PAIRS else _of_the_first(seen, daemon)[: 1 if brief else None]
        told = [_lead(msgspec.structs.replace(lead, trend_ms=[]) if brief else lead) for lead in shown]
        lines += [Text(part, style="bold") for text in told for part in wrapped(text, width, 2)]
        if rest := len(leads) - len(shown):
            lines.append(Text(f"and {rest} other pairs: see --json", style="dim"))
    return Group(*lines)


def _of_the_first(seen: Watched, daemon: str) -> list[LeadFigures]:
    """Return the leads of the path that won most often, its closest rival's first."""
    first = max((path for path in seen.paths if path.daemon == daemon), key=lambda path: path.wins).name
    pairs = [lead for lead in seen.leads if lead.daemon == daemon and first in {lead.path, lead.reference}]
    turned = [lead if lead.path == first else _turned(lead) for lead in pairs]
    return sorted(turned, key=lambda lead: (lead.median_ms is None, lead.median_ms))


def _turned(lead: LeadFigures) -> LeadFigures:
    """Say the same of the other path."""
    return msgspec.structs.replace(
        lead,
        path=lead.reference,
        reference=lead.path,
        wins=lead.reference_wins,
        reference_wins=lead.wins,
        median_ms=None if lead.median_ms is None else -lead.median_ms,
        trend_ms=[None if value is None else -value for value in lead.trend_ms],
    )


def _lead(lead: LeadFigures) -> str:
    if lead.median_ms is None:
        count = f"{lead.events} events by both, too few for a median" if lead.events else "no event by both lately"
        return f"{lead.path} and {lead.reference}: {count}"
    word = "leads" if lead.median_ms >= 0 else "trails"
    share = _share(lead.wins, lead.events)
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


def _host_of(clock: ClockFigures, seen: Watched) -> str:
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
