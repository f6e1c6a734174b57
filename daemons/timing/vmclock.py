"""The host's word that a virtual machine's clock was disrupted, such as by a live migration: the VMClock device.

What the machine had learnt of its clock's rate and offset is then of another counter. The layout is that of ``struct
vmclock_abi`` in the kernel's include/uapi/linux/vmclock-abi.h. The counts of two readings around it tell whether the
host wrote while it was read; Linux does the same in its own ``read``, other sources of the page need not.
"""

import os
from collections.abc import Callable
from struct import Struct
from typing import Final

__all__ = ["DEVICE", "VmClock", "read_device"]

DEVICE: Final = "/dev/vmclock0"

_PAGE: Final = Struct("<IIH2xIQQ2xB")
"""Magic, size, version, sequence count, disruption marker, flags, status; little-endian whatever the machine."""
_COUNT_AT: Final = 12
_MAGIC: Final = 0x4B4C4356
_VERSION: Final = 1
_WRITING: Final = 1
_ATTEMPTS: Final = 8
"""The host writes for less than a microsecond: who meets it so often in a row meets something else."""


def read_device(path: str = DEVICE) -> bytes:
    """Read as much of the page as is needed here.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.pread(descriptor, _PAGE.size, 0)
    finally:
        os.close(descriptor)


class VmClock:
    """Looks for disruptions.

    Args:
        read: gives the page as it is now, or raises OSError.

    Attributes:
        present: whether the machine has the device, and it can be understood.
        trouble: why not, where it has one that cannot; with the remedy. Empty where all is well, or there is none.
        disruptions: how often the marker was another one than before.
    """

    def __init__(self, read: Callable[[], bytes] = read_device) -> None:
        self._read = read
        self._marker: int | None = None
        self.present = False
        self.trouble = ""
        self.disruptions = 0

    def look(self) -> bool:
        """Return whether the clock was disrupted since the last look that saw the page; a few microseconds."""
        self.present, self.trouble = False, ""
        marker = None
        try:
            marker = self._stable_marker()
        except FileNotFoundError:
            # Most machines have none.
            pass
        except PermissionError:
            self.trouble = f"{DEVICE} may not be read; give the unit its drop-in vmclock.conf, and restart it"
        except OSError as error:
            self.trouble = f"{DEVICE} cannot be read: {error.strerror}"
        except ValueError as error:
            self.trouble = f"{DEVICE} is not understood: {error}"
        if marker is None:
            return False
        self.present = True
        # One that was away and is back may belong to another host.
        before, self._marker = self._marker, marker
        disrupted = before is not None and before != marker
        self.disruptions += disrupted
        return disrupted

    def _stable_marker(self) -> int:
        for _attempt in range(_ATTEMPTS):
            page = self._read()
            if len(page) < _PAGE.size:
                raise ValueError(f"{len(page)} bytes are no page of it")
            magic, size, version, count, marker, _flags, _status = _PAGE.unpack_from(page)
            if magic != _MAGIC or version != _VERSION or size < _PAGE.size:
                raise ValueError(f"it begins with {page[:12].hex()}; a later version of this program may know it")
            if not count & _WRITING and self._read()[_COUNT_AT : _COUNT_AT + 4] == page[_COUNT_AT : _COUNT_AT + 4]:
                return int(marker)
        raise ValueError("it is being written all the time")
