"""What ``experiment run`` does."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from daemons.errors import ConfigError, LatencyError
from daemons.service.console.screen import screen, sentence
from daemons.service.extra import require_extra
from daemons.service.settings.spans import write_span
from experiments.commands.host_options import inventory_from
from experiments.folder import new_folder
from experiments.hosts.inventory import Inventory
from experiments.local.simulated import Injected
from experiments.runs.endpoints import Endpoints, RealEndpoints, SimulatedEndpoints
from experiments.runs.manifest import FILE, Manifest, PriceRecord, begin, recorded_prices, write_manifest
from experiments.runs.preflight import Limits
from experiments.runs.remote import RemoteRun
from experiments.runs.schedule import Plan
from experiments.runs.session import Session, plan_record

__all__ = ["run_plan"]


def run_plan(flags: dict[str, Any]) -> None:
    """Measure, compare, print, and end with the exit code.

    Args:
        flags: every option of the command by its name.

    Raises:
        LatencyError: the options contradict each other, or the folder or a host is out of reach.
        SystemExit: at the end, with the exit code.
    """
    plan = Plan(flags["mode"], flags["duration"], flags["repeat"], flags["every"], flags["for_"])
    if flags["compare"]:
        require_extra("compare")
    console = screen()
    with inventory_from(flags) as inventory:
        if inventory is None:
            folder, manifest, code = _run_here(plan, flags, console)
        else:
            folder, manifest, code = _run_there(inventory, flags, console)
    manifest.prices = _prices(flags, console)
    if manifest.prices is not None:
        write_manifest(folder, manifest)
    if flags["compare"] and any(block.events for block in manifest.blocks):
        code = _conclude_folder(console, folder, manifest, code)
    sentence(console, f"Results: {folder} ({FILE} says how it went)")
    sys.exit(code)


def _run_here(plan: Plan, flags: dict[str, Any], console: Console) -> tuple[Path, Manifest, int]:
    """Measure on this machine."""
    endpoints = _endpoints(flags)
    limits = Limits(
        max_clock_error_ms=flags["max_clock_error_ms"],
        allow_unsynchronized=flags["allow_unsynchronized_clock"],
        rehearsal_seconds=flags["rehearsal"],
        wait_seconds=flags["wait"],
    )
    folder = new_folder(flags["output"], "experiment")
    manifest = begin(sys.argv, plan_record(plan), endpoints.record())
    session = Session(plan, endpoints, limits, folder, manifest, console, demand_clock=not flags["simulator"])
    return folder, manifest, asyncio.run(session.run())


def _run_there(inventory: Inventory, flags: dict[str, Any], console: Console) -> tuple[Path, Manifest, int]:
    """Measure on other hosts, and fetch what they found."""
    for name in ("simulator", "config", "feed_url", "streams", "ca_file", "listen", "transport", "key_file", "allowed"):
        if flags[name]:
            flag = {"streams": "--stream", "allowed": "--allow"}.get(name, "--" + name.replace("_", "-"))
            raise ConfigError(flag, "the hosts have their own configuration", "leave it out, or change it there")
    receiver = inventory.of_role("receiver", flags["receiver"])
    spans = {
        "--duration": "duration",
        "--every": "every",
        "--for": "for_",
        "--rehearsal": "rehearsal",
        "--wait": "wait",
    }
    arguments = ["--mode", flags["mode"], "--repeat", str(flags["repeat"])]
    given = {flag: flags[name] for flag, name in spans.items() if flags[name] is not None}
    arguments += _flags({flag: write_span(seconds) for flag, seconds in given.items()})
    arguments += ["--max-clock-error-ms", f"{flags['max_clock_error_ms']:g}"]
    if flags["allow_unsynchronized_clock"]:
        arguments.append("--allow-unsynchronized-clock")
    folder = new_folder(flags["output"], "experiment")
    manifest, code = asyncio.run(RemoteRun(inventory, receiver, arguments, folder, console).run())
    return folder, manifest, code


def _endpoints(flags: dict[str, Any]) -> Endpoints:
    """Turn the flags for the paths into endpoints."""
    feed = _flags({"--feed-url": flags["feed_url"], "--ca-file": flags["ca_file"], "--stream": flags["streams"]})
    names = {"--listen": "listen", "--transport": "transport", "--key-file": "key_file", "--allow": "allowed"}
    link = _flags({flag: flags[name] for flag, name in names.items()})
    if flags["simulator"]:
        if feed or link or flags["config"]:
            given = (feed + link or ["--config"])[0]
            raise ConfigError(given, "the simulator has its own endpoints", "leave it out, or leave out --simulator")
        return SimulatedEndpoints(Injected(rate=flags["rate"]))
    if not flags["config"] and not flags["feed_url"]:
        raise ConfigError(
            "--feed-url",
            "there is nothing to measure",
            "name the exchange, or give --config FILE or --simulator",
        )
    return RealEndpoints(flags["config"], feed, link)


def _flags(given: dict[str, Any]) -> list[str]:
    """Write options as a command line."""
    words = []
    for flag, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            words += [] if one is None else [flag, str(one)]
    return words


def _prices(flags: dict[str, Any], console: Console) -> PriceRecord | None:
    """Give what the paths of a deployment cost a day; None where none is measured, or the table lacks something."""
    if flags["deployment"] is None:
        return None
    from experiments.commands.hunting import priced  # noqa: PLC0415 - it belongs to an extra

    try:
        return priced(flags["topology"] or "backbone")
    except LatencyError as error:
        sentence(console, f"without prices: {error}")
        return None


def _conclude_folder(console: Console, folder: Path, manifest: Manifest, code: int) -> int:
    """Compare what was measured, and add the verdict to the manifest.

    Args:
        console: where to print.
        folder: of the run.
        manifest: its record.
        code: how measuring ended.

    Returns:
        How the whole ends: as measuring did, unless that was well and the comparison is not.
    """
    from experiments.runs.conclusion import conclude  # noqa: PLC0415 - numpy belongs to the extra

    console.print()
    try:
        manifest.verdict, of_comparison = conclude(folder, console, prices=recorded_prices(folder))
    except LatencyError as error:
        sentence(console, f"not compared: {error}")
        manifest.verdict, of_comparison = f"not compared: {error}", error.exit_code
    manifest.exit_code = code or of_comparison
    write_manifest(folder, manifest)
    return manifest.exit_code
