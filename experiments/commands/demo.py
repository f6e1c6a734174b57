"""``experiment demo``: two paths raced on this machine, with distances put in by us."""

import sys
from pathlib import Path

import click

from daemons.errors import ConfigError
from daemons.service.extra import require_extra
from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import Span
from experiments.local.defaults import EVENTS_PER_SECOND

__all__ = ["demo_command"]


@click.command("demo")
@click.option("--duration", type=Span(minimum=1), default="20s", show_default=True, help="How long to measure.")
@click.option("--keep-running", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--rate", type=Number(min=1), default=EVENTS_PER_SECOND, show_default=True, help="Events per second.")
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-results"),
    show_default=True,
    help="Folder for the results.",
)
def demo_command(duration: float, keep_running: bool, rate: float, folder: Path) -> None:
    """Race two paths on this machine, at distances of known length, from a simulated exchange to the receiver."""
    # Help and completion wait for no event loop, no tables and no WebSocket.
    import asyncio  # noqa: PLC0415

    from daemons.service.console.screen import screen  # noqa: PLC0415
    from experiments.local.demo import run_demo  # noqa: PLC0415
    from experiments.local.simulated import Injected  # noqa: PLC0415

    # Before anything is there that looks like a run.
    require_extra("demo")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--output", f"{folder}: {error.strerror}", "choose a folder that is writable") from error
    console = screen()
    injected = Injected(rate=rate)
    sys.exit(asyncio.run(run_demo(console, injected, folder, None if keep_running else duration)))
