"""``python -m benchmarks``: measure, show tables, leave everything in a JSON file."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import (
    accuracy,
    archive,
    budget,
    connections,
    counts,
    latency,
    machine,
    many,
    probe_phases,
    scrape,
    signing,
    startup,
    throughput,
)
from benchmarks.bench import Bench
from benchmarks.contestants import build_native, contestants

__all__: list[str] = []


@dataclass(frozen=True, slots=True)
class Part:
    """One thing measured: ``measure`` returns what goes into the JSON file, ``tables`` shows it.

    Another part is a module with these two functions, and a line in :data:`PARTS`.
    """

    measure: Callable[[Bench], dict[str, Any]]
    tables: Callable[[dict[str, Any]], list[Table]]


PARTS = {
    "startup": Part(startup.measure, startup.tables),
    "latency": Part(latency.measure, latency.tables),
    "throughput": Part(throughput.measure, throughput.tables),
    "many": Part(many.measure, many.tables),
    "signing": Part(signing.measure, signing.tables),
    "scrape": Part(scrape.measure, scrape.tables),
    "accuracy": Part(accuracy.measure, accuracy.tables),
    "budget": Part(budget.measure, budget.tables),
    "connections": Part(connections.measure, connections.tables),
    "counts": Part(counts.measure, counts.tables),
    "archive": Part(archive.measure, archive.tables),
    "probe": Part(probe_phases.measure, probe_phases.tables),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--part", "wanted", multiple=True, type=click.Choice(list(PARTS)), help="Only this part; repeat it.")
@click.option("--contestant", "names", multiple=True, help="Only this contestant; repeat it.")
@click.option("--scale", default=1.0, show_default=True, help="Multiplies the length of every measurement.")
@click.option(
    "--realtime", is_flag=True, help="Real-time priority for what is measured, on a busy machine; needs root."
)
@click.option("--output", default="bench-results", show_default=True, type=click.Path(path_type=Path), help="Folder.")
def main(wanted: tuple[str, ...], names: tuple[str, ...], scale: float, realtime: bool, output: Path) -> None:
    """Measure the forwarder and the receiver beside a native peer, a plain program and a raw relay."""
    console = Console()
    console.width = max(console.width, 132)
    console.print("building the native peer, if cargo is here")
    native = build_native()
    if native is None:
        console.print("[yellow]no cargo: the native peer is left out, and ratios are to the plain program")
    chosen = tuple(one for one in contestants(native) if not names or one.name in names)
    if not chosen:
        raise click.UsageError(f"no contestant of that name; there are {[one.name for one in contestants(native)]}")
    results: dict[str, Any] = {
        "format": "backbone-latency-benchmarks/1",
        "start": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.about(),
        "contestants": {one.name: one.about for one in chosen},
        "scale": scale,
        "realtime": realtime,
    }
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(chosen, Path(folder), scale, realtime, lambda text: console.print(f"[dim]{text}"))
        for name, part in PARTS.items():
            if wanted and name not in wanted:
                continue
            results[name] = part.measure(bench)
            for table in part.tables(results[name]):
                console.print(table)
    results["seconds"] = round(time.monotonic() - begin, 1)
    output.mkdir(parents=True, exist_ok=True)
    file = output / "results.json"
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print(f"{results['seconds']:.0f} s; everything is in {file}")


if __name__ == "__main__":
    main()
