"""Several connections: what it adds to the delay of the first copy that three bring the same, while one is killed.

An exchange in a process of its own sends trades to every connection; those to the first of its three addresses it cuts
as soon as they are a second old. The feed is ours, unchanged; a witness notes the stamp of every copy before they are
merged. What is added is the delivered event's stamp less the least stamp of its copies: how much later than the
earliest connection the feed is. Of a read that brought several events only the last has a stamp of its own, so the
figure is given for those, and for all. Beside it stands the time from the read to the event's delivery, and the same of
a feed of one connection, measured before.
"""

import asyncio
import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from rich.table import Table
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.bench import Bench
from benchmarks.contestants import FORWARDER_CORE, RECEIVER_CORE
from benchmarks.samples import quantiles
from daemons.feed.client import FeedClient
from daemons.feed.connection import FeedConnection
from daemons.feed.feed import Feed
from daemons.feed.settings import FeedFields, FeedSettings
from daemons.reasons import FeedReason, StreamReason
from daemons.records import KERNEL, FeedEvent, Stamp
from daemons.service.log.logs import configure
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock

__all__ = ["measure", "tables"]

RATE = 1_000
SECONDS = 30.0
AGE_SECONDS = 1.0
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def measure(bench: Bench) -> dict[str, Any]:
    """Measure three connections of which one is killed every second, and one connection beside them."""
    bench.say("connections: three, of which one is killed every second")
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_exchange, args=(there,), daemon=True)
    process.start()
    own = os.sched_getaffinity(0)
    configure("console", "error")
    try:
        port = here.recv()
        os.sched_setaffinity(0, {FORWARDER_CORE % (os.cpu_count() or 1)})
        one, three = (uvloop.run(_feed(port, one, SECONDS * bench.scale)) for one in (ADDRESSES[1:2], ADDRESSES))
        return {"one": one, "three": three}
    finally:
        os.sched_setaffinity(0, own)
        process.terminate()
        process.join()


def tables(results: dict[str, Any]) -> list[Table]:
    """Show what is added."""
    table = Table(title=f"connections at {RATE:,} events/s; of three one killed every second", title_justify="left")
    for name in ("µs", "p50", "p99", "p99.9", "max"):
        table.add_column(name, justify="left" if name == "µs" else "right")
    three = results["three"]
    rows = {
        "added to the least of three copies, by exact stamps": three["added"],
        "the same of all events, also by stamps of others": three["added_of_all"],
        "from read to delivery, three connections": three["work"],
        "from read to delivery, one connection": results["one"]["work"],
    }
    for name, row in rows.items():
        figures = (row[key] for key in ("p50_us", "p99_us", "p999_us", "max_us"))
        table.add_row(name, *("–" if value is None else f"{value:.1f}" for value in figures))
    table.caption = (
        f"{three['delivered']:,} delivered, {three['added']['samples']:,} of them with an exact stamp; "
        f"{three['missing']} missing; {three['killed']} times killed"
    )
    table.caption_justify = "left"
    return [table]


async def _feed(port: int, addresses: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Run a feed with a connection to each address; the events of its first and last second are left out."""
    stamper = Stamper(SystemClock())
    await stamper.warm()
    stamps: dict[int, list[int]] = {}
    delivered: dict[int, tuple[int, int]] = {}
    exact: set[int] = set()
    unwitnessed = FeedClient.deliver

    def deliver(self: FeedClient, connection: FeedConnection, events: list[FeedEvent], stamp: Stamp) -> None:
        unwitnessed(self, connection, events, stamp)
        for event in events:
            assert event.event_id is not None
            stamps.setdefault(event.event_id, []).append(stamp.ns)

    def take(events: list[FeedEvent], stamp: Stamp) -> None:
        work_ns = time.time_ns() - stamp.handled_ns
        for event in events:
            assert event.event_id is not None
            delivered[event.event_id] = (stamp.ns, work_ns)
        if stamp.kind is KERNEL and events[-1].event_id is not None:
            exact.add(events[-1].event_id)

    url, fields = f"ws://127.0.0.2:{port}/ws/btcusdt@trade", FeedFields(reconnect_max_seconds=0.05)
    settings = FeedSettings("bench", url, None, fields, addresses=addresses)
    budget = AttemptBudget(attempts=10**6)
    feed = Feed([settings], stamper, random.Random(1), take, connections=len(addresses), budget=budget)
    setattr(FeedClient, "deliver", deliver)  # noqa: B010 a method may not be assigned to plainly
    running = asyncio.ensure_future(feed.run())
    try:
        await asyncio.sleep(seconds)
    finally:
        setattr(FeedClient, "deliver", unwitnessed)  # noqa: B010 likewise
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        stamper.close()
    ids = sorted(delivered)[RATE:-RATE]
    added = {number: delivered[number][0] - min(stamps[number]) for number in ids}
    return {
        "delivered": len(ids),
        "missing": ids[-1] - ids[0] + 1 - len(ids),
        "killed": feed.counts.reconnects[FeedReason.CLOSED] + feed.counts.reconnects[StreamReason.RESET],
        "copies": sum(len(stamps[number]) for number in ids) / len(ids),
        "added": quantiles([added[number] for number in ids if number in exact]),
        "added_of_all": quantiles(list(added.values())),
        "work": quantiles([delivered[number][1] for number in ids]),
    }


def _exchange(parent: Connection) -> None:
    os.sched_setaffinity(0, {RECEIVER_CORE % (os.cpu_count() or 1)})
    uvloop.run(_serve(parent))


async def _serve(parent: Connection) -> None:
    members: set[ServerConnection] = set()

    async def member(connection: ServerConnection) -> None:
        members.add(connection)
        try:
            if connection.local_address[0] == ADDRESSES[0]:
                await asyncio.sleep(AGE_SECONDS)
                connection.transport.abort()
            await connection.wait_closed()
        finally:
            members.discard(connection)

    async with serve(member, "0.0.0.0", 0, compression=None) as server:
        parent.send(next(iter(server.sockets)).getsockname()[1])
        begun, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - begun) * RATE)
            while sent < due:
                sent += 1
                now_us = time.time_ns() // 1000
                text = b'{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1","q":"1"}' % (now_us, sent)
                for connection in random.sample(tuple(members), len(members)):
                    if not connection.transport.is_closing():
                        connection.protocol.send_text(text)
                        connection.send_data()
            await asyncio.sleep(0.001)
