"""``down`` and ``reap``: what takes a deployment away, by its name alone."""

import datetime as dt

from provisioning.aftermath import expires_at
from provisioning.commands.common import agree, remover_of, tell_elsewhere, told_what_stands
from provisioning.documents import Down, Reap
from provisioning.screen import Screen
from provisioning.settings import Settings
from provisioning.wishes import name_of

__all__ = ["down", "reap"]


def down(settings: Settings) -> None:
    """Do ``provision down``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    engine = remover_of(settings, screen)
    view = engine.view
    found = engine.standing()
    if found:
        for item in found:
            screen.say(f"- remove {item.key} ({item.region}): {item.id}")
        agree(settings, f"Remove these {len(found)} resources?")
        with told_what_stands(settings, engine), screen.progress(f"removing {name_of(settings)}", len(found)):
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
        screen.say(f"{name_of(settings)}: nothing is left by tag in {', '.join(view.seen)}")
        tell_elsewhere(view, screen)


def reap(settings: Settings) -> None:
    """Do ``provision reap``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    engine = remover_of(settings, screen)
    found = engine.standing()
    end = expires_at(found)
    due = end is not None and end <= dt.datetime.now(dt.UTC)
    if due:
        with told_what_stands(settings, engine), screen.progress(f"removing {name_of(settings)}", len(found)):
            engine.remove()
    if settings.json:
        when = end.isoformat() if end else None
        told: Reap = {"expires": when, "removed": [item.id for item in found] if due else []}
        screen.result(told)
    elif due:
        screen.say(f"{name_of(settings)}: expired and removed, {len(found)} resources")
    else:
        screen.say(
            f"{name_of(settings)}: {f'stays until {end.isoformat()}' if end else 'has no expiry'}, nothing removed"
        )
