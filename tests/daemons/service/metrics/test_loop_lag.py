import asyncio
import time

from daemons.service.metrics.loop_lag import LoopLag


def _samples(lag: LoopLag) -> dict[str, float]:
    (family,) = lag.collect()
    return {sample.name + sample.labels.get("le", ""): sample.value for sample in family.samples}


def test_a_held_up_loop_shows() -> None:
    async def scenario() -> dict[str, float]:
        lag = LoopLag("receiver", period_seconds=0.1)
        await asyncio.sleep(0)
        # Blocking is the point: two periods pass in which the loop serves nothing.
        time.sleep(0.2)  # noqa: ASYNC251
        # Turns of the loop, for which the lag's timer is due, and no time in which it becomes due once more.
        for _turn in range(3):
            await asyncio.sleep(0)
        return _samples(lag)

    samples = asyncio.run(scenario())
    assert samples["latency_event_loop_lag_seconds_count"] == 1
    assert samples["latency_event_loop_lag_seconds_sum"] > 0.09
    assert samples["latency_event_loop_lag_seconds_bucket0.0625"] == 0
    assert samples["latency_event_loop_lag_seconds_bucket+Inf"] == 1
