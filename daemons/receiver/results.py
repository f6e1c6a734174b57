"""The summary of a run: the original Rust programs' keys for the main path, and everything else beside them.

:mod:`daemons.formats.summary` has the fields and their meanings.
"""

import json
import os
import platform
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from daemons.errors import ResultsError
from daemons.formats.summary import (
    FORMAT,
    BackboneLatencies,
    ClockSummary,
    Distribution,
    Latencies,
    LeadSummary,
    LinkSummary,
    PathSummary,
    RaceSummary,
    RowsSummary,
    RunClock,
    RunSummary,
    TailCause,
)
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures
from daemons.measurement.histogram import QuantileHistogram
from daemons.measurement.percentile import PERCENTILES
from daemons.measurement.race import Pair, RaceTable
from daemons.measurement.tail.tail import Tail
from daemons.records import ClockState
from daemons.service.distribution import DISTRIBUTION, installed_version

__all__ = ["ArrivalFacts", "RunFacts", "clock_summary", "distribution", "summary", "write_json"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's summary says of the run itself.

    Attributes:
        setup_type: ``baseline``, ``aws-backbone`` or ``race``.
        start_ns, end_ns: wall clock.
        complete: it lasted as long as was asked.
        clock: this host's clock at the end.
        clock_at_start: and at the start.
        allowed_unsynchronized: the user let it run without a synchronised clock.
        rows: of the CSV file; None when there is none.
    """

    setup_type: str
    start_ns: int
    end_ns: int
    complete: bool
    clock: ClockState
    clock_at_start: ClockState
    allowed_unsynchronized: bool
    rows: RowsSummary | None


@dataclass(frozen=True, slots=True)
class ArrivalFacts:
    """What a path's feed or listener knows of it, and its account does not.

    Attributes:
        invalid: what was refused before it was accounted for, by reason.
        connections: made so far.
        reconnects: of a feed, by reason.
        dropped_datagrams: of a link, by the kernel; None where there are none.
        refusals: of a link's peers, by reason.
        link: what the clock exchange said, of a link.
    """

    invalid: Mapping[str, int]
    connections: int
    reconnects: Mapping[str, int] = field(default_factory=dict)
    dropped_datagrams: int | None = None
    refusals: Mapping[str, int] = field(default_factory=dict)
    link: LinkSummary | None = None


def summary(
    facts: RunFacts, accounts: Sequence[PathAccount], race: RaceTable | None, arrivals: Mapping[str, ArrivalFacts]
) -> RunSummary:
    """Make the summary of a run.

    Args:
        facts: of the run.
        accounts: of the paths, which kept :class:`Figures`.
        race: the table, if paths raced.
        arrivals: per path, what its feed or listener adds.
    """
    paths = {account.name: _path(account, arrivals[account.name], facts.clock) for account in accounts}
    # The original programs' keys speak of one path: in a race that is the link, which is what the experiment is about.
    main = next((account for account in accounts if account.is_link), accounts[0])
    of_main = paths[main.name]
    backbone = of_main.backbone
    return RunSummary(
        **{name: getattr(of_main, name) for name in Latencies.__struct_fields__},
        setup_type=facts.setup_type,
        backbone_avg_latency_ms=None if backbone is None else backbone.avg_ms,
        backbone_median_latency_ms=None if backbone is None else backbone.median_ms,
        format=FORMAT,
        primary_path=main.name,
        start=_utc(facts.start_ns),
        end=_utc(facts.end_ns),
        duration_seconds=round((facts.end_ns - facts.start_ns) / 1e9, 6),
        complete=facts.complete,
        host=socket.gethostname(),
        versions={DISTRIBUTION: installed_version(), "python": platform.python_version()},
        clock=RunClock(
            **msgspec.structs.asdict(clock_summary(facts.clock)),
            at_start=clock_summary(facts.clock_at_start),
            allowed_unsynchronized=facts.allowed_unsynchronized,
        ),
        csv=facts.rows,
        paths=paths,
        race=[] if race is None else [_pair(pair, accounts) for pair in race.pairs],
    )


def clock_summary(state: ClockState) -> ClockSummary:
    """Return a clock state in the units of result files."""
    return ClockSummary(
        synchronized=state.synchronized,
        offset_ms=state.offset_ns / 1e6,
        error_bound_ms=_ms(state.error_bound_ns),
        source=state.source,
        steps=state.steps,
    )


def distribution(histogram: QuantileHistogram) -> Distribution:
    """Return a distribution of nanoseconds in milliseconds."""
    median, p95, p99, p999 = histogram.quantiles(*PERCENTILES.values())
    return Distribution(
        sample_count=histogram.count,
        avg_ms=_ms(histogram.mean),
        median_ms=_ms(median),
        p95_ms=_ms(p95),
        p99_ms=_ms(p99),
        p999_ms=_ms(p999),
        min_ms=_ms(histogram.minimum),
        max_ms=_ms(histogram.maximum),
        stddev_ms=_ms(histogram.stddev),
    )


def _error_bounds(account: PathAccount, clock: ClockState, peer: ClockSummary | None) -> dict[str, float | None]:
    """Return how far one-way figures may be off because of the clocks that are ours and the steps they are told in."""
    own = _ms(clock.error_bound_ns)
    theirs = None if peer is None else peer.error_bound_ms
    step = max(account.event_time_steps_ns().values(), default=None)
    return {
        "end_to_end": None if own is None or step is None else round(own + step / 1e6, 6),
        "backbone": None if own is None or theirs is None else round(own + theirs + account.forwarder_step_ns / 1e6, 6),
    }


def _path(account: PathAccount, arrival: ArrivalFacts, clock: ClockState) -> PathSummary:
    figures = account.figures
    assert isinstance(figures, Figures)
    latency = distribution(figures.end_to_end)
    peer_clock = None if arrival.link is None else arrival.link.peer_clock
    segments = account.segments if account.is_link else None
    return PathSummary(
        sample_count=latency.sample_count,
        events_lost=account.total("missing") - account.total("given_up"),
        avg_latency_ms=latency.avg_ms,
        median_latency_ms=latency.median_ms,
        p95_latency_ms=latency.p95_ms,
        p99_latency_ms=latency.p99_ms,
        p999_latency_ms=latency.p999_ms,
        min_latency_ms=latency.min_ms,
        max_latency_ms=latency.max_ms,
        jitter_stddev_ms=latency.stddev_ms,
        jitter_rfc3550_ms=_ms(account.jitter_ns(lambda stream: stream.end_to_end_jitter)),
        kind="link" if account.is_link else "feed",
        events=account.events,
        backbone=_backbone(account, figures) if account.is_link else None,
        segments=None if segments is None else {name: distribution(one) for name, one in segments.figures.items()},
        tail=_tail(account.tail),
        **{name: account.total(name) for name in ("gaps", "reordered", "unique", "stale")},
        given_up_by_forwarder=account.total("given_up"),
        duplicates=account.duplicates,
        delayed=account.delayed,
        event_time_steps_ms={name: step / 1e6 for name, step in account.event_time_steps_ns().items()},
        forwarder_time_step_ms=account.forwarder_step_ns / 1e6 if figures.backbone.count else None,
        error_bound_ms=_error_bounds(account, clock, peer_clock),
        without_event_time=sum(stream.without_event_time for stream in account.streams.values()),
        sessions=account.sessions.seen,
        id_resets=account.id_resets,
        id_leaps=account.id_leaps,
        stamps={kind.name.lower(): count for kind, count in account.stamps.items()},
        host_delay_ms=distribution(figures.host_delay),
        streams={stream.name: stream.events for stream in account.streams.values()},
        connections=arrival.connections,
        reconnects=dict(arrival.reconnects),
        dropped_datagrams=arrival.dropped_datagrams,
        refusals=dict(arrival.refusals),
        link=arrival.link,
        invalid={**account.invalid, **arrival.invalid},
    )


def _tail(tail: Tail) -> dict[str, TailCause]:
    return {
        cause.value: TailCause(
            events=count,
            mean_excess_ms=round(tail.excess_ns[cause] / count / 1e6, 6),
            worst_excess_ms=round(tail.worst_ns[cause] / 1e6, 6),
        )
        for cause, count in tail.events.items()
        if count
    }


def _backbone(account: PathAccount, figures: Figures) -> BackboneLatencies:
    return BackboneLatencies(
        **msgspec.structs.asdict(distribution(figures.backbone)),
        jitter_rfc3550_ms=_ms(account.jitter_ns(lambda stream: stream.backbone_jitter)),
        forwarder_hold=distribution(figures.hold),
        one_way_delay=distribution(figures.one_way),
    )


def _pair(pair: Pair, accounts: Sequence[PathAccount]) -> RaceSummary:
    leads = pair.leads
    assert leads is not None
    p01, p05, median, p95, p99 = leads.quantiles(0.01, 0.05, 0.5, 0.95, 0.99)
    return RaceSummary(
        path=accounts[pair.path].name,
        reference=accounts[pair.reference].name,
        pairs=leads.count,
        wins=pair.wins,
        reference_wins=pair.reference_wins,
        ties=pair.ties,
        excluded=pair.excluded,
        only_path=pair.only_path,
        only_reference=pair.only_reference,
        lead_ms=LeadSummary(
            min=_ms(leads.minimum),
            p01=_ms(p01),
            p05=_ms(p05),
            median=_ms(median),
            p95=_ms(p95),
            p99=_ms(p99),
            max=_ms(leads.maximum),
            mean=_ms(leads.mean),
            stddev=_ms(leads.stddev),
        ),
    )


def write_json(file: Path, value: RunSummary | Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        ResultsError: it cannot be written.
    """
    text = json.dumps(msgspec.to_builtins(value), indent=2, allow_nan=False) + "\n"
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
            os.fchmod(handle.fileno(), 0o644)
        Path(temporary).replace(file)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ResultsError(
            f"{file}: cannot be written: {error.strerror}; make room, or choose another folder"
        ) from error


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else round(value_ns / 1e6, 6)


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
