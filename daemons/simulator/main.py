"""latency-simulator: a Binance-compatible exchange for the demo, tests and benchmarks."""

from pathlib import Path
from typing import Any, get_args

import click

from daemons.sections import LogFormat
from daemons.service.console.command_line import CONTEXT, OurCommand, version_option
from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import SPAN, Span
from daemons.simulator.streams import KINDS

__all__ = ["main"]

DEFAULT_STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")

_RATE = Number(0, min_open=True)
_STATUS = click.IntRange(400, 599)
_COUNT = click.IntRange(0)


@click.command(cls=OurCommand, context_settings={**CONTEXT, "show_default": True})
@click.option("--listen", default="127.0.0.1:9443", metavar="HOST:PORT", help="Near endpoint; port 0 for any.")
@click.option("--sbe-listen", metavar="HOST:PORT", help="Endpoint for the same events in SBE; wants an API key.")
@click.option("--far-listen", metavar="HOST:PORT", help="Far endpoint: the same bytes, later.")
@click.option("--far-delay-ms", type=Number(0), default=100.0, help="Mean delay of the far endpoint.")
@click.option(
    "--far-jitter-ms",
    type=Number(0),
    default=0.0,
    help="Standard deviation of the delay; at most half of it.",
)
@click.option(
    "--door",
    "doors",
    multiple=True,
    metavar="HOST:PORT=DELAY,JITTER[,DRIFT]",
    help="One more address, with its own delay, jitter (standard deviation) and drift (of two minutes); repeat it.",
)
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME",
    default=DEFAULT_STREAMS,
    help=f"A stream to generate; repeat it or join names by / for more. SYMBOL@KIND, KIND of {', '.join(KINDS)}.",
)
@click.option("--rate", type=_RATE, default=100.0, help="Events per second, all streams together.")
@click.option("--poisson", is_flag=True, help="Events at random instants instead of an even grid.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    help="Ids, prices, choice of streams, jitter and faults follow from it.",
)
@click.option("--duration", type=SPAN, help="End after this long.  [default: never]")
@click.option("--futures", is_flag=True, help="Be USD-M futures: payloads, limits, /public and /market, REST paths.")
@click.option("--wait-for-clients", type=_COUNT, default=0, help="Emit nothing before so many are connected.")
@click.option("--stop-after-events", type=_COUNT, help="Emit so many events, then rest.  [default: no end]")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="PEM file; makes it wss.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file.")
@click.option(
    "--ping-interval",
    "ping_interval_seconds",
    type=Span(minimum=0),
    help="Between pings to a client; 0 for none.  [default: 20s; 3m for futures]",
)
@click.option(
    "--ping-timeout",
    "ping_timeout_seconds",
    type=SPAN,
    help="Disconnect a client without a pong.  [default: 60s; 10m for futures]",
)
@click.option(
    "--disconnect-every",
    type=SPAN,
    default="24h",
    help="Fault: end each connection at this age, every second one without a closing handshake.",
)
@click.option(
    "--silent-after",
    type=SPAN,
    help="Fault: send no more events on a connection of this age, but keep it open.",
)
@click.option("--cull", is_flag=True, help="Fault: in SBE, of best bids and asks that wait, send the newest alone.")
@click.option("--skip-ids-every", type=_COUNT, default=0, metavar="N", help="Fault: every Nth event jumps 1-5 ids.")
@click.option(
    "--malformed-every", type=_COUNT, default=0, metavar="N", help="Fault: nonsense after every Nth event, in turn."
)
@click.option("--reject-status", type=_STATUS, help="Fault: refuse every WebSocket handshake with this HTTP status.")
@click.option("--shutdown-notice", is_flag=True, help="Send the serverShutdown event before ending.")
@click.option("--log-format", type=click.Choice(get_args(LogFormat)), default="auto", help="On standard error.")
@version_option()
def main(log_format: LogFormat, **flags: Any) -> None:
    """Be a Binance-compatible exchange, near and (delayed) far.

    Writes one JSON line to standard output when ready, with the bound addresses, and one with the totals at the end
    (--duration, SIGTERM or SIGINT); at a terminal the log tells them.
    """
    from daemons.simulator.command import carry_out  # noqa: PLC0415 - of no use to --help

    carry_out(log_format, flags)


if __name__ == "__main__":
    main()
