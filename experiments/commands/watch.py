"""``experiment watch``: the live table of daemons that run, here or elsewhere."""

import sys

import click

from daemons.errors import ConfigError
from daemons.service.settings.spans import Span
from experiments.live.targets import parse_target

__all__ = ["watch_command"]


@click.command("watch")
@click.argument("targets", nargs=-1, metavar="[[ROLE=]HOST:PORT]...")
@click.option("--prometheus", metavar="HOST:PORT|URL", help="Ask this server, which scrapes the daemons.")
@click.option("--interval", type=Span(minimum=0.1), default="2s", show_default=True, help="Between two readings.")
@click.option("--window", type=Span(minimum=1), default="1m", show_default=True, help="What the figures reach back to.")
@click.option("--duration", type=Span(minimum=0.1), help="End by itself.  [default: with Ctrl-C]")
@click.option("--once", is_flag=True, help="Read once: the figures are of the daemons' lives so far.")
@click.option("--json", "as_json", is_flag=True, help="An object a reading instead of tables.")
def watch_command(
    targets: tuple[str, ...],
    prometheus: str | None,
    interval: float,
    window: float,
    duration: float | None,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """Show what running daemons measure, as it changes: paths, leads, jitter, losses, requests and clocks.

    TARGETS are addresses of metrics pages, by default those of daemons on this machine. A daemon that ends or is
    started again is told, and the others are shown on.

    Exits with 1 when --once finds no daemon that answers.
    """
    if prometheus is not None and targets:
        raise ConfigError("--prometheus", "the server knows the targets", "leave out TARGETS, or the server")
    wanted = [parse_target("TARGET", text, role_needed=False) for text in targets]
    # Help and completion wait for no event loop, no tables and no parser of metrics.
    import asyncio  # noqa: PLC0415

    from experiments.commands import watching  # noqa: PLC0415
    from experiments.live.prometheus import server_url  # noqa: PLC0415

    url = None if prometheus is None else server_url("--prometheus", prometheus)
    watch = watching.Watch(wanted, url, window)
    sys.exit(asyncio.run(watching.once(watch, as_json) if once else watching.go_on(watch, interval, duration, as_json)))
