"""The clock of a network interface, which stamps packets as they come off the wire: switching it on, and reading it.

See the kernel's Documentation/networking/timestamping.rst, section 3.1 (SIOCSHWTSTAMP), and include/uapi/linux
(net_tstamp.h, ethtool.h, ptp_clock.h) for the layouts.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from daemons.errors import ClockError
from daemons.timing.relation import Triple

__all__ = ["InterfaceClock", "Ioctl"]

_SIOCETHTOOL, _SIOCSHWTSTAMP, _SIOCGHWTSTAMP = 0x8946, 0x89B0, 0x89B1
_GET_TS_INFO: Final = 0x41
_CONFIG: Final = struct.Struct("=iii")
"""``struct hwtstamp_config``: flags, what to stamp of what is sent, and of what comes."""
_TS_INFO: Final = struct.Struct("=IIiI12xI12x")
"""``struct ethtool_ts_info``: command, capabilities, number of the clock, modes of sending, filters of receiving."""
_REQUEST: Final = struct.Struct("@16sP16x")
"""``struct ifreq`` with a pointer to one of these."""
_ALL: Final = 1
"""HWTSTAMP_FILTER_ALL: with any other, only packets of the time's own protocols are stamped."""

_SYS_OFFSET, _SYS_OFFSET_EXTENDED = 0x43403D05, 0xC4C03D09
_SAMPLES: Final = 3
"""Readings at once: a clock behind PCI Express takes some microseconds for each."""
_TIME: Final = struct.Struct("=qI4x")
"""``struct ptp_clock_time``."""
_HEAD: Final = 16
_LENGTHS: Final = {_SYS_OFFSET: _HEAD + 51 * _TIME.size, _SYS_OFFSET_EXTENDED: _HEAD + 75 * _TIME.size}

Ioctl = Callable[[int, int, bytearray], object]


class InterfaceClock:
    """An interface's clock, switched on.

    Args:
        interface: its name.
        ioctl: the system call.
        open_device: opens a device by its path.

    Raises:
        ClockError: the interface has none, or we may not have it; with the remedy.
    """

    def __init__(
        self,
        interface: str,
        *,
        ioctl: Ioctl = fcntl.ioctl,
        open_device: Callable[[str], int] = lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC),
    ) -> None:
        self._interface = interface
        self._ioctl = ioctl
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            self._switch_on(sock)
            number = self._number(sock)
        self.device = f"/dev/ptp{number}"
        try:
            self._descriptor = open_device(self.device)
        except OSError as error:
            raise self._refused(
                f"its clock {self.device} cannot be opened: {error.strerror}", f"let the daemon read {self.device}"
            ) from error
        self._request = _SYS_OFFSET_EXTENDED

    def close(self) -> None:
        """Let the device go; the interface goes on stamping, for others may rely on it."""
        os.close(self._descriptor)

    def read(self) -> list[Triple]:
        """Read both clocks together, some times.

        Raises:
            OSError: the device is busy, or gone.
        """
        try:
            return self._readings()
        except OSError as error:
            # Drivers without it, and kernels from before 5.0.
            if self._request == _SYS_OFFSET or error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
                raise
            self._request = _SYS_OFFSET
            return self._readings()

    def _readings(self) -> list[Triple]:
        request = self._request
        data = bytearray(_LENGTHS[request])
        struct.pack_into("=I", data, 0, _SAMPLES)
        self._ioctl(self._descriptor, request, data)
        # Of the one each reading has three times; of the other, it shares its ends with its neighbours.
        count, stride = (3 * _SAMPLES, 3) if request == _SYS_OFFSET_EXTENDED else (2 * _SAMPLES + 1, 2)
        times = [
            seconds * 1_000_000_000 + nanoseconds
            for seconds, nanoseconds in (_TIME.unpack_from(data, _HEAD + at * _TIME.size) for at in range(count))
        ]
        return [(times[at], times[at + 1], times[at + 2]) for at in range(0, count - 2, stride)]

    def _switch_on(self, sock: socket.socket) -> None:
        """Have all that comes stamped, and leave what is sent as it is: that may be somebody else's."""
        try:
            flags, sending, receiving = _CONFIG.unpack(self._ask(sock, _SIOCGHWTSTAMP, _CONFIG.pack(0, 0, 0)))
            if receiving != _ALL:
                wanted = _CONFIG.pack(flags, sending, _ALL)
                receiving = _CONFIG.unpack(self._ask(sock, _SIOCSHWTSTAMP, wanted))[2]
        except OSError as error:
            raise self._reason(error) from error
        if receiving != _ALL:
            raise self._refused(
                f"its driver made filter {receiving} of it, which leaves packets of events out",
                "use an interface that stamps all packets (ethtool -T)",
            )

    def _number(self, sock: socket.socket) -> int:
        """Return the number of its clock; drivers are known to leave out of the capabilities what they can."""
        try:
            asked = _TS_INFO.pack(_GET_TS_INFO, 0, -1, 0, 0)
            number = int(_TS_INFO.unpack(self._ask(sock, _SIOCETHTOOL, asked))[2])
        except OSError as error:
            raise self._reason(error) from error
        if number < 0:
            raise self._refused("it has no clock that can be read", "use an interface with one (ethtool -T)")
        return number

    def _ask(self, sock: socket.socket, request: int, content: bytes) -> bytes:
        memory = ctypes.create_string_buffer(content, len(content))
        asked = bytearray(_REQUEST.pack(self._interface.encode(), ctypes.addressof(memory)))
        self._ioctl(sock.fileno(), request, asked)
        return memory.raw

    def _reason(self, error: OSError) -> ClockError:
        why, remedy = {
            errno.ENODEV: ("there is no such interface", "see ip link"),
            errno.EOPNOTSUPP: ("its driver cannot stamp packets", "use an interface that can (ethtool -T)"),
            errno.ERANGE: ("its driver cannot stamp all packets", "use an interface that can (ethtool -T)"),
            errno.EPERM: (
                "only root may switch its stamps on",
                f"let it do so before the daemon starts: hwstamp_ctl -i {self._interface} -r 1",
            ),
        }.get(error.errno or 0, (f"{error.strerror}", "see ethtool -T"))
        return self._refused(why, remedy)

    def _refused(self, why: str, remedy: str) -> ClockError:
        instead = 'or set hardware_stamps.use to "if available" or "off"'
        return ClockError(f"hardware stamps of interface {self._interface}: {why}; {remedy}, {instead}")
