"""The receiver's configuration: paths, and what to make of them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from daemons.configuration.defaults import RECEIVER_METRICS
from daemons.configuration.hardware_stamps import HardwareStampsSection, check_hardware_stamps
from daemons.errors import ConfigError
from daemons.feed.settings import FeedFields
from daemons.formats.archive.handover import UploadSettings
from daemons.link.receiving.settings import LinkPathSection, ListenerSettings
from daemons.sections import Count, Milliseconds, Seconds, Section
from daemons.service.distribution import remedy_for
from daemons.service.extra import missing_of
from daemons.service.settings.config import (
    Address,
    LogSection,
    MetricsSection,
    address,
    is_loopback,
    load,
    networks,
    secret,
)

__all__ = [
    "ArchiveSection",
    "FeedPathSection",
    "Mode",
    "ReceiverConfig",
    "RunSection",
    "listener_of",
    "load_receiver",
    "race_order",
    "upload_of",
]

MINUTES_OF_DAY = 24 * 60
# Names of buckets: Amazon S3, "General purpose bucket naming rules".
_S3_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(?:/[\x21-\x7e]*)?)")
_HTTP_URL = re.compile(r"https?://[^\s/@?#]+/?")

Mode = Literal["baseline", "aws-backbone", "race"]


class FeedPathSection(FeedFields, frozen=True, kw_only=True, tag_field="kind", tag="feed"):
    """``[[path]]`` with ``kind = "feed"``: straight from the exchange.

    Attributes:
        name: the path's name, a label of every metric: 1 to 64 printable characters, no quotation marks.
    """

    name: str


class RaceSection(Section, frozen=True):
    """``[race]``: what waits for its other arrivals.

    Attributes:
        max_age_seconds: an event that came by one path alone for so long is counted as unpaired.
        max_entries: events that may wait at a time.
    """

    max_age_seconds: Seconds = 10.0
    max_entries: Count = 200_000


class RunSection(Section, frozen=True):
    """``[run]``: a run that ends, and its files.

    Attributes:
        duration_seconds: end after so long; without it the daemon runs until it is stopped.
        output: the JSON file for the summary.
        csv_output: the CSV file with a row for each event.
    """

    duration_seconds: Seconds | None = None
    output: str | None = None
    csv_output: str | None = None


class ArchiveSection(Section, frozen=True):
    """``[archive]``: every event, for months, in Parquet files (docs/archive.md); needs the extra ``archive``.

    Attributes:
        folder: where they lie.
        segment_minutes: the span of a file; spans divide the day, in UTC.
        retention_days: remove files that are older; None to keep them.
        retention_gigabytes: remove the oldest files beyond so much together; None for no bound.
        upload: where finished files are copied to, as ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``; none is removed from
            the folder before the store has it, proven. Needs the extra ``aws``. None for nowhere.
        upload_endpoint: URL of the store's API; None for AWS.
        upload_region: None for the one that the host or its environment is in.
    """

    folder: str | None = None
    segment_minutes: Count = 15
    retention_days: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    retention_gigabytes: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    upload: str | None = None
    upload_endpoint: str | None = None
    upload_region: str | None = None


class ClockSection(Section, frozen=True):
    """``[clock]``: what a timed run demands of this host's clock.

    Attributes:
        max_error_ms: a clock that may be further off is refused.
        allow_unsynchronized: run all the same; the result says so.
    """

    max_error_ms: Milliseconds = 10.0
    allow_unsynchronized: bool = False


class ReceiverConfig(Section, frozen=True):
    """The beginning of the file.

    Attributes:
        busy_poll: never sleep between events: takes a whole core, and lowers the host delay.
    """

    path: tuple[FeedPathSection | LinkPathSection, ...] = ()
    race: RaceSection = RaceSection()
    run: RunSection = RunSection()
    archive: ArchiveSection = ArchiveSection()
    clock: ClockSection = ClockSection()
    metrics: MetricsSection = MetricsSection(listen=RECEIVER_METRICS)
    log: LogSection = LogSection()
    busy_poll: bool = False
    hardware_stamps: HardwareStampsSection = HardwareStampsSection()

    @property
    def setup_type(self) -> Mode:
        """The original Rust programs' word for what the paths amount to."""
        if len(self.path) > 1:
            return "race"
        return "baseline" if isinstance(self.path[0], FeedPathSection) else "aws-backbone"


def load_receiver(
    file: Path | None, overrides: dict[str, Any], mode: Mode | None, feed: dict[str, Any], link: dict[str, Any]
) -> ReceiverConfig:
    """Load the configuration.

    Args:
        file: TOML file, or None.
        overrides: flags, shaped like the file.
        mode: preset of paths; with a file it chooses among the file's paths.
        feed: flags for feed paths.
        link: flags for link paths.

    Raises:
        ConfigError: anything is wrong with it.
    """
    feed = {key: value for key, value in feed.items() if value not in (None, ())}
    link = {key: value for key, value in link.items() if value not in (None, ())}
    config = load(ReceiverConfig, file, overrides)
    paths = [_plain(path) for path in config.path]
    if not paths:
        presets = {"baseline": ["feed"], "aws-backbone": ["link"], "race": ["feed", "link"]}
        if mode is None:
            raise ConfigError("path", "none is given", "write [[path]] sections, or give --mode")
        paths = [{"name": {"feed": "direct", "link": "backbone"}[kind], "kind": kind} for kind in presets[mode]]
    elif mode is not None:
        wanted = {"baseline": ("feed",), "aws-backbone": ("link",), "race": ("feed", "link")}[mode]
        paths = [path for path in paths if path["kind"] in wanted]
        if {path["kind"] for path in paths} != set(wanted):
            raise ConfigError("--mode", f"{mode} needs a path of each kind: {', '.join(wanted)}", "add it to the file")
    for kind, flags in (("feed", feed), ("link", link)):
        if flags and all(path["kind"] != kind for path in paths):
            flag = _FLAGS[next(iter(flags))]
            raise ConfigError(flag, f"there is no {kind} path that it could be for", "leave it out, or change --mode")
    merged = [{**path, **(feed if path["kind"] == "feed" else link)} for path in paths]
    config = load(ReceiverConfig, file, {**overrides, "path": merged})
    _check(config)
    return config


_FLAGS = {
    "url": "--feed-url",
    "streams": "--stream",
    "ca_file": "--ca-file",
    "listen": "--listen",
    "transport": "--transport",
    "format": "--format",
    "key_file": "--key-file",
    "allowed_sources": "--allow",
}


def _plain(path: FeedPathSection | LinkPathSection) -> dict[str, Any]:
    kind = "feed" if isinstance(path, FeedPathSection) else "link"
    fields = {name: getattr(path, name) for name in path.__struct_fields__}
    return {"kind": kind, **{key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}}


def _check(config: ReceiverConfig) -> None:
    names = [path.name for path in config.path]
    for index, name in enumerate(names):
        if not name or len(name) > 64 or not name.isprintable():
            raise ConfigError(f"path[{index}].name", f"{name!r} is no name", "use 1 to 64 printable characters")
        if "'" in name or '"' in name:
            # Grafana writes a variable's value into a query without escaping these, and one such name among the
            # chosen ones breaks the query for all.
            raise ConfigError(
                f"path[{index}].name", f"{name!r}: dashboards cannot ask for a quotation mark", "leave it out"
            )
        if names.count(name) > 1:
            raise ConfigError(f"path[{index}].name", f"{name!r} is used twice", "give every path its own name")
    for index, path in enumerate(config.path):
        if isinstance(path, LinkPathSection):
            _check_open(f"path[{index}]", path)
            _check_shared(f"path[{index}]", path, config.path[:index])
    _check_archive(config.archive)
    check_hardware_stamps(config.hardware_stamps)


def _check_archive(archive: ArchiveSection) -> None:
    """Refuse spans that do not divide the day, and what cannot work for want of a library."""
    if archive.folder is None:
        if archive != ArchiveSection():
            raise ConfigError("archive.folder", "is not given", "say where the files of the archive are to lie")
        return
    if MINUTES_OF_DAY % archive.segment_minutes:
        raise ConfigError(
            "archive.segment_minutes",
            f"{archive.segment_minutes} minutes do not divide a day",
            "choose a divisor of 1440, such as 5, 15 or 60",
        )
    _require("archive", "archive")
    upload_of(archive)


def upload_of(archive: ArchiveSection) -> UploadSettings | None:
    """Check where files are copied to; None for nowhere.

    Raises:
        ConfigError: it is no place, or cannot be reached for want of a library.
    """
    if archive.upload is None:
        if archive.upload_endpoint is not None or archive.upload_region is not None:
            raise ConfigError("archive.upload", "is not given", "write s3://BUCKET, or remove what belongs to it")
        return None
    found = _S3_URL.fullmatch(archive.upload)
    if found is None:
        raise ConfigError(
            "archive.upload", f"{archive.upload!r} is no bucket", "write s3://BUCKET or s3://BUCKET/PREFIX"
        )
    if archive.upload_endpoint is not None and not _HTTP_URL.fullmatch(archive.upload_endpoint):
        raise ConfigError(
            "archive.upload_endpoint",
            f"{archive.upload_endpoint!r} is no URL",
            "write http://HOST:PORT or https://HOST",
        )
    _require("aws", "archive.upload")
    prefix = found["prefix"].strip("/")
    return UploadSettings(
        bucket=found["bucket"],
        prefix=f"{prefix}/" if prefix else "",
        endpoint=archive.upload_endpoint,
        region=archive.upload_region,
    )


def _require(extra: str, where: str) -> None:
    """Refuse a setting that needs a library which is not there."""
    if missing := missing_of(extra):
        raise ConfigError(where, f"{', '.join(missing)} not installed", remedy_for(extra))


def _check_open(where: str, path: LinkPathSection) -> None:
    """Refuse a port that anybody on a network could add samples at."""
    host, _port = address(f"{where}.listen", path.listen)
    if path.key_file or path.allowed_sources or is_loopback(host):
        return
    raise ConfigError(
        f"{where}.listen",
        f"{path.listen} would take events from anybody",
        "give both ends a key (key_file, --key-file), or name the networks that forwarders come from "
        "(allowed_sources, --allow 10.0.0.0/16), or listen on 127.0.0.1",
    )


def _check_shared(where: str, path: LinkPathSection, earlier: Sequence[FeedPathSection | LinkPathSection]) -> None:
    """Refuse a port that paths share of which something could not be told whose it is."""
    for other in earlier:
        if not isinstance(other, LinkPathSection) or other.listen != path.listen or path.listen.endswith(":0"):
            continue
        if other.transport != path.transport:
            raise ConfigError(
                f"{where}.transport",
                f"{path.transport} where {other.name!r} has {other.transport} on the same port",
                "give paths that share a port one transport; udp takes TCP as well",
            )
        if "binary" not in (other.format, path.format):
            raise ConfigError(
                f"{where}.format",
                f"{path.format!r} on the port of {other.name!r}, which takes JSON too, and JSON names no path",
                'use format = "binary" for all but one of the paths that share a port',
            )


def listener_of(index: int, path: LinkPathSection) -> tuple[Address, ListenerSettings]:
    """Check a link path and turn it into an address and settings.

    Raises:
        ConfigError: the address, a network or the key file is unusable.
    """
    where = f"path[{index}]"
    if path.key_file and path.format == "json":
        raise ConfigError(f"{where}.key_file", "the JSON format cannot be signed", "use the binary format or no key")
    settings = ListenerSettings(
        section=path,
        keys=tuple(secret(f"{where}.key_file", file) for file in _files(path.key_file)),
        allowed=networks(f"{where}.allowed_sources", path.allowed_sources),
    )
    return address(f"{where}.listen", path.listen), settings


def _files(named: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (named,) if isinstance(named, str) else named or ()


def race_order(config: ReceiverConfig) -> list[int]:
    """Return the paths' indices, feeds before links and their like by name.

    A lead then has one sign in every file and on every screen, whatever the order of the configuration.
    """
    return sorted(
        range(len(config.path)),
        key=lambda index: (isinstance(config.path[index], LinkPathSection), config.path[index].name),
    )
