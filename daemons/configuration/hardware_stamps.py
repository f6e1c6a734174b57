"""Whether packets are stamped by their interface, as it is configured."""

from typing import Literal

from daemons.configuration.local_end import local_end
from daemons.errors import ConfigError
from daemons.sections import Section

__all__ = ["HardwareStampsSection", "check_hardware_stamps"]


class HardwareStampsSection(Section, frozen=True):
    """``[hardware_stamps]``: stamps by the interface, with a clock of its own, instead of the kernel's.

    Attributes:
        use: ``required`` refuses to start without them; ``if available`` takes the kernel's then, and says so.
        interface: that all events come through.
    """

    use: Literal["off", "if available", "required"] = "off"
    interface: str | None = None


def check_hardware_stamps(section: HardwareStampsSection) -> None:
    """Check that it is said of which interface.

    Raises:
        ConfigError: it is not, or can be none's name.
    """
    if section.use != "off" and section.interface is None:
        raise ConfigError("hardware_stamps.interface", "is missing", "name the interface that events come through")
    local_end("hardware_stamps", None, section.interface)
