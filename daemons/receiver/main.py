"""``latency-receiver``: takes the same events by several paths and measures which brings them first."""

import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import click
from msgspec.structs import replace

from daemons.configuration.feed import feed_settings
from daemons.configuration.receiver import (
    DEFAULT_PORT,
    METRICS_ADDRESS,
    FeedPathSection,
    Mode,
    ReceiverConfig,
    listener_of,
    load_receiver,
)
from daemons.errors import LatencyError
from daemons.receiver.program import Receiver
from daemons.service import lifecycle, logs
from daemons.service.checking import report_check, with_credentials
from daemons.service.command_line import CONTEXT
from daemons.service.exporter import check_metrics
from daemons.service.numbers import Number
from daemons.service.options import common, shared_sections
from daemons.service.spans import SPAN

__all__ = ["main"]


@click.command(context_settings=CONTEXT)
@click.option(
    "--mode",
    type=click.Choice(["baseline", "aws-backbone", "race"]),
    help="baseline: the direct feed; aws-backbone: through a forwarder; race: both at once.",
)
@click.option("--feed-url", metavar="URL", help="The exchange's WebSocket: wss://HOST:PORT, or with its streams.")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream, where the URL names none; repeat it.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust for the feed.")
@click.option("--listen", metavar="HOST:PORT", help=f"Where forwarders connect.  [default: 0.0.0.0:{DEFAULT_PORT}]")
@click.option("--port", type=click.IntRange(0, 65535), help="The same on all addresses: 0.0.0.0:PORT.")
@click.option("--transport", type=click.Choice(["tcp", "udp"]), help="What carries the events.  [default: tcp]")
@click.option("--format", "wire_format", type=click.Choice(["binary", "json", "any"]), help="[default: binary]")
@click.option(
    "--key-file",
    "key_files",
    multiple=True,
    metavar="FILE",
    help="Shared secret; the forwarder has the same. Repeat it to let forwarders change from one to the other.",
)
@click.option("--allow", "allowed", multiple=True, metavar="CIDR", help="Where forwarders may come from; repeat it.")
@click.option("--duration", type=SPAN, help="End by itself after so long, such as 300s or 15m.")
@click.option("--output", metavar="FILE.json", help="Write the run's summary here.")
@click.option("--csv-output", metavar="FILE.csv", help="Write every event here as it comes.")
@click.option(
    "--max-clock-error-ms",
    type=Number(0, min_open=True),
    help="A timed run refuses a clock that may be further off.  [default: 10]",
)
@click.option("--allow-unsynchronized-clock", is_flag=True, default=None, help="Run all the same; the result says so.")
@click.option("--busy-poll", is_flag=True, default=None, help="Never sleep: lower latency for a whole core.")
@common(METRICS_ADDRESS)
def main(
    mode: str | None,
    feed_url: str | None,
    streams: tuple[str, ...],
    ca_file: str | None,
    listen: str | None,
    port: int | None,
    transport: str | None,
    wire_format: str | None,
    key_files: tuple[str, ...],
    allowed: tuple[str, ...],
    duration: float | None,
    output: str | None,
    csv_output: str | None,
    max_clock_error_ms: float | None,
    allow_unsynchronized_clock: bool | None,
    busy_poll: bool | None,
    config_file: Path | None,
    metrics: str | None,
    log_format: str | None,
    log_level: str | None,
    check_config: bool,
) -> None:
    """Measure which network path brings an exchange's events here first, and how steadily."""
    if listen is not None and port is not None:
        raise click.UsageError("--listen and --port exclude each other")
    if port is not None:
        listen = f"0.0.0.0:{port}"
    overrides: dict[str, Any] = {
        "run": {"duration_seconds": duration, "output": output, "csv_output": csv_output},
        "clock": {"max_error_ms": max_clock_error_ms, "allow_unsynchronized": allow_unsynchronized_clock},
        "busy_poll": busy_poll,
        **shared_sections(metrics, log_format, log_level),
    }
    feed = {"url": feed_url, "streams": list(streams) or None, "ca_file": ca_file}
    link = {
        "listen": listen,
        "transport": transport,
        "format": wire_format,
        "key_file": list(key_files) or None,
        "allowed_sources": list(allowed) or None,
    }

    def load(unseen: list[str] | None = None) -> ReceiverConfig:
        config = load_receiver(config_file, overrides, cast("Mode | None", mode), feed, link)
        for index, path in enumerate(config.path):
            if isinstance(path, FeedPathSection):
                settings = partial(feed_settings, path.name, f"path[{index}]")
                with_credentials(settings, path, None, unseen)
            else:
                check = partial(listener_of, index)
                with_credentials(check, path, lambda path: replace(path, key_file=None), unseen)
        check_metrics(config.metrics, unseen)
        return config

    if check_config:
        report_check(load)
        return
    try:
        config = load()
    except LatencyError as error:
        lifecycle.die(error)
    logs.configure(config.log.format, config.log.level)
    sys.exit(lifecycle.run(lambda: Receiver(config, load), busy_poll=config.busy_poll))


if __name__ == "__main__":
    main()
