"""The rules and configuration files: valid, tested and documented, all of them."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.monitoring.expressions import ROOT, alerts, loaded, rules

FOLDER = ROOT / "prometheus"
pytestmark = pytest.mark.process
TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_and_stays_silent_in_a_test() -> None:
    fired: set[str] = set()
    silent: set[str] = set()
    for file in TESTS:
        for test in loaded(file)["tests"]:
            for case in test.get("alert_rule_test", []):
                (fired if case["exp_alerts"] else silent).add(case["alertname"])
    assert fired == silent == set(alerts())


def test_every_alert_says_how_urgent_it_is_what_is_wrong_and_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert headings == list(dict.fromkeys(headings))
    assert set(headings) == set(alerts())
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in ("page", "ticket"), name
        assert alert["labels"]["layer"] in ("host", "link", "path"), name
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        if name not in ("NoTargets", "ThresholdsMissing"):
            assert "{{" in alert["annotations"]["summary"], name


def test_thresholds_stand_in_one_file_and_each_is_used() -> None:
    names = {rule["record"] for rule in loaded(FOLDER / "rules" / "thresholds.yml")["groups"][0]["rules"]}
    text = "\n".join((FOLDER / "rules" / file).read_text() for file in ("alerts.yml", "recording.yml"))
    assert set(re.findall(r"latency:threshold:\w+", text)) == names


def test_no_two_rules_record_the_same_series() -> None:
    recorded = [(rule["record"], *sorted(rule.get("labels", {}).items())) for rule in rules() if "record" in rule]
    assert len(recorded) == len(set(recorded))


def test_a_quantile_of_no_events_is_not_recorded() -> None:
    for rule in rules():
        quantiles = rule["expr"].count("histogram_quantile(")
        assert quantiles == rule["expr"].count("> -Inf"), f"{rule.get('record')}: NaN is no figure"


def test_rule_tests_take_the_groups_in_the_order_of_the_files() -> None:
    for file in TESTS:
        content = loaded(file)
        groups = {group["name"] for each in content["rule_files"] for group in loaded(file.parent / each)["groups"]}
        assert set(content["group_eval_order"]) == groups, "promtool takes groups that it is not told of in any order"


def test_what_an_inhibition_holds_equal_is_on_every_alert_that_it_starts_from() -> None:
    # A label that neither has is equal to Alertmanager: without this, one alert would keep quiet what is far away.
    fired: dict[str, list[dict[str, str]]] = {}
    for file in TESTS:
        for test in loaded(file)["tests"]:
            for case in test.get("alert_rule_test", []):
                fired.setdefault(case["alertname"], []).extend(each["exp_labels"] for each in case["exp_alerts"])
    for rule in loaded(FOLDER / "alertmanager.yml")["inhibit_rules"]:
        matchers = dict(re.findall(r'(\w+)="([^"]+)"', " ".join(rule["source_matchers"])))
        source = matchers.pop("alertname")
        assert fired[source]
        for labels in fired[source]:
            if matchers.items() <= labels.items():
                assert set(rule["equal"]) <= {name for name, value in labels.items() if value}, source


@pytest.mark.process
def test_promtool_accepts_configuration_and_rules() -> None:
    for file in (FOLDER / "prometheus.yml", *sorted((FOLDER / "remote-write").glob("*.yml"))):
        _run("promtool", "check", "config", *(["--agent"] if file.name.startswith("agent") else []), file)
    _run("promtool", "check", "rules", *sorted((FOLDER / "rules").glob("*.yml")))


@pytest.mark.process
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_promtool_tests_pass(file: Path) -> None:
    _run("promtool", "test", "rules", file)


@pytest.mark.process
def test_amtool_accepts_the_alertmanager_configuration() -> None:
    _run("amtool", "check-config", FOLDER / "alertmanager.yml")


@pytest.mark.process
@pytest.mark.parametrize(
    ("labels", "receiver"), [(["severity=page"], "page"), (["severity=ticket"], "ticket"), ([], "ticket")]
)
def test_pages_and_tickets_go_their_ways(labels: list[str], receiver: str) -> None:
    command = ["amtool", "config", "routes", "test", f"--config.file={FOLDER / 'alertmanager.yml'}"]
    _run(*command, f"--verify.receivers={receiver}", *labels)


def test_what_was_counted_is_told_as_a_whole_number() -> None:
    # Prometheus stretches an increase to its window's ends: four events of one burst are 4.07.
    for name, alert in alerts().items():
        summary = alert["annotations"]["summary"]
        if (
            re.search(r"\{\{ \$value [^}]*\}\} (?:times in|events|errors|delays)", summary)
            and "changes(" not in alert["expr"]
        ):
            assert '$value | printf "%.0f"' in summary, name
