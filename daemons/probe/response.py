"""What came back so far, whatever the HTTP version."""

from daemons.probe.attempt import AttemptError, Reason

__all__ = ["Response"]


class Response:
    """A response while it comes in.

    Attributes:
        started: whether its first byte has come.
        status: its code; None before the head is complete.
        location: its ``location`` header, or nothing.
        body: what has come of it.
        complete: whether all has come.
    """

    __slots__ = ("body", "complete", "location", "started", "status")

    def __init__(self) -> None:
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
