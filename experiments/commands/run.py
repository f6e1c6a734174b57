"""``experiment run``: a timed comparison, from a look at the set-up to the verdict."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from daemons.errors import ConfigError, LatencyError
from daemons.service.numbers import Number
from daemons.service.screen import screen, sentence
from daemons.service.spans import SPAN, write_span
from experiments.commands.host_options import host_options, inventory_from
from experiments.extra import require_extra
from experiments.folder import new_folder
from experiments.hosts.inventory import Inventory
from experiments.local.simulated import Injected
from experiments.runs.endpoints import Endpoints, RealEndpoints, SimulatedEndpoints
from experiments.runs.manifest import FILE, Manifest, begin, write_manifest
from experiments.runs.preflight import Limits
from experiments.runs.remote import RemoteRun
from experiments.runs.schedule import MODES, Plan
from experiments.runs.session import Session, plan_record

__all__ = ["run_command"]


@click.command("run")
@click.option(
    "--mode",
    type=click.Choice(list(MODES)),
    default="race",
    show_default=True,
    help="race: all paths at once, event by event; blocks: baseline and backbone in turn.",
)
@click.option("--duration", type=SPAN, default="300s", show_default=True, help="Of one block.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Measure so often in a row.")
@click.option("--every", type=SPAN, help="Begin a round every so often: 1h.")
@click.option("--for", "for_", type=SPAN, help="With --every: for so long: 24h.")
@click.option("--simulator", is_flag=True, help="A made-up exchange at known distances instead of real endpoints.")
@click.option("--rate", type=Number(min=1), default=200.0, show_default=True, help="With --simulator: events/s.")
@click.option("--config", "config", type=click.Path(path_type=Path, dir_okay=False), help="The receiver's TOML file.")
@click.option("--feed-url", metavar="URL", help="The exchange's WebSocket, as for latency-receiver.")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream, where the URL names none; repeat it.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust for the feed.")
@click.option("--listen", metavar="HOST:PORT", help="Where the forwarder connects.")
@click.option("--transport", type=click.Choice(["tcp", "udp"]), help="What carries the events.")
@click.option("--key-file", metavar="FILE", help="Shared secret; the forwarder has the same.")
@click.option("--allow", "allowed", multiple=True, metavar="CIDR", help="Where forwarders may come from; repeat it.")
@click.option("--rehearsal", type=SPAN, default="5s", show_default=True, help="How long rates are counted beforehand.")
@click.option("--wait", type=SPAN, default="60s", show_default=True, help="For every path's first event.")
@click.option(
    "--max-clock-error-ms", type=Number(0, min_open=True), default=10.0, show_default=True, help="Of this host."
)
@click.option("--allow-unsynchronized-clock", is_flag=True, help="Measure all the same; the results say so.")
@click.option("--receiver", metavar="HOST", help="Which host measures, where several are receivers.")
@host_options
@click.option("--compare/--no-compare", default=True, show_default=True, help="Compare at the end.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="New or empty.  [default: experiment-DATE-TIME]",
)
def run_command(**flags: Any) -> None:
    """Measure for a while, then say which path is faster and how sure that is.

    A look at the set-up comes first: clock, ports, whether every path brings events, disk, and how many samples to
    expect. Everything goes into one folder, with a manifest; `experiment report FOLDER` makes a page of it. Ctrl-C
    ends the run; what was measured is kept and compared.

    With --deployment or --hosts the receiver's host measures, with the configuration that it has, and the results are
    fetched.

    Exits with 0 when all was measured, 1 when something failed, 3 for an unfit clock, 4 for a port that is taken, 5
    when results cannot be written, and 130 when it was interrupted.
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
    if flags["compare"] and any(block.events for block in manifest.blocks):
        code = conclude_folder(console, folder, manifest, code)
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


def conclude_folder(console: Console, folder: Path, manifest: Manifest, code: int) -> int:
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
        manifest.verdict, of_comparison = conclude(folder, console)
    except LatencyError as error:
        sentence(console, f"not compared: {error}")
        manifest.verdict, of_comparison = f"not compared: {error}", error.exit_code
    manifest.exit_code = code or of_comparison
    write_manifest(folder, manifest)
    return manifest.exit_code
