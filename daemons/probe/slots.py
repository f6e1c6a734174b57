"""What became of a lane's slots."""

__all__ = ["Slots"]


class Slots:
    """The accounts of one lane: ``expected == sent + missed`` and ``sent == ended`` + those under way, always."""

    __slots__ = ("ended", "expected", "missed", "sent")

    def __init__(self) -> None:
        self.expected = 0
        self.missed = 0
        self.sent = 0
        self.ended = 0
