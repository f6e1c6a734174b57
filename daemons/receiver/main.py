"""``latency-receiver``: takes the same events by several paths and measures which brings them first."""

from typing import Any

import click

from daemons.configuration.defaults import RECEIVER_METRICS
from daemons.link.receiving.settings import LINK_PORT
from daemons.service.console.command_line import CONTEXT, OurCommand
from daemons.service.console.options import common
from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import SPAN

__all__ = ["main"]


@click.command(cls=OurCommand, context_settings=CONTEXT)
@click.option(
    "--mode",
    type=click.Choice(["baseline", "aws-backbone", "race"]),
    help="baseline: the direct feed; aws-backbone: through a forwarder; race: both at once.",
)
@click.option("--feed-url", metavar="URL", help="The exchange's WebSocket: wss://HOST:PORT, or with its streams.")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream, where the URL names none; repeat it.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust for the feed.")
@click.option("--listen", metavar="HOST:PORT", help=f"Where forwarders connect.  [default: 0.0.0.0:{LINK_PORT}]")
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
@common(RECEIVER_METRICS)
def main(**flags: Any) -> None:
    """Measure which network path brings an exchange's events here first, and how steadily."""
    from daemons.receiver.command import carry_out  # noqa: PLC0415 - of no use to --help

    carry_out(flags)


if __name__ == "__main__":
    main()
