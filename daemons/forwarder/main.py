"""``latency-forwarder``: reads an exchange's feed, stamps and numbers every event, forwards it to receivers."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from daemons.configuration.feed import feed_settings
from daemons.configuration.forwarder import METRICS_ADDRESS, ForwarderConfig, link_settings, load_forwarder
from daemons.errors import LatencyError
from daemons.forwarder.program import Forwarder
from daemons.service import lifecycle, logs
from daemons.service.checking import report_check, with_credentials
from daemons.service.command_line import CONTEXT
from daemons.service.exporter import check_metrics
from daemons.service.options import common, shared_sections
from daemons.service.spans import SPAN

__all__ = ["main"]


@click.command(context_settings=CONTEXT)
@click.option("--feed-url", metavar="URL", help="The exchange's WebSocket: wss://HOST:PORT, or with its streams.")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream, where the URL names none; repeat it.")
@click.option("--destination", "destinations", multiple=True, metavar="HOST:PORT", help="A receiver; repeat it.")
@click.option("--path-name", metavar="NAME", help="The path's name, which must be the receiver's for it.")
@click.option("--transport", type=click.Choice(["tcp", "udp"]), help="What carries the events.  [default: tcp]")
@click.option("--format", "wire_format", type=click.Choice(["binary", "json"]), help="[default: binary]")
@click.option("--key-file", metavar="FILE", help="Shared secret; the receiver has the same.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust for the feed.")
@click.option("--reconnect-max", type=SPAN, help="The longest wait between attempts, either side.  [default: 30s]")
@click.option("--busy-poll", is_flag=True, default=None, help="Never sleep: lower latency for a whole core.")
@common(METRICS_ADDRESS)
def main(
    feed_url: str | None,
    streams: tuple[str, ...],
    destinations: tuple[str, ...],
    path_name: str | None,
    transport: str | None,
    wire_format: str | None,
    key_file: str | None,
    ca_file: str | None,
    reconnect_max: float | None,
    busy_poll: bool | None,
    config_file: Path | None,
    metrics: str | None,
    log_format: str | None,
    log_level: str | None,
    check_config: bool,
) -> None:
    """Forward an exchange's events to latency-receivers, stamped and numbered."""

    def load(unseen: list[str] | None = None) -> ForwarderConfig:
        longest: dict[str, Any] = {"reconnect_max_seconds": reconnect_max}
        feed = {"url": feed_url, "streams": list(streams) or None, "ca_file": ca_file, **longest}
        links = {"path_name": path_name, "transport": transport, "format": wire_format, "key_file": key_file, **longest}
        overrides = {"feed": feed, "busy_poll": busy_poll, **shared_sections(metrics, log_format, log_level)}
        config = load_forwarder(config_file, overrides, destinations, links)
        with_credentials(partial(feed_settings, "feed", "feed"), config.feed, None, unseen)
        for section in config.destination:
            with_credentials(link_settings, section, lambda section: replace(section, key_file=None), unseen)
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
    sys.exit(lifecycle.run(lambda: Forwarder(config, load), busy_poll=config.busy_poll))


if __name__ == "__main__":
    main()
