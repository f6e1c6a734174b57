"""What separates the scenarios from the baseline, from the raw requests. Needs the extra ``report``."""

import csv
from pathlib import Path

import numpy as np

from daemons.errors import LatencyError
from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.sides import Side
from experiments.egress.sides import round_trip_side
from experiments.validation.config import Suite

__all__ = ["differences"]


def differences(suite: Suite, folder: Path) -> list[str]:
    """Compare each scenario with the baseline, warm with warm and cold with cold; a sentence for each.

    Round trips are measured with one clock, so no clocks have to agree.
    """
    sentences = []
    for scenario in suite.scenario:
        if scenario.name == suite.baseline:
            continue
        for kind in ("cold", "warm"):
            first, second = (_side(folder, name, kind) for name in (suite.baseline, scenario.name))
            if first is None or second is None:
                sentences.append(f"{kind}: {scenario.name} not compared with {suite.baseline}: no requests on both")
                continue
            try:
                found = compare(first, second, Options(round_trip=True))
            except LatencyError as error:
                sentences.append(f"{kind}: {scenario.name} not compared with {suite.baseline}: {error}")
            else:
                sentences.append(f"{kind}: {found.verdict.sentence}")
    return sentences


def _side(folder: Path, scenario: str, kind: str) -> Side | None:
    file = folder / scenario / f"{kind}.csv"
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as rows:
        totals = [
            float(row["total_ms"])
            for row in csv.DictReader(rows)
            if row["connection"] == kind and not row["reason"] and row["total_ms"]
        ]
    return round_trip_side(scenario, kind, file, np.array(totals)) if totals else None
