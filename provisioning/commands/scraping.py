"""``targets``: what Prometheus is to scrape."""

from pathlib import Path

import click

from provisioning.settings import Settings
from provisioning.targets import targets as targets_text
from provisioning.wishes import name_of, topology_of

__all__ = ["targets"]


def targets(settings: Settings, local: bool, output: str | None) -> None:
    """Do ``provision targets``; its help says what that is."""
    text = targets_text(topology_of(settings), name_of(settings), local=local)
    if output is None:
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text, encoding="utf-8")
