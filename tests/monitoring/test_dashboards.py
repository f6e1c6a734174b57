"""The dashboards: up to date, honest in their arithmetic, and readable."""

import json
import re
from typing import Any

import pytest

from grafana.generate import files
from grafana.panels import NO_RACE, NO_RACE_SEEN, NOTHING
from tests.monitoring.expressions import ROOT, dashboards, loaded, metrics_in, panels, queries, rules

COUNTER = re.compile(r"\b\w+_(?:total|sum|count|bucket)\b")
SELECTOR = re.compile(r"\s*(?:\{[^}]*\})?\s*\[")
OF_QUANTILES = re.compile(
    r"\b(?:avg|sum)(?:_over_time|\s+(?:by|without)\s*\([^)]*\))?\s*\(\s*"
    r"(?:histogram_quantile|latency:\w+:(?:quantile\w*|p\d\w*))"
)
GAUGE = re.compile(r"\b(?P<name>(?:latency[:_][a-z0-9_:]+|up)\b)(?:\{[^}]*\})(?P<window>\[)?")
AT_AN_INSTANT = {
    "latency:lead_seconds:quantile5m": "of either sign: neither the highest nor the lowest is the worst",
    "latency_receiver_clock_offset_seconds": "the same",
    "latency_forwarder_clock_offset_seconds": "the same",
    "latency_receiver_link_clock_offset_seconds": "the same",
}
TEXTS_FOR_NOTHING = {
    *(NOTHING, NO_RACE, NO_RACE_SEEN, "none"),
    *("no HTTPS", "not configured, or no echoes: see Success", "not configured", "unknown: no clock is synchronised"),
}
EXPRESSIONS = [query.text for query in queries()] + [rule["expr"] for rule in rules()]


def test_the_json_is_what_the_python_makes() -> None:
    committed = {file.name: file.read_text() for file in (ROOT / "grafana" / "dashboards").glob("*.json")}
    assert committed == files(), "run `make dashboards`"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counters_are_read_as_rates(expression: str) -> None:
    for counter in COUNTER.finditer(expression):
        if ":" not in counter[0]:
            assert SELECTOR.match(expression, counter.end()), f"lifetime total {counter[0]} in {expression}"


@pytest.mark.parametrize("name", dashboards())
def test_lines_lose_nothing_between_their_points(name: str) -> None:
    for panel in panels(dashboards()[name]):
        if panel["type"] not in ("timeseries", "state-timeline"):
            continue
        for target in panel["targets"]:
            query = target["expr"]
            for series in GAUGE.finditer(query):
                if series["name"] not in AT_AN_INSTANT and not series["name"].startswith("latency:threshold:"):
                    assert series["window"], f"{panel['title']}: {series[0]} is of an instant"
            # What is counted over a time of its own is looked at in all times between two points.
            if "[5m]" in query:
                assert "[$__interval:5m]" in query, panel["title"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_quantiles_are_not_averaged(expression: str) -> None:
    assert not OF_QUANTILES.search(expression), expression


def test_the_checks_of_arithmetic_can_fail() -> None:
    bad = "a_total / b_total"
    assert not SELECTOR.match(bad, next(COUNTER.finditer(bad)).end())
    assert OF_QUANTILES.search("avg by (path) (histogram_quantile(0.99, rate(a_bucket[5m])))")
    assert OF_QUANTILES.search('avg(latency:delay_seconds:quantile5m{quantile="0.99"})')


def test_recorded_series_exist() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expression in EXPRESSIONS:
        assert {name for name in metrics_in(expression) if ":" in name} <= recorded


def test_every_metric_in_the_source_is_documented() -> None:
    documented = re.findall(r"^\| `(latency_\w+)` \|", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    made = re.compile(
        r"(?:(?:Counter|Gauge)MetricFamily|counter|gauge)\(\s*f?\"([^\"]+)\"|HistogramFamily\(\s*f?\"([^\"]+)\""
    )
    found = {
        first or second for file in (ROOT / "daemons").rglob("*.py") for first, second in made.findall(file.read_text())
    }
    assert len(found) > 70
    for name in found:
        # What a program puts before its names stands in braces; that of loops is known when it runs (test_live.py).
        pattern = re.sub(r"\{[^}]*\}", r"\\w+", name) + "(?:_total)?"
        assert any(re.fullmatch(pattern, each) for each in documented), f"{name} is not in docs/monitoring.md"


@pytest.mark.parametrize("name", dashboards())
def test_every_panel_says_what_it_means_and_in_which_unit(name: str) -> None:
    dashboard = dashboards()[name]
    assert name == f"{dashboard['uid']}.json"
    assert dashboard["schemaVersion"] == 41
    assert dashboard["timezone"] == "utc"
    for panel in panels(dashboard):
        assert panel["title"], panel
        assert len(panel["description"]) > 20, panel["title"]
        assert "ood" in panel["description"] or panel["type"] == "table", f"{panel['title']}: what does good look like?"
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        if panel["type"] in ("timeseries", "stat", "barchart", "table"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        if panel["type"] == "heatmap":
            assert panel["options"]["calculate"] is False
            assert panel["options"]["yAxis"]["unit"] == "s"
            assert panel["targets"][0]["format"] == "heatmap"


@pytest.mark.parametrize("name", dashboards())
def test_what_has_gone_is_no_number_of_now(name: str) -> None:
    # Of a range Grafana shows the last value that there was, however long ago.
    shown = [panel for panel in panels(dashboards()[name]) if panel["type"] in ("stat", "table")]
    assert shown
    for panel in shown:
        assert all(target.get("instant") and not target.get("range") for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", dashboards())
def test_the_colours_of_a_heat_map_are_of_events_and_not_of_events_a_second(name: str) -> None:
    for panel in panels(dashboards()[name]):
        if panel["type"] == "heatmap":
            (target,) = panel["targets"]
            assert "increase(" in target["expr"], panel["title"]
            assert "rate(" not in target["expr"], panel["title"]


@pytest.mark.parametrize("name", dashboards())
def test_a_rate_on_an_axis_says_what_it_is_per(name: str) -> None:
    drawn = [panel for panel in panels(dashboards()[name]) if panel["type"] == "timeseries"]
    for panel in drawn:
        rates = [
            target["expr"]
            for target in panel["targets"]
            if re.match(r"sum by \([^)]*\) \(rate\(", target["expr"]) and " / " not in target["expr"]
        ]
        assert not rates or panel["fieldConfig"]["defaults"]["unit"] != "short", f"{panel['title']}: {rates}"


@pytest.mark.parametrize("name", dashboards())
def test_nothing_to_show_is_said_and_is_no_fault(name: str) -> None:
    for panel in panels(dashboards()[name]):
        defaults = panel.get("fieldConfig", {"defaults": {}})["defaults"]
        # Grafana's heat maps and state time lines have no text for it.
        if panel["type"] not in ("heatmap", "state-timeline"):
            assert defaults["noValue"] in TEXTS_FOR_NOTHING, panel["title"]
        if panel["type"] == "table" and len(panel["targets"]) > 1:
            *figures, told = (target["expr"] for target in panel["targets"])
            assert told.startswith(f"label_replace(absent({' or '.join(f'group({each})' for each in figures)})")
        limits = [target["expr"] for target in panel["targets"] if "latency:threshold:" in target["expr"]]
        for limit in limits if panel["type"] == "timeseries" else []:
            assert limit.endswith(f" and on () ({panel['targets'][0]['expr']})"), (
                f"{panel['title']}: a limit of nothing"
            )
        if panel["type"] == "stat":
            first = defaults["thresholds"]["steps"][0]
            # Grafana writes what stands for no value in the colour of the lowest step.
            assert first["color"] == "text", f"{panel['title']}: without a value it is {first['color']}"
        for override in panel["fieldConfig"]["overrides"] if panel["type"] == "table" else []:
            looks = {each["id"]: each["value"] for each in override["properties"]}
            if "thresholds" in looks:
                (missing,) = looks["mappings"]
                assert missing["options"]["match"] == "null"
                assert missing["options"]["result"] == {"text": looks["noValue"], "color": "text"}, panel["title"]


@pytest.mark.parametrize("name", dashboards())
def test_a_name_has_one_colour_on_every_panel(name: str) -> None:
    for panel in panels(dashboards()[name]):
        if panel["type"] in ("timeseries", "barchart"):
            assert panel["fieldConfig"]["defaults"]["color"]["mode"] == "palette-classic-by-name", panel["title"]


@pytest.mark.parametrize("name", dashboards())
def test_no_legend_is_cut(name: str) -> None:
    every = list(panels(dashboards()[name]))
    for panel in (each for each in every if each["type"] == "timeseries"):
        legend, place = panel["options"]["legend"], panel["gridPos"]
        names = {target["legendFormat"] for target in panel["targets"]}
        paths = {each for each in names if "{{path}}" in each or "{{reference}}" in each}
        # A sixth of 1280 pixels has no room for a name of 28 letters.
        if legend["showLegend"]:
            assert place["w"] >= 5 or not paths, f"{panel['title']}: names are cut"
        else:
            assert paths <= {name for other in every for name in _named_in_the_legend(other)}, panel["title"]
        if legend["displayMode"] == "table":
            assert paths <= {"{{path}}", "{{reference}}"}, f"{panel['title']}: figures beside long names are cut"
        else:
            assert not legend["calcs"]


def test_what_tells_a_panel_from_others_comes_first_in_its_title() -> None:
    # A phone cuts titles after some forty letters, and a path's name may have thirty.
    for panel in (each for dashboard in dashboards().values() for each in panels(dashboard)):
        if panel.get("repeat"):
            before, shown, _after = panel["title"].partition(f"${panel['repeat']}")
            assert shown, panel["title"]
            assert len(before) <= len("End to end of "), panel["title"]
        # The path is chosen in the head and the same on each panel.
        assert re.fullmatch(r"[^$]*(\$(path|reference), of )?(\$(path|racer))?", panel["title"]), panel["title"]


def _named_in_the_legend(panel: dict[str, Any]) -> set[str]:
    if panel["type"] != "timeseries" or not panel["options"]["legend"]["showLegend"]:
        return set()
    return {target["legendFormat"] for target in panel["targets"]}


def test_every_figure_of_the_overview_leads_to_what_explains_it() -> None:
    uids = {dashboard["uid"] for dashboard in dashboards().values()}
    for panel in panels(dashboards()["latency-overview.json"]):
        (link,) = panel["links"]
        found = re.match(r"/d/([\w-]+)\?", link["url"])
        assert found is not None, panel["title"]
        assert found[1] in uids - {"latency-overview"}, panel["title"]


@pytest.mark.parametrize("name", dashboards())
def test_panels_fill_the_grid_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboards()[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (max(y for _x, y in taken) + 1), "a hole in the grid"


@pytest.mark.parametrize(
    "name", ["direct", "a" * 21, "a" * 22, "a" * 23, "backbone-frankfurt-singapore", "東京から" * 9]
)
def test_names_in_lists_of_states_are_cut_with_a_sign(name: str) -> None:
    lists = [panel for each in dashboards().values() for panel in panels(each) if panel["type"] == "state-timeline"]
    cuts = {
        re.findall(r', "shown", "([^"]*)", "\w+", "([^"]*)"\)$', target["expr"])[0]
        for panel in lists
        for target in panel["targets"]
        if target["legendFormat"] == "{{shown}}"
    }
    ((template, pattern),) = cuts
    # As label_replace has it: the whole value, or nothing is replaced.
    found = re.fullmatch(pattern, name)
    shown = template.replace("$1", found[1]) if found else name
    assert len(shown) <= 22
    assert shown == name or (shown[0] == "…" and name.endswith(shown[1:]))
    # A name from the configuration is shown no other way.
    names = [target for panel in lists for target in panel["targets"] if "{{path}}" in target["legendFormat"]]
    assert not names


@pytest.mark.parametrize("name", dashboards())
def test_variables_are_defined(name: str) -> None:
    dashboard = dashboards()[name]
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set()
    for panel in panels(dashboard):
        for text in (panel["title"], panel.get("repeat") or "", *(target["expr"] for target in panel["targets"])):
            used |= set(re.findall(r"\$([a-z]+)", text))
    assert used <= defined
    assert defined <= used | {"datasource"}


def test_what_the_linter_is_not_asked_about_exists_and_has_a_reason() -> None:
    config = loaded(ROOT / "grafana" / "dashboards" / ".lint")
    titles = {
        dashboard["title"]: {panel["title"] for panel in panels(dashboard)} for dashboard in dashboards().values()
    }
    for rule, excluded in config["exclusions"].items():
        assert rule.endswith("-rule")
        assert len(excluded["reason"]) > 20
        for entry in excluded.get("entries", []):
            assert entry["panel"] in titles[entry["dashboard"]]


def test_the_overview_fits_a_wall_screen() -> None:
    lowest = max(
        panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboards()["latency-overview.json"]["panels"]
    )
    # 30 pixels and a gap of 8 for each row, in 1080 lines less the two of variables and links.
    assert lowest * 38 + 100 <= 1080


def test_grafana_and_prometheus_agree_on_the_scrape_interval() -> None:
    provisioned = loaded(ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"][0]
    scraped = loaded(ROOT / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert provisioned["jsonData"]["timeInterval"] == scraped


@pytest.mark.parametrize("name", dashboards())
def test_a_variable_is_matched_as_grafana_writes_its_value(name: str) -> None:
    # As a regular expression where several can be chosen, as it is where one is: a path called "a.b (c)" is shown by
    # the right operator alone (Grafana's documentation of Prometheus template variables).
    dashboard = dashboards()[name]
    several = {each["name"]: each.get("multi", False) for each in dashboard["templating"]["list"]}
    assert all(each.get("includeAll", False) == each.get("multi", False) for each in dashboard["templating"]["list"])
    used = re.findall(r'(=~|!~|!=|=)\\"\$\{?(\w+)\}?', json.dumps(dashboard))
    assert len(used) > 5
    assert {(variable, operator) for operator, variable in used} == {
        (variable, "=~" if several[variable] else "=") for _operator, variable in used
    }
