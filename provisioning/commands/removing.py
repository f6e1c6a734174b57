"""``down`` and ``reap``: what takes a deployment away, by its name alone."""

import datetime as dt

import click

from provisioning.aftermath import expires_at
from provisioning.commands.common import agree, remover_of, tell_elsewhere, told_what_stands
from provisioning.documents import Down, Reap
from provisioning.screen import Screen
from provisioning.settings import Settings, shared

__all__ = ["down", "reap"]


@click.command()
@shared
@click.pass_obj
def down(settings: Settings) -> None:
    """Remove everything that carries the deployment's tags, in whatever region, and look again at every one."""
    screen = Screen(as_json=settings.json)
    engine = remover_of(settings, screen)
    view = engine.view
    found = engine.standing()
    if found:
        for item in found:
            screen.say(f"- remove {item.key} ({item.region}): {item.id}")
        agree(settings, f"Remove these {len(found)} resources?")
        with told_what_stands(settings, engine), screen.progress(f"removing {settings.called}", len(found)):
            engine.remove()
    if settings.json:
        told: Down = {
            "removed": [item.id for item in found],
            "left": [],
            "regions": list(view.seen),
            "unseen": dict(view.unseen),
            "others": {region: list(names) for region, names in view.others.items()},
        }
        screen.result(told)
    else:
        screen.say(f"{settings.called}: nothing is left by tag in {', '.join(view.seen)}")
        tell_elsewhere(view, screen)


@click.command()
@shared
@click.pass_obj
def reap(settings: Settings) -> None:
    """Take the deployment away if its expiry is past, and else leave it. For a scheduler: it never asks."""
    screen = Screen(as_json=settings.json)
    engine = remover_of(settings, screen)
    found = engine.standing()
    end = expires_at(found)
    due = end is not None and end <= dt.datetime.now(dt.UTC)
    if due:
        with told_what_stands(settings, engine), screen.progress(f"removing {settings.called}", len(found)):
            engine.remove()
    if settings.json:
        when = end.isoformat() if end else None
        told: Reap = {"expires": when, "removed": [item.id for item in found] if due else []}
        screen.result(told)
    elif due:
        screen.say(f"{settings.called}: expired and removed, {len(found)} resources")
    else:
        screen.say(
            f"{settings.called}: {f'stays until {end.isoformat()}' if end else 'has no expiry'}, nothing removed"
        )
