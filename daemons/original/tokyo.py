"""``tokyo-forwarder``: the original Rust program's command line and file, carried out by latency-forwarder."""

from pathlib import Path

import click

from daemons.errors import ConfigError, LatencyError
from daemons.forwarder.main import main as forwarder
from daemons.original.files import TOKYO_FILE, TokyoFile, load
from daemons.service.console.command_line import CONTEXT, OurCommand, version_option
from daemons.service.console.exits import die
from daemons.service.settings.spans import SPAN, write_span

__all__ = ["main"]


@click.command(cls=OurCommand, context_settings=CONTEXT)
@click.option("--frankfurt-ip", metavar="IP", help="The receiver's address.")
@click.option("--port", type=click.IntRange(1, 65535), help="The receiver's port.  [default: 8080]")
@click.option("--binance-url", metavar="URL", help="The exchange's stream.  [default: btcusdt@bookTicker of Binance]")
@click.option("--max-delay", type=SPAN, help="Longest wait between attempts.  [default: 30s]")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"A {TOKYO_FILE}; flags override it.  [default: ./{TOKYO_FILE}, if there is one]",
)
@click.option("--metrics", metavar="HOST:PORT", default="", help="Where to serve metrics.  [default: nowhere]")
@version_option()
def main(
    frankfurt_ip: str | None,
    port: int | None,
    binance_url: str | None,
    max_delay: float | None,
    config_file: Path | None,
    metrics: str,
) -> None:
    """Forward one stream to a frankfurt-receiver as JSON lines over TCP, as the original Rust program does."""
    try:
        file = load(TokyoFile, config_file, TOKYO_FILE)
        host = frankfurt_ip or file.frankfurt_private_ip
        if not host:
            raise ConfigError("--frankfurt-ip", "is not given", f"give it, or frankfurt_private_ip in {TOKYO_FILE}")
    except LatencyError as error:
        die(error)
    longest = file.reconnect_max_delay_secs if max_delay is None else max_delay
    bracketed = f"[{host}]" if ":" in host else host
    forwarder.main(
        [
            *("--feed-url", binance_url or file.binance_ws_url, "--reconnect-max", write_span(longest)),
            *("--destination", f"{bracketed}:{port or file.frankfurt_port}", "--transport", "tcp", "--format", "json"),
            *("--metrics", metrics),
        ],
        prog_name="tokyo-forwarder",
    )


if __name__ == "__main__":
    main()
