"""A forwarder's link and a receiver's port over loopback: departures follow their events, and the parts add up."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest
import uvloop
from msgspec.structs import replace

from daemons.formats.rows import Row
from daemons.link.messages import Transport
from daemons.link.sending.sender import LinkSender
from daemons.link.sending.settings import DestinationSection, LinkSettings
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures, Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.measurement.segments import SEGMENTS, TOTAL
from daemons.receiver.forwarders import Forwarders
from daemons.records import KERNEL, UNKNOWN_CLOCK, Stamp
from daemons.secret import Secret
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.link.listening import Here, listener_settings
from tests.daemons.made import feed_event
from tests.daemons.waiting import until

SECRET = Secret(b"k" * 32)


def histogram(*_labels: str) -> BucketHistogram:
    return BucketHistogram(octaves(-20, 4))


def account_of(rows: list[Row], live: dict[str, BucketHistogram]) -> PathAccount:
    instruments = Instruments(
        end_to_end=histogram,
        backbone=histogram,
        delayed=histogram(),
        host_delay=histogram(),
        segments=lambda name: live.setdefault(name, histogram()),
    )
    return PathAccount(
        "backbone", 0, link=True, instruments=instruments, figures=Figures(), row=rows.append, wall_ns=time.time_ns
    )


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("key", [None, SECRET], ids=["open", "signed"])
@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_departures_follow_their_events_and_the_parts_add_up(
    transport: Transport, key: Secret | None, run: Callable[[Any], None]
) -> None:
    async def work() -> None:
        stamper = Stamper(SystemClock())
        assert await stamper.warm()
        rows: list[Row] = []
        live: dict[str, BucketHistogram] = {}
        account = account_of(rows, live)
        settings = listener_settings(keys=() if key is None else (key,))
        here = Here(stamper, Forwarders(account, settings, histogram(), lambda: UNKNOWN_CLOCK), settings)
        hold_kernel = histogram()
        carried: Literal["tcp", "udp"] = "udp" if transport is Transport.UDP else "tcp"
        section = DestinationSection(address=f"127.0.0.1:{here.port}", transport=carried)
        link = LinkSettings(section, "127.0.0.1", here.port, key=key)
        sender = LinkSender(link, 7, stamper, random.Random(1), histogram(), hold_kernel, lambda: UNKNOWN_CLOCK)
        running = asyncio.ensure_future(sender.run())
        await until(lambda: sender.connected)
        segments = account.segments
        assert segments is not None
        sequence = 0
        async with asyncio.timeout(300):
            while segments.measured < 3:
                now_ns = time.time_ns()
                sequence += 1
                event = replace(feed_event("btcusdt@trade", sequence), event_time_ns=now_ns - 7_000_000)
                sender.offer(
                    sequence, [event], Stamp(now_ns - 2_000_000, KERNEL, now_ns, time.monotonic_ns() - 2_000_000)
                )
                await asyncio.sleep(0.01)
        assert sender.counts.sampled >= segments.measured
        assert hold_kernel.count == sender.counts.sampled
        assert not segments.refused
        figures = segments.figures
        assert {name: one.count for name, one in figures.items()} == dict.fromkeys(
            (*SEGMENTS, TOTAL), segments.measured
        )
        means = {name: one.mean or 0.0 for name, one in figures.items()}
        assert sum(mean for name, mean in means.items() if name != TOTAL) == pytest.approx(means[TOTAL], abs=1)
        assert figures["feed"].minimum == figures["feed"].maximum == 5_000_000
        assert (figures["hold_user"].minimum or 0) >= 2_000_000
        assert all(live[name].count == segments.measured for name in SEGMENTS)
        sampled = [row for row in rows if row.departure_ns is not None]
        assert len(sampled) == sequence
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await here.close()
        stamper.close()

    run(work())
