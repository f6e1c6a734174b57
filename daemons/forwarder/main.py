"""``latency-forwarder``: reads an exchange's feed, stamps and numbers every event, forwards it to receivers."""

from typing import Any

import click

from daemons.configuration.defaults import FORWARDER_METRICS
from daemons.service.console.command_line import CONTEXT, OurCommand
from daemons.service.console.options import common
from daemons.service.settings.spans import SPAN

__all__ = ["main"]


@click.command(cls=OurCommand, context_settings=CONTEXT)
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
@common(FORWARDER_METRICS)
def main(**flags: Any) -> None:
    """Forward an exchange's events to latency-receivers, stamped and numbered."""
    from daemons.forwarder.command import carry_out  # noqa: PLC0415 - of no use to --help

    carry_out(flags)


if __name__ == "__main__":
    main()
