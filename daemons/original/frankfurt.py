"""``frankfurt-receiver``: the original Rust program's command line and file, carried out by latency-receiver."""

from pathlib import Path

import click

from daemons.errors import LatencyError
from daemons.original.files import FRANKFURT_FILE, FrankfurtFile, load
from daemons.receiver.main import main as receiver
from daemons.service.console.command_line import CONTEXT, OurCommand, version_option
from daemons.service.console.exits import die
from daemons.service.settings.spans import SPAN, write_span

__all__ = ["main"]

PEERED = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Where the forwarder is, by a peering: at a private address (RFC 1918). The format cannot be signed."""


@click.command(cls=OurCommand, context_settings=CONTEXT)
@click.option("--mode", type=click.Choice(["baseline", "aws-backbone"]), help="[default: baseline]")
@click.option("--duration", type=SPAN, help="End after so long.  [default: 300s]")
@click.option("--output", metavar="FILE.json", help="Where the summary goes.  [default: results.json]")
@click.option("--csv-output", metavar="FILE.csv", help="Where the events go.  [default: --output's name with .csv]")
@click.option("--binance-url", metavar="URL", help="The exchange's stream.  [default: btcusdt@bookTicker of Binance]")
@click.option("--port", type=click.IntRange(0, 65535), help="Where the forwarder connects.  [default: 8080]")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"A {FRANKFURT_FILE}; flags override it.  [default: ./{FRANKFURT_FILE}, if there is one]",
)
@click.option("--allow", multiple=True, metavar="CIDR", help="Where the forwarder is.  [default: private addresses]")
@click.option("--allow-unsynchronized-clock", is_flag=True, help="Run all the same; the result says so.")
@click.option("--metrics", metavar="HOST:PORT", default="", help="Where to serve metrics.  [default: nowhere]")
@version_option()
def main(
    mode: str | None,
    duration: float | None,
    output: str | None,
    csv_output: str | None,
    binance_url: str | None,
    port: int | None,
    config_file: Path | None,
    allow: tuple[str, ...],
    allow_unsynchronized_clock: bool,
    metrics: str,
) -> None:
    """Measure one stream, directly or through a tokyo-forwarder, as the original Rust program does."""
    try:
        file = load(FrankfurtFile, config_file, FRANKFURT_FILE)
    except LatencyError as error:
        die(error)
    mode = mode or file.mode
    summary = Path(output or file.output_file)
    flags = ["--mode", mode, "--output", str(summary), "--csv-output", csv_output or str(summary.with_suffix(".csv"))]
    flags += ["--duration", write_span(file.duration_secs if duration is None else duration), "--metrics", metrics]
    if mode == "baseline":
        flags += ["--feed-url", binance_url or file.binance_ws_url]
    else:
        flags += ["--port", str(file.listen_port if port is None else port), "--format", "json"]
        for network in allow or PEERED:
            flags += ["--allow", network]
    if allow_unsynchronized_clock:
        flags.append("--allow-unsynchronized-clock")
    receiver.main(flags, prog_name="frankfurt-receiver")


if __name__ == "__main__":
    main()
