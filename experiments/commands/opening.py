"""What ``experiment doors`` does."""

import asyncio
import contextlib
import ipaddress
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
import uvloop
from rich.console import Console

from daemons.configuration.feed import feed_settings
from daemons.errors import ConfigError, ResultsError
from daemons.feed.endpoints import DEFAULT_STREAMS, shown, streams_in
from daemons.feed.settings import FeedFields, FeedSettings
from daemons.feed.streams import stream_of
from daemons.records import Numbering
from daemons.service.console.display import Display
from daemons.service.console.screen import screen, sentence
from daemons.service.settings.config import Address, address
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from experiments.doors.blocks import RacedBlock
from experiments.doors.finding import DNS_PORT, SYSTEM, Finder
from experiments.doors.model import DoorsRun
from experiments.doors.race import BY_HAND, DoorRace, RaceOptions
from experiments.doors.record import begin, fill, now_text, write_blocks, write_run
from experiments.doors.table import line, print_answer, table
from experiments.folder import new_folder

__all__ = ["race_doors"]

UNDECIDED, NOTHING = 9, 1
_LINE_SECONDS = 10.0
_SHOW_SECONDS = 1.0


def race_doors(flags: dict[str, Any]) -> None:
    """Race, print, and end with the exit code.

    Args:
        flags: every option of the command by its name.

    Raises:
        LatencyError: an option is wrong, the name has no address, or the folder cannot be written.
        SystemExit: at the end, with the exit code.
    """
    _no_rows(flags["url"])
    settings = _settings(flags)
    addresses = [_literal(BY_HAND, text) for text in flags["addresses"]]
    finder = _finder(settings[0].url, flags)
    options = RaceOptions(
        connections=flags["connections"],
        block_seconds=flags["block_seconds"],
        duration_seconds=flags["duration"],
        confidence=flags["confidence"],
        margin_ms=flags["margin_ms"],
    )
    to_stdout = flags["json_output"] == "-"
    console = screen(errors=to_stdout)
    folder = new_folder(flags["output"], "doors")
    run = begin(sys.argv, shown(settings[0].url), [name for one in settings for name in one.streams], options)
    uvloop.run(_race(settings, finder, addresses, options, run, folder, console))
    print_answer(console, run)
    sentence(console, f"Results: {folder}; experiment report {folder} makes a page of them")
    if flags["json_output"] is not None:
        _write_json(flags["json_output"], run)
    sys.exit({"undecided": UNDECIDED, "nothing": NOTHING}.get(run.outcome, 0))


def _no_rows(url: str) -> None:
    """Refuse an archive or a run in the place of the URL.

    Raises:
        ConfigError: it is one.
    """
    if url.startswith("s3://") or Path(url).exists():
        raise ConfigError(
            "URL",
            f"{url!r} has rows of paths, which do not say by which door they came",
            "give the feed's wss:// URL to race its doors now; compare, report and hunt ask rows that were recorded",
        )


async def _race(
    settings: tuple[FeedSettings, ...],
    finder: Finder,
    addresses: list[str],
    options: RaceOptions,
    run: DoorsRun,
    folder: Path,
    console: Console,
) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    stamper = Stamper(SystemClock())
    race = DoorRace(settings, finder, addresses, options, stamper, random.Random())
    display = Display(console, transient=True)
    said = shown = time.monotonic()
    news = 0

    def look(judged: list[RacedBlock]) -> None:
        nonlocal said, shown, news
        if not judged and time.monotonic() - shown < _SHOW_SECONDS:
            return
        shown = time.monotonic()
        fill(run, race)
        if judged:
            write_blocks(folder, run, race, judged)
            write_run(folder, run)
        fresh, news = race.news[news:], len(race.news)
        for one in fresh:
            text = f"{one.address}: {one.what}"
            if display.moves:
                display.above(text)
            else:
                sentence(console, text)
        if display.moves:
            display.update(partial(table, run, console))
        elif time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            sentence(console, line(run))

    try:
        await stamper.warm()
        with display if display.moves else contextlib.nullcontext():
            run.ended_by = await race.run(told, look)
    finally:
        stamper.close()
        run.end = now_text()
        write_run(folder, run)


def _settings(flags: dict[str, Any]) -> tuple[FeedSettings, ...]:
    """Check what the feed needs.

    Raises:
        ConfigError: the URL, a stream, the key or a file is unusable, or no stream has ids to race by.
    """
    fields = FeedFields(
        url=flags["url"],
        streams=flags["streams"] or DEFAULT_STREAMS,
        source_address=flags["source_address"],
        interface=flags["interface"],
        ca_file=flags["ca_file"],
        encoding=flags["encoding"],
        api_key_file=flags["api_key_file"],
    )
    settings = feed_settings("doors", "doors", fields)
    named = [stream_of(name) for one in settings for name in streams_in(one.url)]
    if all(stream is None or stream.kind.numbering is Numbering.NONE for stream in named):
        raise ConfigError("--stream", "no event of these has an id to be compared by", "add one such as btcusdt@trade")
    return settings


def _finder(url: str, flags: dict[str, Any]) -> Finder:
    parts = urlsplit(url)
    assert parts.hostname is not None  # checked when the URL was built
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    asked = [text for text in dict.fromkeys(flags["resolvers"]) if text != SYSTEM]
    if flags["only_address"] and not flags["addresses"]:
        raise ConfigError("--only-address", "there is no --address", "name two doors or more")
    if flags["only_address"] and flags["resolvers"]:
        raise ConfigError("--resolver", "nobody is to be asked (--only-address)", "leave one of both out")
    system = not flags["only_address"] and (SYSTEM in flags["resolvers"] or not asked)
    return Finder(parts.hostname, port, [_resolver(text) for text in asked], system=system)


def _resolver(text: str) -> Address:
    """Read ``ADDRESS`` or ``ADDRESS:PORT``."""
    try:
        return str(ipaddress.ip_address(text.strip("[]"))), DNS_PORT
    except ValueError:
        host, port = address("--resolver", text)
        return _literal("--resolver", host), port


def _literal(where: str, text: str) -> str:
    """Read an address, and write it as everybody does, so that one door has one name.

    Raises:
        ConfigError: it is none.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ConfigError(where, f"{text!r} is no IP address", "write an address, not a name") from error


def _write_json(where: str, run: DoorsRun) -> None:
    text = msgspec.json.format(msgspec.json.encode(run), indent=2)
    if where == "-":
        click.echo(text)
        return
    try:
        Path(where).write_bytes(text + b"\n")
    except OSError as error:
        raise ResultsError(f"{where}: cannot be written: {error.strerror}; give another --json") from error
