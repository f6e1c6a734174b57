"""PromQL for heat maps: of a histogram's buckets, those in which something is.

A histogram has boundaries for everything that could be, from microseconds to many seconds; drawn whole, what was
measured is a thread in an empty picture.
"""

from collections.abc import Callable

__all__ = ["TAIL", "spread"]

TAIL = 0.001
"""The part of the values, at either end, that a heat map may leave out."""


def spread(buckets: Callable[[str], str]) -> str:
    """Give the increases of those buckets that lie between the outer tails of the dashboard's time range.

    A boundary is a label, which PromQL cannot compare. As the only one of a histogram it becomes a number: the largest
    value of that histogram. The boundary next to each tail's is kept, so that its bucket has both its ends.

    Args:
        buckets: gives increases by ``le`` over a range selector's inside and its modifier, such as ``[5m]``.
    """
    whole = buckets("[$__range] @ end()")
    low, high = (f"histogram_quantile({fraction}, {whole})" for fraction in (TAIL, 1 - TAIL))
    named = f'label_replace({whole}, "bound", "$1", "le", "(.*)")'
    alone = f"group by (bound, le) ({named})"
    number = f'histogram_quantile(1, {alone} or label_replace({alone}, "le", "+Inf", "", ""))'
    number = f'label_replace({number}, "le", "$1", "bound", "(.*)")'
    within = f"{number} >= scalar({low} - 0.1 * abs({low})) <= scalar({high} + 0.1 * abs({high}))"
    # Where the first label is `le`, Grafana writes 0 below the lowest row: one before it keeps it from that.
    return f'label_replace({buckets("[$__rate_interval]")} and on (le) ({within}), "ends", "upper", "", "")'
