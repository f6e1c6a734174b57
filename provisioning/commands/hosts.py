"""``targets``, ``deploy`` and ``ssh``: what is done with hosts that run."""

from pathlib import Path
from typing import Any

import click

from provisioning.commands.common import agree, bundle_of, engine_of
from provisioning.desired import BUCKET, BUNDLE_OBJECT
from provisioning.errors import ProvisionError
from provisioning.kinds.storage import put_object
from provisioning.remote import Remote, choose
from provisioning.screen import Screen
from provisioning.settings import Settings, shared
from provisioning.targets import targets as targets_text

__all__ = ["deploy", "ssh", "targets"]


@click.command()
@shared
@click.option("--local", is_flag=True, help="Leave out what the monitor host cannot reach.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write to a file instead of standard output.")
@click.pass_obj
def targets(settings: Settings, local: bool, output: str | None) -> None:
    """Prometheus file service discovery: every host's exporter with role, site and deployment labels. Calls nothing."""
    text = targets_text(settings.loaded(), settings.deployment().name, local=local)
    if output is None:
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text, encoding="utf-8")


@click.command()
@shared
@click.option("--bundle", default="", metavar="FILE", help="Software bundle to use instead of building one.")
@click.option("--host", "only", multiple=True, metavar="HOST", help="Deploy to these hosts only.  [default: all]")
@click.option("--identity", default="", metavar="FILE", help="Private key to log in with.")
@click.pass_obj
def deploy(settings: Settings, bundle: str, only: tuple[str, ...], identity: str) -> None:
    """Put new software on running hosts; all go back to the old one when a host does not become healthy."""
    screen = Screen(as_json=settings.json)
    engine = engine_of(settings, screen)
    topology = settings.loaded()
    hosts = [choose(topology, name) for name in only] or list(topology.host)
    content = bundle_of(bundle, topology, screen)
    agree(settings, f"Deploy {len(content)} bytes to {', '.join(host.name for host in hosts)}?")
    engine.read()
    if not only and BUCKET not in engine.view.found:
        raise ProvisionError(
            f"{settings.called}: its bucket is missing, and with it what hosts boot from; run `up` first"
        )
    done: list[str] = []

    def report(host: Any, text: str) -> None:
        done.append(f"{host.name}: {text}")
        screen.say(done[-1])

    with Remote.connect(engine.view, topology, identity) as remote:
        remote.deploy(hosts, content, report)
    if not only:
        view = engine.view
        put_object(view, f"object/{BUNDLE_OBJECT}", view.found[BUCKET], BUNDLE_OBJECT, content)
    if settings.json:
        screen.result(done)


@click.command(context_settings={"ignore_unknown_options": False})
@shared
@click.argument("role")
@click.argument("command", nargs=-1)
@click.option("--identity", default="", metavar="FILE", help="Private key to log in with.")
@click.pass_obj
def ssh(settings: Settings, role: str, command: tuple[str, ...], identity: str) -> None:
    """Log in to a host, by role or name, or run a command there: `provision ssh receiver -- uptime`."""
    screen = Screen(as_json=settings.json)
    topology = settings.loaded()
    host = choose(topology, role)
    engine = engine_of(settings, screen)
    engine.read()
    with Remote.connect(engine.view, topology, identity) as remote:
        code = remote.shell(host, command)
    if code:
        raise click.exceptions.Exit(code)
