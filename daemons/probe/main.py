"""The command line of latency-probe."""

from pathlib import Path
from typing import Any, get_args

import click

from daemons.configuration.defaults import PROBE_METRICS
from daemons.sections import LogFormat
from daemons.service.console.command_line import CONTEXT, OurCommand, version_option
from daemons.service.settings.spans import SPAN

__all__ = ["main"]


@click.command(cls=OurCommand, context_settings={**CONTEXT, "show_default": True})
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file; see docs/probe.md.")
@click.option("--check-config", is_flag=True, help="Check the configuration and the files it names, then end.")
@click.option(
    "--target",
    "urls",
    multiple=True,
    metavar="URL",
    help="Probe this URL instead of the file's targets; may be repeated.",
)
@click.option("--connections", type=click.Choice(["cold", "warm", "both"]), help="With --target: on which connections.")
@click.option("--interval", type=SPAN, help="With --target: between two requests.")
@click.option("--timeout", type=SPAN, help="With --target: for one request.")
@click.option("--resolve", multiple=True, metavar="HOST=ADDRESS", help="With --target: use this address for the host.")
@click.option("--http", type=click.Choice(["1.1", "2"]), help="With --target: the HTTP version.")
@click.option("--ca-file", metavar="FILE", help="With --target: authorities to trust instead of the system's.")
@click.option("--source-address", metavar="ADDRESS", help="With --target: send from this address.")
@click.option("--interface", metavar="NAME", help="With --target: send through this interface.")
@click.option("--proxy", metavar="URL", help="With --target: go through this HTTP proxy, http://HOST:PORT.")
@click.option(
    "--proxy-credentials-file", metavar="FILE", help="With --proxy: a private file with one line USER:PASSWORD."
)
@click.option("--once", is_flag=True, help="Make --count requests on each kind of connection, print a table, and end.")
@click.option("--count", type=click.IntRange(1, 10_000_000), default=100, help="With --once: how many requests.")
@click.option("--json", "json_output", type=click.Path(path_type=Path), help="With --once: write the statistics here.")
@click.option("--csv", "csv_output", type=click.Path(path_type=Path), help="With --once: write every request here.")
@click.option("--metrics", metavar="HOST:PORT", help=f"Where to serve metrics; '' for nowhere.  [{PROBE_METRICS}]")
@click.option("--log-format", type=click.Choice(get_args(LogFormat)), help="Shape of the log lines.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Lowest level logged.")
@version_option()
def main(**flags: Any) -> None:
    """Measure HTTPS latency, cold and warm, phase by phase, and where we leave from."""
    from daemons.probe.command import carry_out  # noqa: PLC0415 - of no use to --help

    carry_out(flags)


if __name__ == "__main__":
    main()
