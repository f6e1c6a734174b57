"""What came back so far, whatever the HTTP version."""

from daemons.probe.attempt import AttemptError, Reason

__all__ = ["MAX_HEAD_BYTES", "Response"]

MAX_HEAD_BYTES = 300 * 1024
"""Of a response's head: what curl takes; browsers take about as much."""


class Response:
    """A response while it comes in.

    Attributes:
        interim: how many interim responses have come (RFC 9110, section 15.2).
        started: whether the first byte of what is not known to be an interim response has come.
        status: code of the final response; None before its head is complete.
        location: its ``location`` header, or nothing.
        body: what has come of it.
        complete: whether all has come.
    """

    __slots__ = ("body", "complete", "interim", "location", "started", "status")

    def __init__(self) -> None:
        self.interim = 0
        self.started = False
        self.status: int | None = None
        self.location = ""
        self.body = bytearray()
        self.complete = False

    def take(self, data: bytes, limit: int) -> None:
        """Add a piece of the body.

        Raises:
            AttemptError: it is longer than it may be.
        """
        self.body += data
        if len(self.body) > limit:
            raise AttemptError(
                Reason.TOO_LARGE, f"the body is longer than {limit} bytes; raise max_body_bytes, or ask for less"
            )
