"""Hardware stamps as both daemons that take them begin with them, and show them."""

from collections.abc import Callable, Iterator

import structlog
from prometheus_client.metrics_core import Metric

from daemons.errors import ClockError
from daemons.service.metrics.families import counter, each, gauge
from daemons.stream.hardware import HardwareStamps
from daemons.stream.interface_clock import InterfaceClock
from daemons.stream.stamping import Stamper

__all__ = ["asked_for", "hardware_families"]


async def asked_for(
    use: str,
    interface: str | None,
    stamper: Stamper,
    log: structlog.stdlib.BoundLogger,
    *,
    make: Callable[[str], InterfaceClock] = InterfaceClock,
) -> HardwareStamps | None:
    """Let the sockets made from now on be stamped by an interface; or not, and say why.

    Args:
        use: ``off``, ``if available`` or ``required``.
        interface: its name.
        stamper: makes the stamps.
        log: is told what became of it.
        make: switches the interface's clock on.

    Raises:
        ClockError: they are required and cannot be had; with the remedy.
    """
    if use == "off" or interface is None:
        return None
    try:
        hardware, device = await _begun(interface, stamper, make)
    except ClockError as error:
        if use == "required":
            raise
        log.warning("no hardware stamps: those of the kernel are taken", why=str(error))
        return None
    hardware.attach(stamper)
    log.info("stamps are the interface's", interface=interface, clock=device, error_ns=hardware.relation.error_ns)
    return hardware


async def _begun(interface: str, stamper: Stamper, make: Callable[[str], InterfaceClock]) -> tuple[HardwareStamps, str]:
    clock = make(interface)
    hardware = HardwareStamps(interface, clock.read, stamper.clock)
    if await hardware.prepare():
        return hardware, clock.device
    clock.close()
    raise ClockError(
        f"hardware stamps of interface {interface}: its clock {clock.device} does not keep still against the system's, "
        f"or cannot be read ({hardware.relation.steps} steps, {hardware.unread} times unread); see what sets it "
        "(phc2sys, ptp4l), and wait until it has settled"
    )


def hardware_families(prefix: str, hardware: HardwareStamps | None) -> Iterator[Metric]:
    """Yield the families of an interface's stamps; of none but whether they are used where they are not.

    Args:
        prefix: ``latency_<daemon>``.
        hardware: the interface's, if they are used.
    """
    used = [] if hardware is None else [hardware]
    yield gauge(
        f"{prefix}_hardware_stamps_used", "1 while arrivals are stamped by the interface.", [], [([], len(used))]
    )
    yield counter(
        f"{prefix}_hardware_stamps_refused",
        "Reads without a stamp of the interface (missing), or with one that cannot be true (impossible): not measured.",
        ["reason"],
        (row for one in used for row in each({"missing": one.missing, "impossible": one.refused})),
    )
    yield gauge(
        f"{prefix}_hardware_clock_error_seconds",
        "By how much the interface's time, told in the system's, can be wrong; absent while it cannot be told.",
        [],
        (([], one.relation.error_ns / 1e9) for one in used if one.relation.usable),
    )
    yield counter(
        f"{prefix}_hardware_clock_steps",
        "Times that the interface's clock and the system's parted at once.",
        [],
        (([], one.relation.steps) for one in used),
    )
    yield counter(
        f"{prefix}_hardware_clock_read_failures",
        "Times that the interface's clock could not be read.",
        [],
        (([], one.unread) for one in used),
    )
