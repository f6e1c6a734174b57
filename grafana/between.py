"""PromQL for lines of any length of time: what happens between two of their points is in the picture, too.

A line has a point for each pixel or so: those of an hour are seconds apart, those of a week ten minutes. The value of
one instant says nothing of the ten minutes before it, and what was down or counted in them would be in no picture.
"""

__all__ = ["highest", "lowest", "most"]


def highest(metric: str, matchers: str) -> str:
    """Give the highest value of each series since the point before."""
    return f"max_over_time({metric}{{{matchers}}}[$__rate_interval])"


def lowest(metric: str, matchers: str) -> str:
    """Give the lowest value of each series since the point before: of a state the worst."""
    return f"min_over_time({metric}{{{matchers}}}[$__rate_interval])"


def most(count: str) -> str:
    """Give the largest of the counts of five minutes since the point before.

    Each five minutes by the clock that end in between are looked at, and so every event is in one of them; where none
    end, as between most points of a short time, it is the count at the point.

    Args:
        count: an expression over windows of ``[5m]``.
    """
    return f"(max_over_time(({count})[$__interval:5m]) or {count})"
