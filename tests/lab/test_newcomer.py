"""The README's commands on machines that have nothing but what it says is assumed, as root and as an ordinary user."""

from pathlib import Path

import pytest

from tests.lab.newcomer import obey

# Each makes an environment and runs the units in it: minutes that CI does not have.
pytestmark = [pytest.mark.lab, pytest.mark.exhaustive]


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
@pytest.mark.parametrize("root", [True, False])
def test_the_demo_on_a_minimal_debian(tmp_path: Path, suite: str, root: bool) -> None:
    assert "events unaccounted for: 0." in obey(tmp_path, suite, "make demo", root=root)


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
@pytest.mark.parametrize("root", [True, False])
def test_the_units_on_a_minimal_debian(tmp_path: Path, suite: str, root: bool) -> None:
    # A half for each of two cores.
    assert obey(tmp_path, suite, "make unit", root=root).count(" passed") == 2
