"""The forwarder's page while events come: what belongs together is of one moment."""

import asyncio

from daemons.configuration.forwarder import ForwarderConfig
from daemons.feed.settings import FeedFields
from daemons.forwarder.program import Forwarder
from daemons.link.sending.settings import DestinationSection
from daemons.records import Stamp, StampKind
from daemons.service.settings.config import MetricsSection
from tests.daemons.made import feed_event


def test_events_between_the_families_of_a_page_do_not_part_its_books() -> None:
    asyncio.run(scraped())


async def scraped() -> None:
    config = ForwarderConfig(
        feed=FeedFields(url="ws://127.0.0.1:1"),
        metrics=MetricsSection(listen=""),
        drain_seconds=0.01,
        destination=(
            DestinationSection(address="127.0.0.1:1"),
            DestinationSection(address="127.0.0.1:2", transport="udp", buffer_events=30),
        ),
    )
    forwarder = Forwarder(config, lambda: config)
    stamp = Stamp(1, StampKind.KERNEL, 1, 1)
    seen: dict[str, float] = {}
    for _scrape in range(3):
        seen.clear()
        for family in forwarder.collector.collect():
            for sample in family.samples:
                key = f"{sample.name} {sample.labels.get('link', '')}"
                seen[key] = seen.get(key, 0) + sample.value
            # As when the page gives way: what is on it already stays as it is.
            forwarder.on_events([feed_event("btcusdt@trade", number) for number in range(7)], stamp)
        for link in ("127.0.0.1:1", "127.0.0.1:2"):
            dropped = seen[f"latency_forwarder_events_dropped_total {link}"]
            forwarded = seen[f"latency_forwarder_events_forwarded_total {link}"]
            waiting = seen[f"latency_forwarder_buffer_events {link}"]
            assert seen["latency_forwarder_events_received_total "] == forwarded + dropped + waiting
    assert seen["latency_forwarder_events_dropped_total 127.0.0.1:2"] > 0
    await forwarder.stop()
