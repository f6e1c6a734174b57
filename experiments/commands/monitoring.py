"""``experiment monitoring``: Prometheus, Alertmanager and Grafana on the demo, or on daemons that run."""

import click

from daemons.service.settings.spans import Span
from experiments.live.targets import parse_target
from experiments.local.defaults import ALERTMANAGER, PROMETHEUS

__all__ = ["monitoring_command"]


@click.command("monitoring")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="ROLE=HOST:PORT",
    help="Metrics of a daemon that runs, such as receiver=127.0.0.1:9472; repeat it. Without any, the demo is run.",
)
@click.option("--prometheus", default=PROMETHEUS, show_default=True, metavar="HOST:PORT", help="Where it listens.")
@click.option("--alertmanager", default=ALERTMANAGER, show_default=True, metavar="HOST:PORT", help="Where it listens.")
@click.option("--duration", type=Span(minimum=1), help="End by itself.  [default: never]")
def monitoring_command(targets: tuple[str, ...], prometheus: str, alertmanager: str, duration: float | None) -> None:
    """Run Prometheus and Alertmanager on the demo, or on daemons of yours, with this repository's configuration."""
    wanted = [parse_target("--target", text, role_needed=True) for text in targets]
    # Help and completion wait for no event loop, no tables and no WebSocket.
    import asyncio  # noqa: PLC0415

    from daemons.service.console.screen import screen  # noqa: PLC0415
    from experiments.local.monitoring import monitor  # noqa: PLC0415

    console = screen()
    asyncio.run(monitor(console, wanted, prometheus, alertmanager, duration))
