"""The forwarder's configuration."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from daemons.configuration.defaults import FORWARDER_METRICS
from daemons.configuration.hardware_stamps import HardwareStampsSection, check_hardware_stamps
from daemons.configuration.local_end import local_end
from daemons.errors import ConfigError
from daemons.feed.settings import FeedFields
from daemons.link.sending.buffer import BufferLimits
from daemons.link.sending.settings import DestinationSection, LinkSettings
from daemons.sections import Count, Section
from daemons.service.settings.config import LogSection, MetricsSection, address, load, secret

__all__ = [
    "ForwarderConfig",
    "link_settings",
    "links_of",
    "load_forwarder",
]


class ForwarderConfig(Section, frozen=True):
    """The beginning of the file.

    Attributes:
        busy_poll: never sleep between events: takes a whole core, and the wake-up out of each event's hop.
        drain_seconds: how long a stop, or a destination taken away, waits until what is buffered has been delivered.
        buffer_total_bytes: memory for the buffers of all destinations together.
    """

    feed: FeedFields = FeedFields()
    destination: tuple[DestinationSection, ...] = ()
    metrics: MetricsSection = MetricsSection(listen=FORWARDER_METRICS)
    log: LogSection = LogSection()
    busy_poll: bool = False
    hardware_stamps: HardwareStampsSection = HardwareStampsSection()
    drain_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 2.0
    buffer_total_bytes: Count = 128 << 20


def load_forwarder(
    file: Path | None, overrides: dict[str, Any], destinations: tuple[str, ...], links: dict[str, Any]
) -> ForwarderConfig:
    """Load the configuration.

    Args:
        file: TOML file, or None.
        overrides: flags, shaped like the file.
        destinations: addresses given as flags; they replace the file's.
        links: flags that hold for every destination.

    Raises:
        ConfigError: anything is wrong with it.
    """
    given = {key: value for key, value in links.items() if value is not None}
    if destinations:
        overrides = {**overrides, "destination": [{"address": text, **given} for text in destinations]}
    config = load(ForwarderConfig, file, overrides)
    if given and not destinations:
        sections = [{**_plain(section), **given} for section in config.destination]
        config = load(ForwarderConfig, file, {**overrides, "destination": sections})
    check_hardware_stamps(config.hardware_stamps)
    if not config.destination:
        raise ConfigError("destination", "none is given", "name a receiver: --destination HOST:PORT")
    addresses = [section.address for section in config.destination]
    for text in addresses:
        if addresses.count(text) > 1:
            raise ConfigError(
                "destination", f"{text} is given twice", "send to each receiver once, or to another port of it"
            )
    for section in config.destination:
        if config.feed.encoding == "sbe" and section.format == "json":
            raise ConfigError(
                f"destination {section.address}.format",
                "json cannot carry SBE, which is binary",
                'use format = "binary"',
            )
    return config


def links_of(config: ForwarderConfig) -> dict[str, LinkSettings]:
    """Turn all destinations into settings, by address; each has its part of the memory that all have together.

    Raises:
        ConfigError: an address, a limit or a key file is unusable.
    """
    part = max(1, config.buffer_total_bytes // max(1, len(config.destination)))
    links = {}
    for section in config.destination:
        settings = link_settings(section)
        limits = replace(settings.limits, size=min(settings.limits.size, part))
        links[section.address] = replace(settings, limits=limits)
    return links


def _plain(section: DestinationSection) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.__struct_fields__}


def link_settings(section: DestinationSection) -> LinkSettings:
    """Check a destination section and turn it into settings.

    Raises:
        ConfigError: the address, a limit or the key file is unusable.
    """
    where = f"destination {section.address}"
    host, port = address(f"{where}.address", section.address)
    if section.format == "json" and section.key_file:
        raise ConfigError(f"{where}.key_file", "the JSON format cannot be signed", "use the binary format or no key")
    return LinkSettings(
        section=section,
        host=host,
        port=port,
        local=local_end(where, section.source_address, section.interface, section.dscp),
        key=secret(f"{where}.key_file", section.key_file) if section.key_file else None,
        limits=BufferLimits(section.buffer_events, section.buffer_bytes, int(section.buffer_seconds * 1e9)),
    )
