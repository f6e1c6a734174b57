"""TCP's own view of links and feeds, as both daemons that have them show it."""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from daemons.stream.tcp_info import TcpAccount

__all__ = ["tcp_families"]


def tcp_families(accounts: Mapping[str, TcpAccount]) -> Iterator[Metric]:
    """Give the families of these connections, by the feed, path or link that they are of.

    Where a feed has several connections, or a path several forwarders, the worst of them shows, and counts are sums.
    """
    gauges = {
        "rtt_ns": GaugeMetricFamily(
            "latency_tcp_rtt_seconds",
            "Smoothed round trip of what we sent, by the kernel (RFC 6298); absent before the first.",
            labels=["side"],
        ),
        "rttvar_ns": GaugeMetricFamily(
            "latency_tcp_rtt_deviation_seconds", "Mean deviation of that round trip.", labels=["side"]
        ),
        "least_rtt_ns": GaugeMetricFamily(
            "latency_tcp_least_rtt_seconds", "Shortest round trip of late, by the kernel.", labels=["side"]
        ),
    }
    reordering = GaugeMetricFamily(
        "latency_tcp_reordering_segments",
        "By how many segments an acknowledgement may be late before TCP takes one for lost; 3 until it has seen more.",
        labels=["side"],
    )
    queue = GaugeMetricFamily(
        "latency_tcp_send_queue_bytes", "Written by us and not acknowledged by the peer.", labels=["side"]
    )
    counters = {
        "retransmitted": CounterMetricFamily(
            "latency_tcp_retransmitted_segments", "Segments that our side sent again.", labels=["side"]
        ),
        "reorderings": CounterMetricFamily(
            "latency_tcp_reorderings", "Times that packets of ours were seen to overtake each other.", labels=["side"]
        ),
        "out_of_order": CounterMetricFamily(
            "latency_tcp_out_of_order_segments",
            "Packets that came before one that should have come first: it was lost or overtaken, and they waited.",
            labels=["side"],
        ),
    }
    for side, account in accounts.items():
        infos = account.now()
        for name, gauge in gauges.items():
            known = [value for info in infos if (value := getattr(info, name)) is not None]
            if known:
                gauge.add_metric([side], max(known) / 1e9)
        if infos:
            reordering.add_metric([side], max(info.reordering for info in infos))
        queue.add_metric([side], account.send_queue_bytes())
        for name, counter in counters.items():
            if (total := account.total(name)) is not None:
                counter.add_metric([side], total)
    yield from (*gauges.values(), reordering, queue, *counters.values())
