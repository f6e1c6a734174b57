"""``plan``, ``up`` and ``status``: what shall stand, and what does."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from daemons.errors import ConfigError
from provisioning.aftermath import expires_at, stops_at
from provisioning.commands.common import agree, engine_of, tell_elsewhere, told_what_stands
from provisioning.console import host_report
from provisioning.documents import Resource
from provisioning.drawing import drawing
from provisioning.engine import Engine
from provisioning.errors import PendingError
from provisioning.kinds.instance import outside_address
from provisioning.model import Found, Node, View
from provisioning.preflight import preflight
from provisioning.screen import Screen
from provisioning.settings import Settings
from provisioning.steps import Step
from provisioning.targets import unscraped
from provisioning.topology import Topology
from provisioning.validation import expiry
from provisioning.wishes import name_of, topology_of

__all__ = ["plan", "status", "up"]


def plan(settings: Settings) -> None:
    """Do ``provision plan``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    engine = engine_of(settings, screen)
    engine.read()
    steps = engine.plan()
    for line in drawing(topology_of(settings)):
        screen.say(line)
    screen.plan(steps)
    _warn(topology_of(settings), engine, screen)
    for told in preflight(engine.view, _to_make(steps)):
        screen.say(told)


def _to_make(steps: Sequence[Step]) -> set[str]:
    return {step.key for step in steps if step.verb in ("create", "replace")}


def _warn(topology: Topology, engine: Engine, screen: Screen) -> None:
    """Tell what can be built and will not do all that was hoped for."""
    if topology.monitors and (names := unscraped(topology)):
        screen.say(f"not scraped: {', '.join(names)}: no monitor stands in their site or a peered one; add a peering")
    if topology.expires and expiry(topology.expires) <= dt.datetime.now(dt.UTC):
        screen.say(f"expired: {topology.expires} is past; give a later --expires, or `provision down`")
    elif (end := expires_at(engine.view.found.values())) and end <= dt.datetime.now(dt.UTC):
        screen.say(f"expired: it was to end {end.isoformat()}; `up` with a later --expires, or `provision down`")
    if stop := _stop(topology, engine):
        screen.say(
            f"hosts power themselves off after {stop.isoformat()}; volumes, addresses and the bucket stay, and cost, "
            "until `provision down` or `provision reap`"
        )


def _stop(topology: Topology, engine: Engine) -> dt.datetime | None:
    """When hosts power themselves off: as it is wished now, or where nothing is, as the standing ones were told."""
    if topology.expires:
        return expiry(topology.expires) if topology.stop_at_expiry else None
    return stops_at(engine.view.found.values())


def up(settings: Settings, bundle: str, wait_seconds: float) -> None:
    """Do ``provision up``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    engine = engine_of(settings, screen, bundle=bundle)
    engine.read()
    steps = engine.plan()
    if (stop := _stop(topology_of(settings), engine)) and stop <= dt.datetime.now(dt.UTC):
        raise ConfigError(
            "--expires", f"{stop.isoformat()} is past, and hosts power themselves off", "give a later one"
        )
    if steps:
        if not settings.json:
            screen.plan(steps)
        with told_what_stands(settings, engine):
            for told in preflight(engine.view, _to_make(steps)):
                screen.say(told)
        agree(settings, "Apply?")
        with told_what_stands(settings, engine), screen.progress(f"building {name_of(settings)}", len(steps)):
            engine.apply()
    if wait_seconds:
        with told_what_stands(settings, engine):
            _wait_ready(engine, wait_seconds)
    if settings.json:
        screen.plan(steps)
    else:
        done = "built" if steps else "nothing to do: everything is as the topology says"
        screen.say(f"{name_of(settings)}: {done}; `provision status` tells when the hosts are ready")


def _wait_ready(engine: Engine, seconds: float) -> None:
    hosts = [found for key, found in sorted(engine.view.found.items()) if key.startswith("host/")]

    def all_ready() -> bool | None:
        for host in hosts:
            report = host_report(engine.view, host)
            if report.state != "ready":
                waiting[0] = f"{host.key} is {report.state} {report.text}".rstrip()
                # The two ends of a WireGuard tunnel learn each other's key only by a further pass.
                if report.wireguard_key:
                    engine.apply()
                return None
        return True

    waiting = [""]
    try:
        engine.view.cloud.wait("hosts", "ready", all_ready, seconds, pause=5.0)
    except PendingError as error:
        raise PendingError(f"hosts: not ready after {seconds:g} s: {waiting[0]}; see `provision status`") from error


def status(settings: Settings) -> None:
    """Do ``provision status``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    engine = engine_of(settings, screen)
    engine.read()
    view = engine.view
    rows: list[Resource] = []
    for key, node in view.nodes.items():
        found = view.found.get(key)
        row = _row(key, node.region, "", "missing", "")
        if found:
            row["id"], row["state"] = found.id, _state(found.facts)
            row["zone"], row["zone_id"] = _zone(view, node, found)
            if node.kind == "instance":
                report = host_report(view, found)
                public = found.facts.get("PublicIpAddress", "no public address")
                row["detail"] = f"{found.facts.get('PrivateIpAddress')} {public}; {report.state} {report.text}".rstrip()
            elif node.kind in ("elastic-ip", "accelerator"):
                row["detail"] = outside_address(found)
        rows.append(row)
    rows += [_row(found.key, found.region, found.id, "surplus", "`up` removes it") for found in view.surplus]
    if settings.json:
        screen.result(rows)
    else:
        lines = [
            (row["key"], row["region"], row["zone_id"] or row["zone"], row["id"], row["state"], row["detail"])
            for row in rows
        ]
        screen.table(name_of(settings), ("key", "region", "zone", "id", "state", "detail"), lines)
        _warn(topology_of(settings), engine, screen)
        tell_elsewhere(view, screen)


def _row(key: str, region: str, identity: str, state: str, detail: str) -> Resource:
    return {
        "key": key,
        "region": region,
        "zone": "",
        "zone_id": "",
        "id": identity,
        "state": state,
        "detail": detail,
    }


def _zone(view: View, node: Node, found: Found) -> tuple[str, str]:
    """The zone of a subnet, or of a host, which stands in its subnet's; by name and by id."""
    place = view.found.get(node.spec.subnet) if node.kind == "instance" else found
    facts = place.facts if place is not None and place.kind == "subnet" else {}
    return facts.get("AvailabilityZone", ""), facts.get("AvailabilityZoneId", "")


def _state(facts: Any) -> str:
    state = facts.get("State") or facts.get("Status") or "present"
    return str(state.get("Name") or state.get("Code") if isinstance(state, dict) else state)
