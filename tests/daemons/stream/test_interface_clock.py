"""An interface's clock, against a driver of our own that knows the kernel's structures by their declarations."""

import ctypes
import errno
import os
from collections.abc import Callable

import pytest

from daemons.errors import ClockError
from daemons.stream.interface_clock import InterfaceClock


class HwtstampConfig(ctypes.Structure):
    """As include/uapi/linux/net_tstamp.h declares it."""

    _fields_ = (("flags", ctypes.c_int), ("tx_type", ctypes.c_int), ("rx_filter", ctypes.c_int))


class TsInfo(ctypes.Structure):
    """``struct ethtool_ts_info`` (include/uapi/linux/ethtool.h)."""

    _fields_ = (
        ("cmd", ctypes.c_uint32),
        ("so_timestamping", ctypes.c_uint32),
        ("phc_index", ctypes.c_int32),
        ("tx_types", ctypes.c_uint32),
        ("tx_reserved", ctypes.c_uint32 * 3),
        ("rx_filters", ctypes.c_uint32),
        ("rx_reserved", ctypes.c_uint32 * 3),
    )


class Ifreq(ctypes.Structure):
    """``struct ifreq`` with its pointer (netdevice(7))."""

    _fields_ = (("name", ctypes.c_char * 16), ("data", ctypes.c_void_p), ("rest", ctypes.c_char * 16))


class ClockTime(ctypes.Structure):
    """``struct ptp_clock_time`` (include/uapi/linux/ptp_clock.h)."""

    _fields_ = (("sec", ctypes.c_int64), ("nsec", ctypes.c_uint32), ("reserved", ctypes.c_uint32))


class SysOffset(ctypes.Structure):
    """``struct ptp_sys_offset``."""

    _fields_ = (("n_samples", ctypes.c_uint), ("rsv", ctypes.c_uint * 3), ("ts", ClockTime * 51))


class SysOffsetExtended(ctypes.Structure):
    """``struct ptp_sys_offset_extended``."""

    _fields_ = (("n_samples", ctypes.c_uint), ("rsv", ctypes.c_uint * 3), ("ts", ClockTime * 3 * 25))


def requests() -> dict[str, int]:
    """Make the numbers of the requests as the kernel's _IOW and _IOWR do (include/uapi/asm-generic/ioctl.h)."""

    def number(direction: int, size: int, of: int) -> int:
        return direction << 30 | size << 16 | ord("=") << 8 | of

    return {
        "sys_offset": number(1, ctypes.sizeof(SysOffset), 5),
        "sys_offset_extended": number(3, ctypes.sizeof(SysOffsetExtended), 9),
    }


class Driver:
    """Answers as a driver does.

    Attributes:
        rx_filter: what it stamps.
        makes_of_all: the filter that it makes of the wish for all packets; an errno where it refuses.
        may_set: whether we may.
        phc_index: number of its clock.
        extended: whether it knows the newer request.
    """

    def __init__(self, *, rx_filter: int = 0, makes_of_all: int = 1, phc_index: int = 3, extended: bool = True) -> None:
        self.rx_filter, self.tx_type = rx_filter, 1
        self.makes_of_all = makes_of_all
        self.error: int | None = None
        self.get_error: int | None = None
        self.phc_index = phc_index
        self.extended = extended
        self.opened: list[str] = []
        self.asked: list[str] = []
        self.now_ns = 1_700_000_000_999_999_000

    def ioctl(self, _descriptor: int, request: int, data: bytearray) -> None:
        known = requests()
        if request in known.values():
            self._offset(next(name for name, number in known.items() if number == request), data)
            return
        assert len(data) == ctypes.sizeof(Ifreq)
        asked = Ifreq.from_buffer(data)
        assert asked.name == b"ens5"
        if request == 0x8946:
            info = TsInfo.from_address(asked.data)
            assert info.cmd == 0x41
            info.phc_index, info.so_timestamping = self.phc_index, 0x4
            return
        config = HwtstampConfig.from_address(asked.data)
        if request == 0x89B1:
            self._raise(self.get_error)
            config.flags, config.tx_type, config.rx_filter = 0, self.tx_type, self.rx_filter
        elif request == 0x89B0:
            self._raise(self.error)
            assert config.tx_type == self.tx_type, "what is sent is stamped as it was"
            self.rx_filter = config.rx_filter = self.makes_of_all if config.rx_filter == 1 else config.rx_filter
        else:
            raise AssertionError(hex(request))

    def open(self, path: str) -> int:
        self.opened.append(path)
        return os.open(os.devnull, os.O_RDONLY)

    def clock(self) -> InterfaceClock:
        return InterfaceClock("ens5", ioctl=self.ioctl, open_device=self.open)

    def _raise(self, number: int | None) -> None:
        if number is not None:
            raise OSError(number, os.strerror(number))

    def _tick(self) -> ClockTime:
        self.now_ns += 700
        return ClockTime(self.now_ns // 10**9, self.now_ns % 10**9, 0)

    def _offset(self, name: str, data: bytearray) -> None:
        self.asked.append(name)
        if name == "sys_offset_extended":
            if not self.extended:
                self._raise(errno.EOPNOTSUPP)
            extended = SysOffsetExtended.from_buffer(data)
            for index in range(extended.n_samples):
                for part in range(3):
                    extended.ts[index][part] = self._tick()
            return
        plain = SysOffset.from_buffer(data)
        for index in range(2 * plain.n_samples + 1):
            plain.ts[index] = self._tick()


@pytest.mark.parametrize("already", [0, 1, 12])
def test_all_that_comes_is_stamped_and_what_is_sent_is_left_alone(already: int) -> None:
    driver = Driver(rx_filter=already)
    clock = driver.clock()
    assert (driver.rx_filter, driver.tx_type) == (1, 1)
    assert driver.opened == ["/dev/ptp3"] == [clock.device]
    clock.close()


def test_who_may_not_switch_it_on_is_content_if_it_is_on() -> None:
    driver = Driver(rx_filter=1)
    driver.error = errno.EPERM
    driver.clock().close()


@pytest.mark.parametrize("extended", [True, False])
def test_readings_are_of_both_clocks_in_their_order(*, extended: bool) -> None:
    driver = Driver(rx_filter=1, extended=extended)
    clock = driver.clock()
    for _time in range(3):
        begun_ns = driver.now_ns
        readings = clock.read()
        flat = [time for reading in readings for time in reading]
        assert len(readings) == 3
        if extended:
            assert flat == [begun_ns + 700 * (index + 1) for index in range(9)]
        else:
            assert flat == [begun_ns + 700 * index for index in (1, 2, 3, 3, 4, 5, 5, 6, 7)]
    # The newer request is tried once where there is none.
    assert driver.asked == (["sys_offset_extended"] * 3 if extended else ["sys_offset_extended", *["sys_offset"] * 3])
    clock.close()


def test_a_busy_device_is_no_reason_to_ask_otherwise() -> None:
    driver = Driver(rx_filter=1)
    clock = driver.clock()
    original = driver.ioctl

    def busy(_descriptor: int, _request: int, _data: bytearray) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    clock._ioctl = busy
    with pytest.raises(OSError, match="busy"):
        clock.read()
    clock._ioctl = original
    assert len(clock.read()) == 3
    assert driver.asked == ["sys_offset_extended"]
    clock.close()


def _with(**changes: int | None) -> Callable[[], Driver]:
    def made() -> Driver:
        driver = Driver()
        for name, value in changes.items():
            setattr(driver, name, value)
        return driver

    return made


@pytest.mark.parametrize(
    ("make", "why", "remedy"),
    [
        (_with(error=errno.EPERM), "only root may switch its stamps on", "hwstamp_ctl -i ens5 -r 1"),
        (_with(error=errno.ERANGE), "cannot stamp all packets", "ethtool -T"),
        (_with(error=errno.EOPNOTSUPP), "cannot stamp packets", "ethtool -T"),
        (_with(get_error=errno.ENODEV), "no such interface", "ip link"),
        (_with(get_error=errno.EIO), "Input/output error", "ethtool -T"),
        # A driver that stamps the packets of PTP alone when it is asked for all.
        (_with(makes_of_all=12), "made filter 12 of it", "stamps all packets"),
        (_with(phc_index=-1), "no clock that can be read", "ethtool -T"),
    ],
)
def test_what_cannot_be_had_is_refused_with_cause_and_remedy(make: Callable[[], Driver], why: str, remedy: str) -> None:
    driver = make()
    with pytest.raises(ClockError) as caught:
        driver.clock()
    assert why in str(caught.value)
    assert remedy in str(caught.value)
    assert "ens5" in str(caught.value)
    assert driver.opened == []


def test_a_clock_that_may_not_be_opened_is_named() -> None:
    driver = Driver(rx_filter=1)

    def forbidden(path: str) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with pytest.raises(
        ClockError, match="/dev/ptp3 cannot be opened: Permission denied; let the daemon read /dev/ptp3"
    ):
        InterfaceClock("ens5", ioctl=driver.ioctl, open_device=forbidden)


@pytest.mark.parametrize(("interface", "why"), [("lo", "cannot stamp packets"), ("none-such", "no such interface")])
def test_the_kernel_itself_answers_so(interface: str, why: str) -> None:
    with pytest.raises(ClockError, match=why):
        InterfaceClock(interface)
