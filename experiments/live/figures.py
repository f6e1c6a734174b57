"""The figures of daemons that run, computed from their metrics. Pure; also the JSON of ``experiment watch``."""

import math
from collections.abc import Iterator, Mapping

import msgspec

from experiments.live.history import History
from experiments.live.scrape import NoPage, ScrapedPage, quantile
from experiments.live.targets import ScrapeTarget

__all__ = [
    "FORMAT",
    "ClockFigures",
    "Daemon",
    "LeadFigures",
    "LinkFigures",
    "Path",
    "RequestFigures",
    "Watched",
    "watched",
]

FORMAT = "backbone-latency-watch/1"


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """One path of a receiver; milliseconds, None where there is no sample, or one too small for a percentile.

    Attributes:
        connected: None when the page does not say.
        lost: events that are missing still.
        delayed: events that had waited for the link.
        silent_seconds: since the last event, by the receiver's own clock.
        trend_ms: medians from reading to reading, of however few, oldest first; None where nothing came.
    """

    daemon: str
    name: str
    connected: bool | None
    events: int
    events_per_second: float | None
    samples: int
    median_ms: float | None
    p99_ms: float | None
    jitter_ms: float | None
    lost: int
    delayed: int
    wins: int
    silent_seconds: float | None
    address: str
    trend_ms: list[float | None]


class LeadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One path against another; a positive lead means that ``path`` was earlier."""

    daemon: str
    path: str
    reference: str
    events: int
    wins: int
    reference_wins: int
    median_ms: float | None
    trend_ms: list[float | None]


class LinkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One link of a forwarder."""

    daemon: str
    destination: str
    connected: bool | None
    events_per_second: float | None
    waiting: int
    dropped: int


class RequestFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a probe, on one kind of connection."""

    daemon: str
    target: str
    connection: str
    requests: int
    median_ms: float | None
    p99_ms: float | None
    trend_ms: list[float | None]


class ClockFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A host's clock by its daemon, or another host's as a link sees it (``peer_of``)."""

    daemon: str
    peer_of: str
    synchronized: bool | None
    offset_ms: float | None
    error_ms: float | None


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon that is watched.

    Attributes:
        state: ``up``, ``slow`` when something listens there and its page does not come in time, or ``gone`` when
            nothing answers.
        trouble: why it does not.
        silent_seconds: since it answered last; None when it never has, or does.
        restarts: seen since it is watched.
        over_seconds: what the counts of its figures cover: the window, or its life so far; None when not known.
        fine: delays and leads are those of the run's result, to 0.05 %, and not of buckets.
        failed_requests: of a probe; None for other daemons.
    """

    role: str
    address: str
    state: str
    trouble: str = ""
    silent_seconds: float | None = None
    restarts: int = 0
    version: str = ""
    over_seconds: float | None = None
    fine: bool = False
    failed_requests: int | None = None


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """All of it at one moment."""

    format: str = FORMAT
    time: str
    daemons: list[Daemon]
    paths: list[Path]
    leads: list[LeadFigures]
    links: list[LinkFigures]
    requests: list[RequestFigures]
    clocks: list[ClockFigures]


def watched(time: str, now: float, histories: Mapping[ScrapeTarget, History]) -> Watched:
    """Compute everything.

    Args:
        time: for the record.
        now: on the monotonic scale of the readings.
        histories: of the daemons; those that do not answer have no figures.
    """
    found = Watched(time=time, daemons=[], paths=[], leads=[], links=[], requests=[], clocks=[])
    for target, history in histories.items():
        if (last := history.latest) is None:
            absence = history.absence or NoPage("not asked yet")
            silent = None if history.answered_at is None else now - history.answered_at
            found.daemons.append(
                Daemon(
                    role=target.role,
                    address=target.address,
                    state=absence.state,
                    trouble=absence.why,
                    silent_seconds=silent,
                    restarts=history.restarts,
                )
            )
            continue
        recent, seconds = history.recent()
        info = next((dict(labels) for labels in last.page.samples.get("latency_build_info", {})), {})
        role = target.role or info.get("daemon", "")
        found.daemons.append(
            Daemon(
                role=role,
                address=target.address,
                state="up",
                restarts=history.restarts,
                version=info.get("version", ""),
                over_seconds=seconds,
                fine="latency_receiver_run_delay_seconds" in recent.samples,
                failed_requests=int(recent.total("latency_probe_failures_total")) if role == "probe" else None,
            )
        )
        steps = history.steps()
        found.paths.extend(_paths(target.address, last.page, recent, seconds, steps, last.wall))
        found.leads.extend(_leads(target.address, recent, steps))
        found.links.extend(_links(target.address, last.page, recent, seconds))
        found.requests.extend(_requests(target.address, recent, steps))
        found.clocks.extend(_clocks(target.address, role, last.page))
    return found


def _paths(
    daemon: str, page: ScrapedPage, recent: ScrapedPage, seconds: float | None, steps: list[ScrapedPage], wall: float
) -> Iterator[Path]:
    names = _values(page, "latency_receiver_sequence_gap_events_total", "path") or _values(
        page, "latency_receiver_events_total", "path"
    )
    for name in names:
        buckets = recent.buckets("latency_receiver_end_to_end_seconds", path=name)
        events = recent.total("latency_receiver_events_total", path=name)
        seen = page.value("latency_last_event_timestamp_seconds", path=name)
        up = page.value("latency_receiver_feed_connected", path=name)
        up = page.value("latency_receiver_link_connected", path=name) if up is None else up
        addresses = sorted(
            {
                dict(labels)["address"]
                for labels in page.samples.get("latency_feed_connection_info", {})
                if dict(labels).get("path") == name
            }
        )
        yield Path(
            daemon=daemon,
            name=name,
            connected=None if up is None else up > 0,
            events=int(events),
            events_per_second=events / seconds if seconds else None,
            samples=int(max(buckets.values(), default=0.0)),
            median_ms=_ms(recent.run_delay(name, 0.5)),
            p99_ms=_ms(recent.run_delay(name, 0.99)),
            jitter_ms=_ms(_largest(page, "latency_receiver_jitter_seconds", path=name)),
            lost=_lost(recent, name),
            delayed=int(recent.total("latency_receiver_delayed_events_total", path=name)),
            wins=int(recent.total("latency_receiver_path_wins_total", path=name)),
            silent_seconds=max(0.0, wall - seen) if seen else None,
            address=", ".join(addresses),
            trend_ms=_trend(steps, "latency_receiver_end_to_end_seconds", path=name),
        )


def _lost(recent: ScrapedPage, path: str) -> int:
    """Count events that are missing still; what came late may have been missed before the window."""
    missing = recent.total("latency_receiver_sequence_gap_events_total", path=path)
    return max(0, int(missing - recent.total("latency_receiver_late_events_total", path=path)))


def _leads(daemon: str, recent: ScrapedPage, steps: list[ScrapedPage]) -> Iterator[LeadFigures]:
    family = "latency_receiver_path_lead_seconds"
    for labels in sorted(recent.samples.get(f"{family}_count", {}), key=sorted):
        pair = {key: value for key, value in labels if key in {"path", "reference"}}
        path, reference = pair["path"], pair["reference"]
        wins = "latency_receiver_path_wins_total"
        yield LeadFigures(
            daemon=daemon,
            path=path,
            reference=reference,
            events=int(recent.total(f"{family}_count", **pair)),
            wins=int(recent.total(wins, path=path, reference=reference)),
            reference_wins=int(recent.total(wins, path=reference, reference=path)),
            median_ms=_ms(recent.run_lead(**pair)),
            trend_ms=_trend(steps, family, **pair),
        )


def _links(daemon: str, page: ScrapedPage, recent: ScrapedPage, seconds: float | None) -> Iterator[LinkFigures]:
    for name in _values(page, "latency_forwarder_link_connected", "link"):
        up = page.value("latency_forwarder_link_connected", link=name)
        events = recent.total("latency_forwarder_events_forwarded_total", link=name)
        yield LinkFigures(
            daemon=daemon,
            destination=name,
            connected=None if up is None else up > 0,
            events_per_second=events / seconds if seconds else None,
            waiting=int(page.total("latency_forwarder_buffer_events", link=name)),
            dropped=int(recent.total("latency_forwarder_events_dropped_total", link=name)),
        )


def _requests(daemon: str, recent: ScrapedPage, steps: list[ScrapedPage]) -> Iterator[RequestFigures]:
    family = "latency_probe_total_seconds"
    for target in _values(recent, f"{family}_count", "target"):
        for connection in ("cold", "warm"):
            labels = {"target": target, "connection": connection}
            if not any(set(labels.items()) <= own for own in recent.samples[f"{family}_count"]):
                continue
            yield RequestFigures(
                daemon=daemon,
                requests=int(recent.total(f"{family}_count", **labels)),
                median_ms=_ms(recent.percentile(family, 0.5, **labels)),
                p99_ms=_ms(recent.percentile(family, 0.99, **labels)),
                trend_ms=_trend(steps, family, **labels),
                **labels,
            )


def _clocks(daemon: str, role: str, page: ScrapedPage) -> Iterator[ClockFigures]:
    synchronized = page.value(f"latency_{role}_clock_synchronized")
    if synchronized is not None:
        yield ClockFigures(
            daemon=daemon,
            peer_of="",
            synchronized=synchronized > 0,
            offset_ms=_ms(page.value(f"latency_{role}_clock_offset_seconds")),
            error_ms=_ms(page.value(f"latency_{role}_clock_error_bound_seconds")),
        )
    for path in _values(page, "latency_receiver_link_clock_offset_seconds", "path"):
        peer = page.value("latency_receiver_peer_clock_synchronized", path=path)
        yield ClockFigures(
            daemon=daemon,
            peer_of=path,
            synchronized=None if peer is None else peer > 0,
            offset_ms=_ms(page.value("latency_receiver_link_clock_offset_seconds", path=path)),
            error_ms=_ms(page.value("latency_receiver_link_clock_offset_error_seconds", path=path)),
        )


def _values(page: ScrapedPage, name: str, label: str) -> list[str]:
    """Name the values of a label, in the page's order."""
    return list(dict.fromkeys(dict(labels)[label] for labels in page.samples.get(name, {}) if label in dict(labels)))


def _largest(page: ScrapedPage, name: str, **labels: str) -> float | None:
    """Give the largest sample: of several streams the one that shakes most."""
    wanted = set(labels.items())
    values = [value for own, value in page.samples.get(name, {}).items() if wanted <= own and not math.isnan(value)]
    return max(values, default=None)


def _trend(steps: list[ScrapedPage], family: str, **labels: str) -> list[float | None]:
    return [_ms(quantile(step.buckets(family, **labels), 0.5)) for step in steps]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 6)
