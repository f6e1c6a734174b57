"""How the libraries of an extra come to an installation, by where it lies."""

import importlib.util
from pathlib import Path

import pytest

from daemons.service.distribution import remedy_for


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("/opt/backbone-latency", "build the image of what `make wheelhouse EXTRAS=aws` makes"),
        (
            "/opt/backbone-latency/1.0-abc",
            "install again with systemd/install --extra aws, or of a wheelhouse made with",
        ),
        ("/usr/lib/backbone-latency", "install a package that was made with `make deb EXTRAS=aws`"),
        ("/home/me/venv", "pip install 'backbone-latency[aws]'"),
    ],
)
def test_each_way_of_installation_has_its_own(prefix: str, remedy: str) -> None:
    assert remedy_for("aws", prefix).startswith(remedy)


def test_an_environment_of_a_tool_is_not_what_pip_installs_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a public report has it: a program that pipx installed told its user to `pip install` an extra."""
    place = tmp_path / "my tools"
    place.mkdir()
    assert remedy_for("aws", str(place)) == "pip install 'backbone-latency[aws]'"
    by_uv = f"uv pip install --python '{place}' 'backbone-latency[aws]'"
    (place / "uv-receipt.toml").touch()
    assert remedy_for("aws", str(place)) == by_uv
    (place / "uv-receipt.toml").unlink()
    with monkeypatch.context() as without_pip:
        without_pip.setattr(importlib.util, "find_spec", lambda _name: None)
        assert remedy_for("aws", str(place)) == by_uv
    (place / "pipx_metadata.json").touch()
    assert remedy_for("aws", str(place)) == "pipx inject backbone-latency 'backbone-latency[aws]'"
