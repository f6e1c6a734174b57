"""Every panel, recording rule and alert by value: what Prometheus answers against what is known to have happened."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitoring import truth, world_truth
from tests.monitoring.backfill import Asked, past
from tests.monitoring.expressions import Expression, alerts, dashboards, filled, panels, queries, rules
from tests.monitoring.history import START
from tests.monitoring.truth import Range
from tests.monitoring.world import ALONE, MOMENTS, PATHS, SECONDS, World, desk
from tests.monitoring.world_truth import ALERTS, RULES, At, Check, Key, firing

PAIRS = {
    "latency:lead_seconds:quantile5m",
    "latency:wins:ratio5m",
    "latency:race_events:increase5m",
    "latency:path:first",
}
"""What test_pairs.py checks, in the panels that show it."""
DAYS = {"latency:jitter_seconds:same_hour", "latency:delay_seconds:p99_same_hour"}
"""What test_days.py checks."""
MONTH = "latency:availability:ratio30d"
"""What the overview shows as it is."""
FIRING = "Alerts that fire"
"""Its rows have labels of their own for every alert."""
OF_TARGETS = ("DaemonDown", "TargetAbsent", "NoTargets", "ThresholdsMissing")


@pytest.fixture(scope="module")
def world() -> World:
    return desk()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, world: World) -> Iterator[Asked]:
    # Another deployment has the same addresses and names, as private networks do.
    histories = [*world.histories.values(), *world.strays.values()]
    others = [copy.copy(history) for history in histories]
    for other in others:
        other.deployment = "other"
    with past(tmp_path_factory.mktemp("values"), [*histories, *others], alerting=True) as prometheus:
        yield prometheus


def _agree(asked: Asked, world: World, moment: float, check: Check, expression: str, where: str) -> None:
    _equal(asked, moment, check, filled(expression, deployment="world"), where, check.truth(At(world, moment)))


def _equal(asked: Asked, moment: float, check: Check, query: str, where: str, true: dict[Key, Range]) -> None:
    found = asked.values(query, moment)
    # Rules and alerts are about all deployments, panels about the one that is chosen.
    about = [own for own in found if dict(own).get("deployment", "world") == "world" or 'deployment="world"' in query]
    known = [own for own in about if not math.isnan(found[own])]
    shown = {tuple(dict(own).get(label, "") for label in check.labels): found[own] for own in known}
    assert len(shown) == len(known), f"{where}: {check.labels} do not tell its series apart"
    if check.partly and true:
        most = max(low for low, _high in true.values())
        true = {labels: true[labels] for labels in shown}
        assert max(shown.values()) > 0.9 * most, where
        assert min(low for low, _high in true.values()) == pytest.approx(0, abs=1e-6), where
    assert shown.keys() == true.keys(), where
    for labels, (low, high) in true.items():
        assert low <= shown[labels] <= high, f"{where} {labels}: {shown[labels]} is not within {low} and {high}"


def test_every_panel_rule_and_alert_is_checked_by_value() -> None:
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            if panel["title"] == FIRING:
                continue
            checks = world_truth.PANELS.get(name, {}).get(panel["title"]) or truth.PANELS[name][panel["title"]]
            assert len(checks) == len(panel["targets"]), f"{name}: {panel['title']}"
    recorded = {
        (rule["record"], frozenset(rule.get("labels", {}).items()))
        for rule in rules()
        if "record" in rule and not rule["record"].startswith("latency:threshold:")
    }
    assert {key for key in recorded if key[0] not in PAIRS | DAYS | {MONTH}} == set(RULES)
    assert set(alerts()) == set(ALERTS)


@pytest.mark.process
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", world_truth.PANELS)
def test_panels_show_what_happened(name: str, moment: str, asked: Asked, world: World) -> None:
    for panel in panels(dashboards()[name]):
        checks = world_truth.PANELS[name].get(panel["title"], [])
        for check, target in zip(checks, panel["targets"] if checks else [], strict=True):
            _agree(asked, world, MOMENTS[moment], check, target["expr"], f"{moment}: {panel['title']}")


@pytest.mark.process
@pytest.mark.parametrize("name", world_truth.PANELS)
def test_of_a_long_time_what_happened_between_two_points_is_shown(name: str, asked: Asked, world: World) -> None:
    # A single point for all of it, as a line of weeks has for ten minutes.
    long = {"__interval": f"{SECONDS - 10:g}s", "__rate_interval": f"{SECONDS - 5:g}s"}
    at = At(world, SECONDS - 10, SECONDS - 5)
    for panel in panels(dashboards()[name]):
        checks = world_truth.PANELS[name].get(panel["title"], [])
        for check, target in zip(checks, panel["targets"] if checks else [], strict=True):
            if "max_over_time" in target["expr"] or "min_over_time" in target["expr"]:
                query = filled(target["expr"], deployment="world", **long)
                true = world_truth.in_five_minutes(check, at) if "[5m])" in query else check.truth(at)
                _equal(asked, at.moment, check, query, panel["title"], true)


@pytest.mark.process
def test_of_a_long_time_each_page_that_began_is_marked(asked: Asked) -> None:
    (annotation,) = dashboards()["latency-overview.json"]["annotations"]["list"]
    step = 345
    marked = {
        (dict(own)["alertname"], dict(own).get("path", ""))
        for moment in (step, 2 * step)
        for own in asked.values(filled(annotation["expr"], deployment="world", __interval=f"{step}s"), moment)
    }
    every = {
        (dict(own)["alertname"], dict(own).get("path", ""))
        for moment in range(5, 2 * step + 5, 5)
        for own in asked.values('ALERTS{alertstate="firing",severity="page",deployment="world"}', moment)
    }
    assert marked == every
    assert len(every) > 5


@pytest.mark.process
def test_a_target_that_two_servers_scrape_is_no_error(world: World, tmp_path: Path) -> None:
    """As a pair of servers writes to one store: the same labels, but for that of the server."""
    until, step = 90.0, 30.0
    histories = []
    for monitor in ("a", "b"):
        for history in world.histories.values():
            seen = copy.copy(history)
            seen.pages = [
                (at, page, {**own, "monitor": monitor}) for at, page, own in history.pages if at - START < until
            ]
            histories.append(seen)
    # A rule that cannot be evaluated is an error here, of all deployments, and so is a panel's query.
    with past(tmp_path, histories, step) as prometheus:
        for query in (*queries(), *(Expression(name, alert["expr"]) for name, alert in alerts().items())):
            prometheus.values(filled(query.text, deployment="world"), until)
        for title, expected in (("What is running", 6), ("Route", 4)):
            shown = _targets_of("latency-health.json" if expected == 6 else "latency-probe.json", title)
            for expression in shown[:-1]:
                assert len(prometheus.values(filled(expression, deployment="world"), until)) == expected, expression
        bounds = prometheus.values('latency:clock_bound_seconds:path{deployment="world"}', until)
        assert len(bounds) == 2 * len(PATHS)


def _targets_of(name: str, title: str) -> list[str]:
    (panel,) = [panel for panel in panels(dashboards()[name]) if panel["title"] == title]
    return [target["expr"] for target in panel["targets"]]


@pytest.mark.process
@pytest.mark.parametrize("moment", MOMENTS)
def test_rules_record_what_happened(moment: str, asked: Asked, world: World) -> None:
    for (record, labels), check in RULES.items():
        matchers = "".join(f',{key}="{value}"' for key, value in labels)
        expression = f'{record}{{deployment="world"{matchers}}}'
        _agree(asked, world, MOMENTS[moment], check, expression, f"{moment}: {expression}")


@pytest.mark.process
@pytest.mark.parametrize("moment", MOMENTS)
def test_limits_are_recorded_as_they_are(moment: str, asked: Asked) -> None:
    for rule in rules():
        if rule.get("record", "").startswith("latency:threshold:"):
            (value,) = asked.values(rule["record"], MOMENTS[moment]).values()
            assert rule["expr"] == f"vector({value:.10g})"


@pytest.mark.process
@pytest.mark.parametrize("moment", MOMENTS)
def test_alerts_hold_for_what_is_wrong_and_for_nothing_else(moment: str, asked: Asked, world: World) -> None:
    for name, check in ALERTS.items():
        _agree(asked, world, MOMENTS[moment], check, alerts()[name]["expr"], f"{moment}: {name}")


@pytest.mark.process
def test_where_nobody_is_asked_any_more_just_that_is_wrong(asked: Asked, world: World) -> None:
    assert set(ALERTS["TargetAbsent"].truth(At(world, ALONE))) == set(world.up(ALONE, 3600))
    for name in OF_TARGETS:
        _agree(asked, world, ALONE, ALERTS[name], alerts()[name]["expr"], f"alone: {name}")


@pytest.mark.process
@pytest.mark.parametrize("moment", MOMENTS)
def test_alerts_that_fire_are_those_whose_time_is_over(moment: str, asked: Asked, world: World) -> None:
    (panel,) = [panel for panel in panels(dashboards()["latency-overview.json"]) if panel["title"] == FIRING]
    shown = [
        dict(own) for own in asked.values(filled(panel["targets"][0]["expr"], deployment="world"), MOMENTS[moment])
    ]
    for name, check in ALERTS.items():
        found = {tuple(own.get(label, "") for label in check.labels) for own in shown if own["alertname"] == name}
        sure, may = firing(At(world, MOMENTS[moment]), name)
        assert sure <= found <= may, f"{moment}: {name}"
    for own in shown:
        paths = " / ".join(own[label] for label in ("path", "reference") if own.get(label))
        of = paths or own.get("target") or own.get("link") or f"{own.get('role', '')} {own.get('host', '')}"
        assert own["of"] == of
    kinds = {own["alertname"] for own in shown}
    assert len(kinds) > 15 if moment == "trouble" else "JitterHigh" not in kinds
