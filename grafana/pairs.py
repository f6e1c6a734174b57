"""PromQL about a pair of paths, whichever way round the receiver keeps it.

A pair's lead is one histogram, of one path over the other; the other direction is that one with its sign turned. Wins
and ``…_path_ahead_seconds_total`` are counted in both directions.
"""

from grafana.board import DEPLOYMENT, PAIR

__all__ = ["ahead", "compared", "late", "lead_buckets", "lead_quantile", "losses", "unseen", "wins"]

_LEAD = "latency_receiver_path_lead_seconds"
_TURNED = DEPLOYMENT + ',path=~"$reference",reference="$racer"'
"""The matchers of :data:`~grafana.board.PAIR` with its roles exchanged."""


def late() -> str:
    """Give 1 where paths race and the recording rules have nothing of it, else nothing.

    The race must be a minute old, for rules come after what they read.
    """
    raced = f"latency_receiver_path_wins_total{{{DEPLOYMENT}}}"
    return (
        f"group(rate({raced}[5m]) > 0) and on () group(rate({raced}[5m] offset 1m) > 0)"
        f" unless on () latency:wins:ratio5m{{{DEPLOYMENT}}}"
    )


def unseen() -> str:
    """Give 1 where no receiver has been scraped for as long as figures look back, else nothing.

    It goes by what every receiver's page has, not by ``up``: a receiver that does not answer is not seen either.
    """
    return f"group(absent_over_time(latency_receiver_clock_synchronized{{{DEPLOYMENT}}}[5m]))"


def wins(window: str) -> str:
    """Give by reference, how many events a second $racer brought earlier."""
    return f"sum by (reference) (rate(latency_receiver_path_wins_total{{{PAIR}}}[{window}]))"


def losses(window: str) -> str:
    """Give by reference, how many events a second it brought earlier than $racer.

    A page's counters are of one moment and its histograms of a later one: only beside these are wins no more than all.
    """
    return _by_reference(f"sum by (path) (rate(latency_receiver_path_wins_total{{{_TURNED}}}[{window}]))")


def ahead(window: str) -> str:
    """Give by reference, the signed sum of the leads of a second."""
    counter = "latency_receiver_path_ahead_seconds_total"
    return (
        f"(sum by (reference) (rate({counter}{{{PAIR}}}[{window}]))"
        f" - {_by_reference(f'sum by (path) (rate({counter}{{{_TURNED}}}[{window}]))')})"
    )


def compared(window: str) -> str:
    """Give by reference, how many events a second both paths brought."""
    own = f"sum by (reference) (rate({_LEAD}_count{{{PAIR}}}[{window}]))"
    turned = f"sum by (path) (rate({_LEAD}_count{{{_TURNED}}}[{window}]))"
    return f"({own} or {_by_reference(turned)})"


def lead_quantile(fraction: float, window: str) -> str:
    """Give by reference, a quantile of $racer's lead: of the lead turned round, it is that of the other tail."""
    own = f"histogram_quantile({fraction}, sum by (reference, le) (rate({_LEAD}_bucket{{{PAIR}}}[{window}])))"
    other_tail = f"{1 - fraction:.10g}"
    turned = f"-histogram_quantile({other_tail}, sum by (path, le) (rate({_LEAD}_bucket{{{_TURNED}}}[{window}])))"
    return f"({own} or {_by_reference(turned)})"


def lead_buckets(window: str) -> str:
    """Give the increases of the buckets of $racer's lead by ``le``, over a range such as ``[5m]``.

    Turned round, the leads up to −b are those above b: all less the bucket of b.
    """
    own = f"sum by (le) (increase({_LEAD}_bucket{{{PAIR}}}{window}))"
    everything = f"sum(increase({_LEAD}_count{{{_TURNED}}}{window}))"
    up_to = f'sum by (le) (increase({_LEAD}_bucket{{{_TURNED},le!="+Inf"}}{window}))'
    above = f"{everything} - on () group_right () {up_to}"
    turned = f'label_replace({above}, "turned", "-$1", "le", "(.*)")'
    turned = f'label_replace({turned}, "turned", "$1", "le", "-(.*)")'
    turned = f'label_replace({turned}, "turned", "0.0", "le", "0(?:.0)?")'
    turned = f'sum by (le) (label_replace({turned}, "le", "$1", "turned", "(.*)"))'
    return f'({own} or {turned} or label_replace({everything}, "le", "+Inf", "", ""))'


def _by_reference(by_path: str) -> str:
    return f'sum by (reference) (label_replace({by_path}, "reference", "$1", "path", "(.*)"))'
