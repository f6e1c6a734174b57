"""A message on its way to clients, as WebSocket frames that all of them share."""

from websockets.frames import Frame, Opcode

from daemons.simulator.market import Message

__all__ = ["Emission"]


class Emission:
    """A message at its moment of emission, as frames: made once for each way in which clients want it.

    Args:
        message: what is emitted.
        emitted_ns: the wall clock's time of emission.
        culled: one that has not been written when the next of its stream comes is left out.
    """

    __slots__ = ("_frames", "culled", "emitted_ns", "message", "stream")

    def __init__(self, message: Message, emitted_ns: int, *, culled: bool = False) -> None:
        self.culled = culled
        self.stream = message.stream
        self.emitted_ns = emitted_ns
        self.message = message
        self._frames: dict[tuple[int, bool], bytes] = {}

    def frame(self, unit_ns: int, combined: bool) -> bytes:
        """Return the WebSocket frame for clients with this time unit and this kind of stream."""
        frame = self._frames.get((unit_ns, combined))
        if frame is None:
            data = self.message.render(self.emitted_ns, unit_ns, combined=combined)
            opcode = Opcode.BINARY if self.message.binary else Opcode.TEXT
            frame = self._frames[unit_ns, combined] = Frame(opcode, data).serialize(mask=False)
        return frame
