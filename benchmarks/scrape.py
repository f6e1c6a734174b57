"""What one scrape a second does to the hop's tail."""

import threading
from typing import Any, Self

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import Chain, running
from benchmarks.machine import http_get
from benchmarks.samples import Samples, quantiles

__all__ = ["measure", "tables"]

RATE = 2_000
SECONDS = 4.0
TURNS = 6


def measure(bench: Bench) -> dict[str, Any]:
    """Run the first contestant with and without scrapes in turn."""
    bench.say("one scrape a second")
    ours = next((one for one in bench.contestants if one.our_forwarder), None)
    if ours is None:
        return {}
    quiet: list[dict[str, Any]] = []
    scraped: list[dict[str, Any]] = []
    scrapes = 0
    with running(ours, bench.folder, realtime=bench.realtime) as chain:
        chain.feed(RATE, 1.0)
        for turn in range(TURNS):
            if turn % 2 == 0:
                quiet.append(chain.feed(RATE, SECONDS * bench.scale))
            else:
                with _Scraper(chain) as scraper:
                    scraped.append(chain.feed(RATE, SECONDS * bench.scale))
                scrapes += scraper.scrapes
    samples = Samples.load(chain.samples)

    def over(phases: list[dict[str, Any]]) -> dict[str, Any]:
        delays: list[int] = []
        for done in phases:
            delays += samples.delays_ns(done["first_us"], done["last_us"])
        return quantiles(delays)

    return {"contestant": ours.name, "rate": RATE, "scrapes": scrapes, "without": over(quiet), "with": over(scraped)}


class _Scraper:
    """Fetches both metrics pages once a second."""

    def __init__(self, chain: Chain) -> None:
        assert chain.metrics_ports is not None
        self._ports = chain.metrics_ports
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.scrapes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            for port in self._ports:
                assert "latency_build_info" in http_get(port)
                self.scrapes += 1


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the figures."""
    if not figures:
        return []
    table = Table(
        title=f"{figures['contestant']} at {figures['rate']:,} events/s, {figures['scrapes']} scrapes, µs",
        title_justify="left",
    )
    for column in ("", "p50", "p99", "p99.9", "max"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("without", "with"):
        row = figures[name]
        table.add_row(
            name,
            *("-" if row[key] is None else f"{row[key]:.1f}" for key in ("p50_us", "p99_us", "p999_us", "max_us")),
        )
    return [table]
