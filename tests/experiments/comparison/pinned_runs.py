"""Result files of every kind that a comparison reads, the same on every machine."""

import random
from collections.abc import Callable
from pathlib import Path

from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison, Metric
from experiments.comparison.sides import choose_sides
from tests.experiments.made import HEADER, SEED_HEADER, START_NS

__all__ = ["PINNED", "compared"]

_EVENTS = 5_000
_VALIDITIES = ["ok"] * 90 + ["without_event_time", "negative", "absurd", "clock_step", "warmup", "delayed"]


def _delay(chance: random.Random, base_ms: float, before: float) -> float:
    """A skewed delay that depends on the one before; uniform numbers alone are the same in every library."""
    return base_ms + 0.7 * (before - base_ms) + 3 * chance.random() ** 4 * chance.random() + 0.2 * chance.random()


def _ours(path: str, seed: int, base_ms: float, *, link: bool, marked: bool = True, named: bool = False) -> list[str]:
    """Rows of a path of two streams, with losses in bursts, repetitions, rows that are no samples and late ones."""
    chance, lines, delay, lost = random.Random(seed), [], base_ms, 0
    for number in range(1, _EVENTS + 1):
        event = START_NS + number * 7_000_000 + number % 1000 * (1 if number % 3 else 1000)
        delay = _delay(chance, base_ms, delay)
        stream = "btcusdt@trade" if number % 3 else "ethusdt@depth"
        lost = lost - 1 if lost else (chance.randrange(4) if chance.random() < 0.01 else 0)
        validity = chance.choice(_VALIDITIES) if marked else "ok"
        if lost:
            continue
        arrival, tokyo = event + round(delay * 1e6), event + 2_000_000 + chance.randrange(90_000)
        if validity == "absurd":
            event, tokyo = event % 10**9, tokyo % 10**9
        timed = validity != "without_event_time"
        identity = f"{number}-{number + 3}" if named else f"{number}"
        lines.append(
            f"{number if link else ''},{event // 10**6 if timed else ''},{tokyo if link else ''},{arrival},"
            f"{f'{(arrival - event) / 1e6:.6f}' if timed else ''},{f'{(arrival - tokyo) / 1e6:.6f}' if link else ''},"
            f"{path},{stream},{identity},{event if timed else ''},{tokyo if link else ''},kernel,{validity},"
            f"{int(validity == 'delayed')}"
        )
        if chance.random() < 0.002:
            lines.append(lines[-1])
    return lines


def _original(seed: int, base_ms: float) -> list[str]:
    chance, lines, delay = random.Random(seed), [], base_ms
    for number in range(1, _EVENTS + 1):
        event_ms = START_NS // 10**6 + number * 7
        delay = _delay(chance, base_ms, delay)
        if chance.random() < 0.003:
            continue
        arrival, tokyo = event_ms * 10**6 + round(delay * 1e6), event_ms * 10**6 + 2_000_000 + chance.randrange(90_000)
        lines.append(
            f"{number},{event_ms},{tokyo},{arrival},{(arrival - event_ms * 10**6) / 1e6:.6f},"
            f"{(arrival - tokyo) / 1e6:.6f}"
        )
    return lines


def _write(file: Path, header: str, lines: list[str], mark: str = "") -> Path:
    file.write_text(mark + "\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def _arrived(line: str) -> int:
    return int(line.split(",")[3])


def _race(folder: Path, *, named: bool = False) -> list[Path]:
    lines = _ours("direct", 1, 215.0, link=False, named=named) + _ours("backbone", 2, 100.0, link=True, named=named)
    return [_write(folder / "race.csv", HEADER, sorted(lines, key=_arrived))]


def _runs(folder: Path) -> list[Path]:
    return [
        _write(folder / "one.csv", HEADER, _ours("backbone", 3, 120.0, link=True)),
        _write(folder / "two.csv", HEADER, _ours("backbone", 4, 120.3, link=True)),
    ]


def _originals(folder: Path) -> list[Path]:
    written = SEED_HEADER.replace("end_to_end_latency_ms", "latency_ms")
    return [
        _write(folder / "baseline.csv", written, _original(5, 215.0)),
        _write(folder / "backbone.csv", SEED_HEADER, _original(6, 215.1), "\ufeff"),
    ]


def _mixed(folder: Path) -> list[Path]:
    """One run with event times in nanoseconds, the other in whole milliseconds."""
    return [
        _write(folder / "fine.csv", HEADER, _ours("backbone", 7, 130.0, link=True, marked=False)),
        _write(folder / "coarse.csv", SEED_HEADER, _original(8, 131.0)),
    ]


PINNED: dict[str, tuple[Callable[[Path], list[Path]], Metric]] = {
    "race": (_race, "end_to_end_ms"),
    "race-of-named-events": (lambda folder: _race(folder, named=True), "backbone_ms"),
    "runs": (_runs, "backbone_ms"),
    "originals": (_originals, "end_to_end_ms"),
    "mixed": (_mixed, "end_to_end_ms"),
}
"""By name: what makes the files of a comparison, and which latency is compared."""


def compared(name: str, folder: Path) -> Comparison:
    """Make the files of a comparison, and compare."""
    files, metric = PINNED[name]
    first, second = choose_sides(files(folder))
    return compare(first, second, Options(metric=metric))
