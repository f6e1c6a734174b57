"""The exception tree.

::

    LatencyError                 anything this project raises on purpose
    ├── ConfigError              a setting is unknown, missing or impossible         exit code 2
    ├── MissingExtraError        a library of an optional extra is not installed     exit code 2
    ├── ClockError               a clock is not fit to measure one-way delay with    exit code 3
    ├── ListenError              an address cannot be listened on                    exit code 4
    ├── ResultsError             results cannot be written                           exit code 5
    ├── StreamError              a socket could not be connected, or broke
    ├── FeedError                the exchange's side of a connection went wrong
    └── LinkError                the forwarder-receiver connection went wrong
        └── WireError            bytes that are not the wire format

Messages are lower case and say three things in this order: the offending value, why it is refused, and what
to do about it. ``reason`` fields are the words of :mod:`daemons.reasons`, fit to be the value of a metric label.
"""

from daemons.reasons import FeedReason, LinkReason, StreamReason

__all__ = [
    "ClockError",
    "ConfigError",
    "FeedError",
    "LatencyError",
    "LinkError",
    "ListenError",
    "MissingExtraError",
    "ResultsError",
    "StreamError",
    "WireError",
    "brief",
]


class LatencyError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what a program ends with when it cannot go on."""

    exit_code: int = 1


class ConfigError(LatencyError):
    """A setting that is unknown, missing, malformed or impossible.

    Args:
        where: the setting, as the user wrote it: ``path[1].listen`` or ``--listen``.
        why: the offending value and what is wrong with it.
        remedy: what to write instead.
    """

    exit_code = 2

    def __init__(self, where: str, why: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {why}" + (f"; {remedy}" if remedy else ""))
        self.where = where
        self.why = why
        self.remedy = remedy


class MissingExtraError(LatencyError):
    """A command needs libraries that only an optional extra installs."""

    exit_code = 2


class ClockError(LatencyError):
    """The host's clock is unsynchronised, or its error bound is too wide for the measurement asked for."""

    exit_code = 3


class ListenError(LatencyError):
    """An address cannot be listened on: in use, not ours, or not permitted."""

    exit_code = 4

    def __init__(self, address: str, why: str, remedy: str) -> None:
        super().__init__(f"{address}: {why}; {remedy}")
        self.address = address


class ResultsError(LatencyError):
    """Result files cannot be created or written."""

    exit_code = 5


class StreamError(LatencyError):
    """A socket could not be connected, or broke: name resolution, TCP, TLS.

    Args:
        reason: the word for the metric label.
        detail: the sentence for the log: offending value, why, remedy; likewise below.
    """

    def __init__(self, reason: StreamReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class FeedError(LatencyError):
    """A feed connection was refused by the exchange, or broke its protocol.

    Args:
        reason: the word for the metric label.
        detail: the sentence for the log.
        status: the HTTP status of an answer that was none of a WebSocket's; None where there was no such answer.
        retry_after_seconds: how long the exchange asked us to stay away; None when it did not.
    """

    def __init__(
        self, reason: FeedReason, detail: str, *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class LinkError(LatencyError):
    """A link connection was refused by the peer, or broke its protocol."""

    def __init__(self, reason: LinkReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class WireError(LinkError):
    """Bytes on a link that are not the wire format; the connection they came on cannot be trusted further."""


_FRAMES = 3


def brief(error: BaseException) -> str:
    """Tell of an exception that nobody foresaw in one short line: its kind, its text, and where it was raised.

    A traceback of what a peer has sent can have a thousand frames, and takes longer to write than the peer to send.
    """
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places = [*places[1 - _FRAMES :], f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"]
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:200]} ({' > '.join(places) or 'nowhere'})"
