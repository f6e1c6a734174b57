"""Ten destinations of one forwarder, and ten paths of one receiver that race: the highest rate without loss.

One chain has both: the forwarder sends each event of the feed ten times, by links of their own, and the receiver takes
each ten times, accounts for every copy, and tells which was first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import Contestant, ours, running
from benchmarks.machine import free_port
from benchmarks.throughput import climb

__all__ = ["measure", "of_paths", "tables"]

PATHS = 10
LADDER = (1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 12_500, 15_000, 20_000, 25_000, 30_000)
"""Events of the feed a second."""


def measure(bench: Bench) -> dict[str, Any]:
    """Return the highest rate of the feed with ten links over UDP, and over TCP."""
    figures: dict[str, Any] = {}
    for transport in ("udp", "tcp"):
        bench.say(f"many: {PATHS} links over {transport.upper()}")
        contestant = of_paths(PATHS, transport, bench.folder)
        with running(contestant, bench.folder, realtime=bench.realtime, witness=False) as chain:
            figures[transport] = climb(chain, LADDER, bench.scale, copies=PATHS)
    return figures


def of_paths(count: int, transport: str, folder: Path, head: str = "") -> Contestant:
    """Give a forwarder and a receiver with so many links between them.

    Args:
        count: of the links.
        transport: ``udp`` or ``tcp``.
        folder: where the configuration files go.
        head: what the receiver's begins with.
    """
    at = [f"127.0.0.1:{free_port()}" for _ in range(count)]
    one = ours(transport, "binary")

    def written(name: str, text: Callable[[int, str], str], head: str = "") -> str:
        file = folder / name
        file.write_text(head + "".join(text(number, address) for number, address in enumerate(at)))
        return str(file)

    def forward(url: str, _to: str, _folder: Path) -> list[str]:
        def destination(_number: int, address: str) -> str:
            return f'[[destination]]\naddress = "{address}"\ntransport = "{transport}"\n'

        file = written(f"{transport}-forwarder.toml", destination, f'[feed]\nurl = "{url}"\n')
        return [*one.forwarder(url, at[0], folder)[:3], "--config", file]

    def receive(_at: str, samples: Path) -> list[str]:
        def path(number: int, address: str) -> str:
            return f'[[path]]\nname = "way {number}"\nkind = "link"\nlisten = "{address}"\ntransport = "{transport}"\n'

        command = one.receiver(at[0], samples)
        return [*command[:3], "--config", written(f"{transport}-receiver.toml", path, head)]

    about = f"one forwarder with {count} destinations, one receiver with {count} paths, binary by {transport.upper()}"
    return Contestant(f"{count} {transport}", about, forward, receive, our_forwarder=True, our_receiver=True)


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show rates, and what an event costs with all its copies."""
    table = Table(title=f"{PATHS} links of one forwarder, {PATHS} racing paths of one receiver", title_justify="left")
    for column in ("links", "events/s of the feed", "copies/s", "CPU µs/event fwd", "CPU µs/event rcv"):
        table.add_column(column, justify="left" if column == "links" else "right")
    for transport, row in figures.items():
        highest = row["highest_rate"]
        table.add_row(
            transport,
            f"< {LADDER[0]:,}" if highest is None else f"{highest:,}",
            "–" if highest is None else f"{highest * PATHS:,}",
            f"{row['forwarder_cpu_us']:.1f}",
            f"{row['receiver_cpu_us']:.1f}",
        )
    return [table]
