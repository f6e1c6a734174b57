"""What a comparison prints, to the last digit, and what its JSON says: held against figures written down once.

They were computed by a reader in plain Python, row by row, before an engine took the place of it; jitter, and what
follows from it, when it had become each stream's own.
"""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from experiments.comparison.table import print_comparison
from tests.experiments.comparison.pinned_runs import PINNED, compared

_FOLDER = Path(__file__).with_name("pinned")


def _near(found: Any, expected: Any) -> None:
    """Hold every figure to a part in 10^9: the last bits of a sum depend on how a processor adds."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            _near(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _near(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    else:
        assert found == expected


@pytest.mark.parametrize("name", PINNED)
def test_figures_are_those_that_were_written_down(name: str, tmp_path: Path) -> None:
    found = compared(name, tmp_path)
    console = Console(width=200, file=io.StringIO(), force_terminal=False, highlight=False, color_system=None)
    with console.capture() as printed:
        print_comparison(console, found)
    lines = [line.rstrip() for line in printed.get().rstrip().splitlines()]
    assert lines == (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    _near(json.loads(msgspec.json.encode(found)), json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8")))
