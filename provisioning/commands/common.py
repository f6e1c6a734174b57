"""What several commands do: reach the deployment, ask, and tell what stands."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from daemons.errors import ConfigError
from provisioning import bundle as bundles
from provisioning.aftermath import NOTHING_STANDS, standing, stop_after
from provisioning.cloud import Cloud
from provisioning.desired import desired
from provisioning.engine import Engine
from provisioning.errors import ProvisionError
from provisioning.images import python_version
from provisioning.model import Deployment, View
from provisioning.screen import Screen
from provisioning.settings import Settings
from provisioning.topology import Topology
from provisioning.wishes import name_of, topology_of

__all__ = ["agree", "bundle_of", "engine_of", "remover_of", "tell_elsewhere", "told_what_stands"]

_CHECKOUT = Path(__file__).parents[2]


def engine_of(settings: Settings, screen: Screen, *, bundle: str = "") -> Engine:
    """What brings a deployment into being and reads it."""
    topology = topology_of(settings)
    deployment = Deployment(name_of(settings), topology.owner, topology.expires, stop_after(topology), topology.tags)
    cloud = _cloud_of(settings)
    home = topology.regions[0]
    account = cloud.account(home)
    graph = desired(topology, deployment, account, lambda: bundle_of(bundle, topology, screen))
    return Engine(View(cloud, deployment, home, account, graph), screen.event)


def remover_of(settings: Settings, screen: Screen) -> Engine:
    """What takes a deployment away: by its name alone, for its topology may be another one by now, or lost."""
    deployment = Deployment(name_of(settings))
    cloud = _cloud_of(settings)
    return Engine(View(cloud, deployment, cloud.home, cloud.account(cloud.home)), screen.event)


def _cloud_of(settings: Settings) -> Cloud:
    """How AWS is reached."""
    cloud: Cloud = (settings.connect or Cloud.connect)(settings.profile)
    return cloud


@contextmanager
def told_what_stands(settings: Settings, engine: Engine) -> Iterator[None]:
    """Add to a failure what stands, what that costs, and the two commands: to go on, and to take it away."""
    try:
        yield
    except ProvisionError as error:
        lines = standing(engine)
        for line in lines:
            error.add_note(line)
        error.add_note(f"to go on: {shlex.join(['provision', *sys.argv[1:]])}")
        if lines == [NOTHING_STANDS]:
            raise
        down = ["provision", "down", "--name", engine.view.deployment.name]
        if settings.profile:
            down += ["--profile", settings.profile]
        error.add_note(f"to take it away: {shlex.join(down)}")
        raise


def bundle_of(file: str, topology: Topology, screen: Screen) -> bytes:
    """The software bundle: a file's, or one made of this checkout or installation.

    Raises:
        ConfigError: the file cannot be read.
        ProvisionError: none can be made.
    """
    if file:
        try:
            return Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(
                "--bundle", f"{file}: {error.strerror}", "give an archive made by an earlier run"
            ) from error
    checkout = _CHECKOUT if (_CHECKOUT / "pyproject.toml").exists() else None
    screen.say(f"building the software bundle from this {'checkout' if checkout else 'installation'}")
    pythons = sorted({python_version(host.image) for host in topology.host})
    return bundles.build(checkout, pythons, () if topology.archive is None else ("archive", "aws"))


def agree(settings: Settings, question: str) -> None:
    """Ask whoever sits at the terminal, unless ``--yes`` says it already.

    Raises:
        ConfigError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    if settings.yes:
        return
    if settings.json or not sys.stdin.isatty():
        raise ConfigError("--yes", "is missing", "without a terminal to ask on, changes need --yes")
    click.confirm(question, abort=True, err=True)


def tell_elsewhere(view: View, screen: Screen) -> None:
    """Where nobody lets us look, and what else stands in the account under other names."""
    if view.unseen:
        withheld = ", ".join(f"{region} ({code})" for region, code in view.unseen.items())
        screen.say(f"not looked at, for the credentials may not or are not valid there: {withheld}")
        if "AuthFailure" in view.unseen.values():
            screen.say("AuthFailure: begin the session at a regional endpoint (AWS_STS_REGIONAL_ENDPOINTS=regional)")
    for name, regions in view.others.items():
        screen.say(f"another deployment stands: {name} in {', '.join(regions)}; `provision down --name {name}`")
