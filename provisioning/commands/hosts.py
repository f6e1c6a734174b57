"""``deploy`` and ``ssh``: what is done with hosts that run."""

from typing import Any

import click

from provisioning.commands.common import agree, bundle_of, engine_of
from provisioning.desired import BUCKET, BUNDLE_OBJECT
from provisioning.errors import ProvisionError
from provisioning.kinds.storage import put_object
from provisioning.remote import Remote, choose
from provisioning.screen import Screen
from provisioning.settings import Settings
from provisioning.wishes import name_of, topology_of

__all__ = ["deploy", "ssh"]


def deploy(settings: Settings, bundle: str, only: tuple[str, ...], identity: str) -> None:
    """Do ``provision deploy``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    engine = engine_of(settings, screen)
    topology = topology_of(settings)
    hosts = [choose(topology, name) for name in only] or list(topology.host)
    content = bundle_of(bundle, topology, screen)
    agree(settings, f"Deploy {len(content)} bytes to {', '.join(host.name for host in hosts)}?")
    engine.read()
    if not only and BUCKET not in engine.view.found:
        raise ProvisionError(
            f"{name_of(settings)}: its bucket is missing, and with it what hosts boot from; run `up` first"
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


def ssh(settings: Settings, role: str, command: tuple[str, ...], identity: str) -> None:
    """Do ``provision ssh``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    topology = topology_of(settings)
    host = choose(topology, role)
    engine = engine_of(settings, screen)
    engine.read()
    with Remote.connect(engine.view, topology, identity) as remote:
        code = remote.shell(host, command)
    if code:
        raise click.exceptions.Exit(code)
