"""The archive for other Prometheus and Grafana installations: complete, always the same, good by their own tools."""

import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from grafana.archive import ROOT, archive
from tests.monitoring.expressions import dashboards, panels


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    with tarfile.open(archive(tmp_path / "dist")) as tar:
        # Our own; Debian 12's Python has no filters yet.
        tar.extractall(tmp_path / "elsewhere")
    (folder,) = (tmp_path / "elsewhere").iterdir()
    return folder


def test_it_has_all_and_its_readme_names_what_is_there(unpacked: Path) -> None:
    assert {path.name for path in (unpacked / "dashboards").glob("*.json")} == set(dashboards())
    rules = {path.name for path in (ROOT / "prometheus/rules").iterdir()}
    assert {path.name for path in (unpacked / "prometheus/rules").iterdir()} == rules
    readme = (unpacked / "README.md").read_text()
    for named in re.findall(r"`((?:dashboards|prometheus|provisioning)/[^` ]*)`", readme):
        assert (unpacked / named).exists(), named


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    assert archive(tmp_path / "one").read_bytes() == archive(tmp_path / "two").read_bytes()


@pytest.mark.process
def test_promtool_has_nothing_to_say_about_what_was_unpacked(unpacked: Path) -> None:
    rules = sorted(map(str, (unpacked / "prometheus/rules").glob("*.yml")))
    config = str(unpacked / "prometheus/prometheus.yml")
    for command in (["rules", "--lint=all", "--lint-fatal", *rules], ["config", config]):
        done = subprocess.run(["promtool", "check", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def variables(dashboard: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in dashboard["templating"]["list"] if one["type"] == kind]


@pytest.mark.parametrize("name", dashboards())
def test_the_rules_of_grafanas_own_linter_hold(name: str) -> None:
    """Those of grafana/dashboard-linter (docs/rules), which cannot be installed from a package index.

    What is left out on purpose stands, with reasons, in ``grafana/dashboards/.lint``, which it reads itself.
    """
    dashboard = dashboards()[name]
    assert dashboard["editable"] is False
    (source,) = variables(dashboard, "datasource")
    assert (source["name"], source["query"], source["label"].lower()) == ("datasource", "prometheus", "data source")
    for variable in variables(dashboard, "query"):
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["refresh"] == 2, "read again when the time range changes"
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        for target in panel["targets"]:
            windows = re.findall(r"\b(?:i?rate|increase)\((?:[^()\[]|\{[^}]*\})*\[([^\]]+)\]", target["expr"])
            # Fixed windows: what a title says, what is of an instant, and hours summed up from minutes.
            fixed = set(windows) - {"$__rate_interval", "$__range"}
            titled = re.search("in 5 minutes|by hour$", panel["title"]) is not None
            assert not fixed or titled or target.get("instant"), (panel["title"], fixed)
