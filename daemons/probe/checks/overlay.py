"""Round trips to the other end of a tunnel, through an unprivileged ping socket (icmp(7), ping_group_range)."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

import structlog

from daemons.configuration.probe import OverlaySection
from daemons.probe.checks.echo import EchoAccount, reply_number, request
from daemons.probe.faults import Faults
from daemons.records import StampKind
from daemons.stream.local_end import LocalEnd
from daemons.stream.stamping import ANCILLARY_BYTES, Reader, Stamper, enable

__all__ = ["OverlayPinger"]

MAX_REPLY = 65536
READS_A_TURN = 64
_REMEDY = "put this process's group into net.ipv4.ping_group_range; use an address of this host"


class OverlayPinger:
    """Sends an echo request in every slot of its schedule.

    Args:
        section: to whom, and how.
        stamper: gives the answers their kernel stamps, and has the clock.
        on_round_trip: called with each round trip, in nanoseconds.

    Attributes:
        peer: its address.
        slots: that have come; equals requests sent + missed.
        account: what became of the requests.
        missed: slots without a request: they went by unseen, or no socket could be had.
        send_errors: requests that the kernel refused to send; they are lost.
        complaint: why there is no socket, and what to do about it; empty while there is one.
    """

    def __init__(self, section: OverlaySection, stamper: Stamper, on_round_trip: Callable[[int], None]) -> None:
        self._section = section
        self._stamper = stamper
        self._clock = stamper.clock
        self._on_round_trip = on_round_trip
        self._version = ipaddress.ip_address(section.peer).version
        self._socket: socket.socket | None = None
        self._reader: Reader | None = None
        self._log = structlog.get_logger("overlay")
        self._faults = Faults("overlay")
        self.peer = section.peer
        self.account = EchoAccount(round(section.timeout_seconds * 1e9))
        self.slots = 0
        self.missed = 0
        self.send_errors = 0
        self.complaint = ""

    @property
    def open(self) -> bool:
        """Whether there is a socket to ping from."""
        return self._socket is not None

    def slot(self, _intended_ns: int, missed: int) -> None:
        """Send a request; count as lost what was not answered in time.

        Whatever happens, the slot ends here as a request, which is then received, lost or outstanding, or as missed.
        """
        self.slots += missed + 1
        self.missed += missed
        sent = self.account.sent
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 a slot that is lost is one that nobody misses
            why = self._faults.note(error, self.peer)
            self.complaint = self.complaint or ("" if self.open else f"{self.peer}: {why}")
        self.missed += 1 - (self.account.sent - sent)

    def _send(self) -> None:
        if self._socket is not None:
            # An answer that came in time is none the later for our having been held up.
            self._on_readable()
        self.account.expire(self._clock.monotonic_ns())
        if self._socket is None and not self._opened():
            return
        assert self._socket is not None
        sent_ns = self._clock.monotonic_ns()
        number = self.account.send(sent_ns)
        try:
            self._socket.send(request(self._version, number, self._section.payload_bytes))
        except OSError:
            # No route, a full queue: the request is as lost as one that a router dropped, and expires like it.
            self.send_errors += 1

    async def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _opened(self) -> bool:
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if self._version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        section = self._section
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
            enable(sock)
            LocalEnd(section.source_address, section.interface).bind(sock)
            sock.connect((section.peer, 0))
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            if not self.complaint:
                self._log.error("overlay peer cannot be pinged", peer=section.peer, why=error.strerror, remedy=_REMEDY)
            self.complaint = f"{section.peer}: cannot be pinged: {error.strerror}; {_REMEDY}"
            return False
        self.complaint = ""
        self._socket = sock
        self._reader = self._stamper.reader()
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_readable)
        return True

    def _on_readable(self) -> None:
        try:
            self._receive()
        except Exception as error:  # noqa: BLE001 what is not understood is no answer; requests still go out
            self._faults.note(error, self.peer)

    def _receive(self) -> None:
        assert self._socket is not None
        assert self._reader is not None
        for _turn in range(READS_A_TURN):
            try:
                message, ancillary, _flags, _source = self._socket.recvmsg(MAX_REPLY, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error for an earlier request, which is lost; the socket itself is fine.
                continue
            stamp = self._reader.stamp(ancillary)
            exact = stamp.kind is StampKind.KERNEL and not stamp.step_ns
            arrival_ns = stamp.steady_ns if exact else self._clock.monotonic_ns()
            number = reply_number(self._version, message)
            if number is None:
                continue
            round_trip_ns = self.account.receive(number, arrival_ns)
            if round_trip_ns is not None:
                self._on_round_trip(round_trip_ns)
