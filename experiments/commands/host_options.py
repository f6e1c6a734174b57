"""Command-line options that say on which hosts to work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from daemons.errors import ConfigError
from daemons.service.extra import require_extra
from experiments.hosts.inventory import Inventory, load_inventory

__all__ = ["host_options", "inventory_from"]

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--deployment", metavar="NAME", help="Work on the hosts that `provision` built under this name."),
    click.option(
        "--topology", metavar="NAME|FILE", help="With --deployment: what it was built from.  [default: backbone]"
    ),
    click.option("--profile", help="With --deployment: profile of the AWS configuration files."),
    click.option("--identity", metavar="FILE", help="With --deployment: private key to log in with."),
    click.option(
        "--hosts",
        "hosts_file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Work on these hosts: a TOML file with their ssh configuration.",
    ),
)


def host_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def inventory_from(flags: dict[str, Any]) -> Iterator[Inventory | None]:
    """Find the hosts that the options name; None when they name none, and this machine is meant.

    Raises:
        LatencyError: the options contradict each other, or the hosts cannot be found.
    """
    belonging = {name: flags[name] for name in ("topology", "profile", "identity") if flags[name]}
    if flags["deployment"] is None:
        if belonging:
            raise ConfigError(
                f"--{next(iter(belonging))}", "there is no deployment that it could be for", "leave it out"
            )
        yield None if flags["hosts_file"] is None else load_inventory(flags["hosts_file"])
        return
    if flags["hosts_file"] is not None:
        raise ConfigError("--hosts", "excludes --deployment", "give one of the two")
    require_extra("aws")
    from experiments.hosts.deployment import deployed  # noqa: PLC0415 - boto3 takes its time to load

    topology = flags["topology"] or "backbone"
    with deployed(flags["deployment"], topology, flags["profile"], flags["identity"] or "") as inventory:
        yield inventory
