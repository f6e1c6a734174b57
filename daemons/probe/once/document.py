"""The JSON of ``latency-probe --once --json``: what its parts hold, for the checker and for the published schema."""

from typing import NotRequired, TypedDict

__all__ = ["FORMAT", "Connection", "Document", "Egress", "Overlay", "Route", "Summary", "TargetFigures", "Vantage"]

FORMAT = "backbone-latency-probe/1"


class Summary(TypedDict):
    """Statistics of durations; null for what the sample cannot tell.

    Attributes:
        sample_count: how many durations there are.
        avg_ms: their mean.
        median_ms: the value at the middle rank.
        p95_ms: a percentile; null when the sample is too small for one.
        p99_ms: a percentile; null when the sample is too small for one.
        p999_ms: a percentile; null when the sample is too small for one.
        min_ms: the shortest.
        max_ms: the longest.
        stddev_ms: the sample's standard deviation.
    """

    sample_count: int
    avg_ms: float | None
    median_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    min_ms: float | None
    max_ms: float | None
    stddev_ms: float | None


class Connection(TypedDict):
    """The figures of one kind of connection.

    Attributes:
        attempts: how many ended.
        failures: how many of them failed, by reason.
        total: from the actual start of a success to its last byte.
        scheduled_total: likewise from the intended start.
        phases: durations of the phases of successes; phases that never were are absent.
        interim_responses: how many came; absent without any.
        interim: from requests to the first of them; absent without any.
    """

    attempts: int
    failures: dict[str, int]
    total: Summary
    scheduled_total: Summary
    phases: dict[str, Summary]
    interim_responses: NotRequired[int]
    interim: NotRequired[Summary]


class Slots(TypedDict):
    """Moments on the grid of a kind of connection; ``sent`` and ``missed`` are all that were ``expected``.

    Attributes:
        expected: how many came.
        sent: how many had an attempt.
        missed: how many had none, because the one before was not over.
        broken_off: attempts that the measurement's end cut short; all others succeeded or failed.
    """

    expected: int
    sent: int
    missed: int
    broken_off: int


class TargetFigures(TypedDict):
    """The figures of one target.

    Attributes:
        url: what was asked.
        proxy: ``HOST:PORT`` that it was asked through; null without one.
        address: of the server that answered last; null when none did. So are the next ones.
        source: this host's address on that connection.
        http_version: of that answer.
        tls_version: of that connection.
        cipher: of that connection.
        certificate_expiry: in UTC (RFC 3339); null when no certificate was seen.
        remade: requests that made a connection again for those that follow; in no figure.
        reconnects: how often a kept connection was lost.
        reconnect_reasons: the same by reason.
        slots: by kind of connection.
        failure_details: the reasons of failures, each with the first sentence about it.
        connections: figures by kind of connection.
    """

    url: str
    proxy: str | None
    address: str | None
    source: str | None
    http_version: str | None
    tls_version: str | None
    cipher: str | None
    certificate_expiry: str | None
    remade: int
    reconnects: int
    reconnect_reasons: dict[str, int]
    slots: dict[str, Slots]
    failure_details: dict[str, str]
    connections: dict[str, Connection]


class Egress(TypedDict):
    """Who we are to a server on the internet.

    Attributes:
        url: what was asked.
        proxy: ``HOST:PORT`` that it was asked through; null without one.
        address: ours; null without an answer. So are the next ones.
        city: as the endpoint places it.
        country: as the endpoint places it.
        matches: whether it is the identity expected; null when that is not known.
        mismatches: in what it is not.
        failure_details: the reasons of failures, each with the first sentence about it.
    """

    url: str
    proxy: str | None
    address: str | None
    city: str | None
    country: str | None
    matches: bool | None
    mismatches: list[str]
    failure_details: dict[str, str]


class Hop(TypedDict):
    """One router of a route.

    Attributes:
        number: from 1.
        address: null when it does not answer. So are the times.
        loss_ratio: 0 to 1.
        avg_ms: mean round trip.
        max_ms: longest round trip.
    """

    number: int
    address: str | None
    loss_ratio: float
    avg_ms: float | None
    max_ms: float | None


class Route(TypedDict):
    """A route, traced once.

    Attributes:
        target: where it leads.
        hops: the routers, nearest first.
        failure_details: why there is none, by reason.
    """

    target: str
    hops: list[Hop]
    failure_details: dict[str, str]


class Overlay(TypedDict):
    """Round trips to the other end of a tunnel.

    Attributes:
        peer: its address.
        sent: echo requests.
        received: answers in time.
        lost: requests without one.
        late: answers after that.
        duplicates: second answers.
        send_errors: requests that could not be sent.
        rtt: of the answers in time.
        failure_details: why requests could not be sent, by reason.
    """

    peer: str
    sent: int
    received: int
    lost: int
    late: int
    duplicates: int
    send_errors: int
    rtt: Summary
    failure_details: dict[str, str]


class Vantage(TypedDict):
    """Where a host stands; each part is there when it is configured.

    Attributes:
        egress: who we are on the internet.
        route: to where one is configured.
        overlay: round trips through the tunnel.
    """

    egress: NotRequired[Egress]
    route: NotRequired[Route]
    overlay: NotRequired[Overlay]


class Document(Vantage):
    """All of a measurement.

    Attributes:
        format: this one's name and version.
        start: RFC 3339.
        end: RFC 3339.
        host: this host's name.
        versions: of the software.
        targets: figures by the target's name.
    """

    format: str
    start: str
    end: str
    host: str
    versions: dict[str, str]
    targets: dict[str, TargetFigures]
