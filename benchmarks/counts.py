"""What an event makes a program do, counted and not timed: figures without the machine's noise.

Instructions and cache misses come from callgrind, which simulates both for the program's own code and libraries; what
the kernel does is seen as the number of system calls (strace) and of sleeps (the scheduler's own count). Two loads:
events that come alone, and events in crowds, where one read brings many.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import MIXED, Chain, Contestant, running
from benchmarks.machine import Process

__all__ = ["measure", "tables"]

LOADS = {"alone": (50, 4.0), "in crowds": (40_000, 0.1)}
"""Events a second, and for how long."""
ROLES = ("forwarder", "receiver")
KEYS = ("instructions", "first_level_misses", "last_level_misses", "system_calls", "sleeps")
CACHES = ("--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=262144,8,64")
"""The same caches on every machine, a core's own: 32 KiB for code, 32 KiB for data, and 256 KiB behind both."""
READY_SECONDS = 900.0
"""Some fifty times slower, an interpreter takes its time to begin."""
REST_SECONDS = 600.0
"""And to come to rest after a crowd, at the most."""
MISSES = ("ILmr", "DLmr", "DLmw")
FIRST_LEVEL_MISSES = ("I1mr", "D1mr", "D1mw")


def measure(bench: Bench) -> dict[str, Any]:
    """Return counts an event, by contestant, load and role; without what no instrument here can count."""
    figures: dict[str, Any] = {}
    for tool in ("valgrind", "strace"):
        if shutil.which(tool) is None:
            bench.say(f"counts: no {tool} here: what it counts is left out")
    for contestant in bench.contestants:
        if contestant.busy or contestant.name == MIXED:
            continue
        bench.say(f"counts: {contestant.name}")
        counted: dict[str, Any] = {load: {role: {} for role in ROLES} for load in LOADS}
        if shutil.which("valgrind"):
            _instructions(contestant, bench, counted)
        _calls(contestant, bench, counted)
        figures[contestant.name] = counted
    return figures


def _instructions(contestant: Contestant, bench: Bench, counted: dict[str, Any]) -> None:
    """Count under callgrind: what a load costs beyond what the same time costs without events."""

    def under(role: str) -> list[str]:
        return ["valgrind", "--quiet", "--tool=callgrind", *CACHES, f"--callgrind-out-file={bench.folder / role}"]

    with running(contestant, bench.folder, witness=False, under=under, ready_seconds=READY_SECONDS) as chain:
        at_rest = _used(chain)
        chain.feed(500, 0.2)
        for load, (rate, seconds) in LOADS.items():
            _rest(chain, at_rest)
            _dumped(chain, bench.folder)
            begin = time.monotonic()
            done = chain.feed(rate, seconds)
            _rest(chain, at_rest)
            busy_seconds = time.monotonic() - begin
            busy = _dumped(chain, bench.folder)
            time.sleep(busy_seconds)
            idle = _dumped(chain, bench.folder)
            for role in ROLES:
                of = {name: (busy[role][name] - idle[role][name]) / done["sent"] for name in busy[role]}
                counted[load][role] |= {
                    "instructions": of["Ir"],
                    "first_level_misses": sum(of[name] for name in FIRST_LEVEL_MISSES),
                    "last_level_misses": sum(of[name] for name in MISSES),
                }


def _used(chain: Chain) -> float:
    """Return the CPU time that both programs use in a second."""

    def so_far() -> float:
        return chain.forwarder.cpu_seconds() + chain.receiver.cpu_seconds()

    before = so_far()
    time.sleep(1.0)
    return so_far() - before


def _rest(chain: Chain, at_rest: float) -> None:
    """Wait until both programs have nothing to do but what they do without events."""
    deadline = time.monotonic() + REST_SECONDS
    while _used(chain) > 1.5 * at_rest + 0.02:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not at rest after {REST_SECONDS:.0f} s; is the machine busy with other work?")


def _dumped(chain: Chain, folder: Path) -> dict[str, dict[str, int]]:
    """Return what each program has counted since the last time, and begin again at zero."""
    found = {}
    for role, process in (("forwarder", chain.forwarder), ("receiver", chain.receiver)):
        subprocess.run(["vgdb", f"--pid={process.pid}", "dump"], check=True, capture_output=True, timeout=60)
        [file] = folder.glob(f"{role}.*")
        lines = dict(line.split(": ", 1) for line in file.read_text().splitlines() if ": " in line[:12])
        names, counts = lines["events"].split(), [int(count) for count in lines["totals"].split()]
        # Zeros at the end of a line of counts are left out.
        found[role] = dict(zip(names, counts + [0] * (len(names) - len(counts)), strict=True))
        file.unlink()
    return found


def _calls(contestant: Contestant, bench: Bench, counted: dict[str, Any]) -> None:
    """Count sleeps by the scheduler, then system calls under strace."""
    with running(contestant, bench.folder, witness=False) as chain:
        both = (("forwarder", chain.forwarder), ("receiver", chain.receiver))
        at_rest = _used(chain)
        chain.feed(500, 0.2)
        for load, (rate, seconds) in LOADS.items():
            before = {role: process.wake_ups() for role, process in both}
            sent = chain.feed(rate, seconds)["sent"]
            for role, process in both:
                counted[load][role]["sleeps"] = (process.wake_ups() - before[role]) / sent
        if shutil.which("strace"):
            for load, (rate, seconds) in LOADS.items():
                with _tracing(both, bench.folder) as busy:
                    begin = time.monotonic()
                    sent = chain.feed(rate, seconds)["sent"]
                    _rest(chain, at_rest)
                    busy_seconds = time.monotonic() - begin
                with _tracing(both, bench.folder) as idle:
                    time.sleep(busy_seconds)
                for role in ROLES:
                    of = {name: (count - idle[role].get(name, 0)) / sent for name, count in busy[role].items()}
                    counted[load][role]["system_calls"] = {
                        name: round(calls, 3) for name, calls in of.items() if calls >= 0.01
                    }


@contextmanager
def _tracing(both: tuple[tuple[str, Process], ...], folder: Path) -> Iterator[dict[str, dict[str, int]]]:
    """Count system calls meanwhile; what is given is filled in at the end."""
    found: dict[str, dict[str, int]] = {}
    tracers = {role: _traced(process, folder / f"{role}-calls") for role, process in both}
    try:
        yield found
    finally:
        for tracer in tracers.values():
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=30)
    for role in tracers:
        rows = [line.split() for line in (folder / f"{role}-calls").read_text().splitlines()]
        # Between a head, two rules and a sum.
        found[role] = {name: int(count) for count, name in rows if count.isdecimal() and name != "total"}


def _traced(process: Process, file: Path) -> subprocess.Popen[str]:
    """Attach strace to all threads of a program; returns when it counts."""
    command = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(file), "-p", str(process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    assert "attached" in tracer.stderr.readline()
    return tracer


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show all counts, one table a load."""
    shown = []
    for load in LOADS:
        table = Table(title=f"counted an event that comes {load}: forwarder / receiver", title_justify="left")
        columns = ("contestant", "instructions", "first-level misses", "last-level misses", "system calls", "sleeps")
        for column in columns:
            table.add_column(column, justify="left" if column == "contestant" else "right")
        for name, row in figures.items():
            table.add_row(name, *(_both(row[load], key) for key in KEYS))
        shown.append(table)
    return shown


def _both(found: dict[str, dict[str, Any]], key: str) -> str:
    """The forwarder's figure and the receiver's."""
    words = []
    for role in ROLES:
        figure = found[role].get(key)
        if isinstance(figure, dict):
            figure = sum(figure.values())
        words.append("-" if figure is None else f"{figure:,.0f}" if key == "instructions" else f"{figure:,.2f}")
    return " / ".join(words)
