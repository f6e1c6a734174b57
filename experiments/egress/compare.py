"""Compare egress runs with a reference run."""

from daemons.errors import ConfigError
from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison
from experiments.egress.audit import Audit
from experiments.egress.sides import cold_side, warm_side

__all__ = ["compare_runs"]


def compare_runs(audits: list[Audit], reference: str | None) -> list[Comparison]:
    """Compare each run with the reference, warm with warm and cold with cold.

    Args:
        audits: the runs.
        reference: the name of the run to compare with; by default the one whose name says ``baseline``, or the first.
    """
    names = [one.run.name for one in audits]
    if reference is not None and reference not in names:
        raise ConfigError("--reference", f"no run {reference!r}", f"there are {', '.join(names)}")
    chosen = reference or next((name for name in names if "baseline" in name), names[0])
    base = audits[names.index(chosen)]
    options = Options(round_trip=True)
    return [
        compare(side(base), side(one), options) for one in audits if one is not base for side in (warm_side, cold_side)
    ]
