"""``experiment doors``: which of an exchange's addresses is the fastest from here, and how sure that is."""

from pathlib import Path
from typing import Any

import click

from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import SPAN, Span

__all__ = ["doors_command"]


@click.command("doors")
@click.argument("url", metavar="URL")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream, where the URL names none; repeat it.")
@click.option(
    "--resolver",
    "resolvers",
    multiple=True,
    metavar="ADDRESS[:PORT]|system",
    help="Whom to ask for addresses; repeat it.  [default: this host's own, which is system]",
)
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="A door that you know of; repeat it.")
@click.option("--only-address", is_flag=True, help="Ask nobody: race the doors of --address.")
@click.option(
    "--connections",
    type=click.IntRange(2, 64),
    default=16,
    show_default=True,
    help="Doors that race at a time; more of them take turns.",
)
@click.option("--duration", type=SPAN, help="End after this long.  [default: when it is sure, or with Ctrl-C]")
@click.option("--block", "block_seconds", type=Span(minimum=0.1), default="10s", show_default=True, help="Averaged.")
@click.option("--margin-ms", type=Number(0), default=0.05, show_default=True, help="A smaller lead is not worth a pin.")
@click.option("--confidence", type=Number(0.5, 0.999), default=0.95, show_default=True, help="Of all intervals.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust.")
@click.option("--encoding", type=click.Choice(["json", "sbe"]), default="json", show_default=True, help="Of the feed.")
@click.option("--api-key-file", metavar="FILE", help="With the API key that SBE streams need.")
@click.option("--source-address", metavar="ADDRESS", help="Of this host, to connect from.")
@click.option("--interface", metavar="NAME", help="The only one to connect through.")
@click.option("--json", "json_output", metavar="FILE|-", help="Write the record here, too; - for standard output.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="New or empty.  [default: doors-DATE-TIME]",
)
def doors_command(**flags: Any) -> None:
    """Find out which of an exchange's addresses brings its events first.

    The name in URL is asked for its addresses again and again, a connection is kept to each of them, and they race for
    the same events. The ranking's intervals may be looked at any time: a lucky minute is told from a better door. It
    ends when one door, or some that are alike, are shown to be earlier than all others by the margin, or all are shown
    to be alike; with --duration; or with Ctrl-C. `experiment report FOLDER` makes a page of the folder.

    Exits with 0 when it is sure, 9 when it ended before, 1 when fewer than two doors brought the same events.
    """
    from daemons.service.extra import require_extra  # noqa: PLC0415 - of no use to --help

    require_extra("doors")
    from experiments.commands.opening import race_doors  # noqa: PLC0415 - likewise

    race_doors(flags)
