"""``experiment run``: a timed comparison, from a look at the set-up to the verdict."""

from pathlib import Path
from typing import Any

import click

from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import SPAN
from experiments.commands.host_options import host_options
from experiments.runs.schedule import MODES

__all__ = ["run_command"]


@click.command("run")
@click.option(
    "--mode",
    type=click.Choice(list(MODES)),
    default="race",
    show_default=True,
    help="race: all paths at once, event by event; blocks: baseline and backbone in turn.",
)
@click.option("--duration", type=SPAN, default="300s", show_default=True, help="Of one block.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Measure so often in a row.")
@click.option("--every", type=SPAN, help="Begin a round every so often: 1h.")
@click.option("--for", "for_", type=SPAN, help="With --every: for so long: 24h.")
@click.option("--simulator", is_flag=True, help="A made-up exchange at known distances instead of real endpoints.")
@click.option("--rate", type=Number(min=1), default=200.0, show_default=True, help="With --simulator: events/s.")
@click.option("--config", "config", type=click.Path(path_type=Path, dir_okay=False), help="The receiver's TOML file.")
@click.option("--feed-url", metavar="URL", help="The exchange's WebSocket, as for latency-receiver.")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream, where the URL names none; repeat it.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust for the feed.")
@click.option("--listen", metavar="HOST:PORT", help="Where the forwarder connects.")
@click.option("--transport", type=click.Choice(["tcp", "udp"]), help="What carries the events.")
@click.option("--key-file", metavar="FILE", help="Shared secret; the forwarder has the same.")
@click.option("--allow", "allowed", multiple=True, metavar="CIDR", help="Where forwarders may come from; repeat it.")
@click.option("--rehearsal", type=SPAN, default="5s", show_default=True, help="How long rates are counted beforehand.")
@click.option("--wait", type=SPAN, default="60s", show_default=True, help="For every path's first event.")
@click.option(
    "--max-clock-error-ms", type=Number(0, min_open=True), default=10.0, show_default=True, help="Of this host."
)
@click.option("--allow-unsynchronized-clock", is_flag=True, help="Measure all the same; the results say so.")
@click.option("--receiver", metavar="HOST", help="Which host measures, where several are receivers.")
@host_options
@click.option("--compare/--no-compare", default=True, show_default=True, help="Compare at the end.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="New or empty.  [default: experiment-DATE-TIME]",
)
def run_command(**flags: Any) -> None:
    """Measure for a while, then say which path is faster and how sure that is.

    A look at the set-up comes first: clock, ports, whether every path brings events, disk, and how many samples to
    expect. Everything goes into one folder, with a manifest; `experiment report FOLDER` makes a page of it. Ctrl-C
    ends the run; what was measured is kept and compared.

    With --deployment or --hosts the receiver's host measures, with the configuration that it has, and the results are
    fetched.

    Exits with 0 when all was measured, 1 when something failed, 3 for an unfit clock, 4 for a port that is taken, 5
    when results cannot be written, and 130 when it was interrupted.
    """
    from experiments.commands.running import run_plan  # noqa: PLC0415 - of no use to --help

    run_plan(flags)
