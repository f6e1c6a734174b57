"""Every figure about a pair of paths, by value: both orders of the configuration, both signs, one to ten paths."""

import itertools
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from grafana.panels import NO_RECEIVER, NO_RIVAL, RULES_LATE
from tests.monitoring.backfill import Asked, past
from tests.monitoring.expressions import dashboards, filled, panels
from tests.monitoring.history import History, Way, receiver_history
from tests.monitoring.truth import PANELS, Case, Check, Found

pytestmark = pytest.mark.process

MOMENT = 420.0


def _way(name: str, base_ms: float, spread_ms: float) -> Way:
    def delay(_moment: float, rng: random.Random) -> float:
        return (base_ms + rng.uniform(0, spread_ms)) / 1e3

    return Way(name, "link" if name.startswith("link") else "feed", delay)


# Leads of both signs in one pair, too: the spreads overlap.
LINK, SLOW_LINK = _way("link", 100, 6), _way("link-slow", 131, 12)
FEED, NEAR_FEED = _way("direct", 118, 15), _way("near", 104, 9)
TEN = [_way(f"{'link' if index % 3 == 0 else 'feed'}-{index}", 80 + index * 7 % 31, 9) for index in range(10)]
PLACES: dict[str, list[Way]] = {
    "feed alone": [FEED],
    "link alone": [LINK],
    "feed first": [FEED, LINK],
    "link first": [LINK, FEED],
    "slow link first": [SLOW_LINK, FEED],
    "two feeds": [FEED, NEAR_FEED],
    "two feeds turned": [NEAR_FEED, FEED],
    "two links": [LINK, SLOW_LINK],
    "two links turned": [SLOW_LINK, LINK],
    "two of each": [LINK, FEED, SLOW_LINK, NEAR_FEED],
    "two of each turned": [NEAR_FEED, SLOW_LINK, FEED, LINK],
    "ten": TEN,
}
# Ten paths are 45 pairs: every half minute will do.
SCRAPE = dict.fromkeys(PLACES, 5.0) | {"ten": 30.0}


@pytest.fixture(scope="module")
def histories() -> dict[str, History]:
    return {
        name: receiver_history(name, ways, seconds=MOMENT + 5, rate=6, scrape_seconds=SCRAPE[name])
        for name, ways in PLACES.items()
    }


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, histories: dict[str, History]) -> Iterator[Asked]:
    with past(tmp_path_factory.mktemp("pairs"), list(histories.values()), evaluate_seconds=30) as prometheus:
        yield prometheus


def _cases(history: History) -> Iterator[Case]:
    """Every choice that the race dashboard offers."""
    window = 4 * history.scrape_seconds
    nothing = Case(history, MOMENT, window=window)
    yield nothing
    for path, group in itertools.groupby(nothing.pairs(), lambda pair: pair[0]):
        # Of ten paths those at both ends and two between: the others are asked for as these are.
        if len(nothing.paths) > 4 and path not in ("feed-1", "feed-8", "link-0", "link-6"):
            continue
        yield Case(history, MOMENT, racer=path, window=window)
        for _path, reference in group:
            yield Case(history, MOMENT, racer=path, reference=reference, window=window)


def _shown(asked: Asked, case: Case, expression: str, labels: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    text = filled(
        expression,
        deployment=case.history.deployment,
        racer=case.racer,
        reference=case.reference or ".+",
        __rate_interval=f"{case.window:g}s",
        __range=f"{case.span:g}s",
    )
    found = asked.values(text, case.moment)
    shown = {tuple(dict(own).get(label, "") for label in labels): value for own, value in found.items()}
    assert len(shown) == len(found), f"{labels} do not tell the series of this apart: {text}"
    return {key: value for key, value in shown.items() if not math.isnan(value)}


def _agree(shown: dict[tuple[str, ...], float], truth: Found, where: str) -> None:
    assert shown.keys() == truth.keys(), where
    for labels, (low, high) in truth.items():
        assert low <= shown[labels] <= high, f"{where} {labels}: {shown[labels]} is not within {low} and {high}"


def _queries(name: str, title: str) -> Iterator[tuple[Check, str]]:
    (panel,) = [panel for panel in panels(dashboards()[name]) if panel["title"] == title]
    yield from zip(PANELS[name][title], (target["expr"] for target in panel["targets"]), strict=True)


@pytest.mark.parametrize("place", PLACES)
def test_the_race_shows_the_truth_for_every_path_and_every_other(
    place: str, asked: Asked, histories: dict[str, History]
) -> None:
    for case in _cases(histories[place]):
        if not case.racer:
            continue
        for title in PANELS["latency-race.json"]:
            if "$reference" in title and not case.reference:
                continue
            for check, expression in _queries("latency-race.json", title):
                shown = _shown(asked, case, expression, check.labels)
                truth = check.of_shown(case, shown) if check.of_shown else check.truth(case)
                _agree(shown, truth, f"{place}: {title} ({case.racer}, {case.reference})")


@pytest.mark.parametrize("place", PLACES)
def test_the_overview_tells_who_wins_whatever_the_order(
    place: str, asked: Asked, histories: dict[str, History]
) -> None:
    case = Case(histories[place], MOMENT)
    for title in PANELS["latency-overview.json"]:
        for check, expression in _queries("latency-overview.json", title):
            _agree(_shown(asked, case, expression, check.labels), check.truth(case), f"{place}: {title}")


@pytest.mark.parametrize("place", PLACES)
def test_the_race_offers_every_path(place: str, asked: Asked, histories: dict[str, History]) -> None:
    case = Case(histories[place], MOMENT)
    variables = {each["name"]: each for each in dashboards()["latency-race.json"]["templating"]["list"][1:]}
    offered = {}
    for name in ("racer", "reference"):
        query = re.fullmatch(r"(label_values|query_result)\((.*)\)", variables[name]["query"]["query"])
        assert query is not None
        # What Grafana makes of an answer to a whole query is found by an expression; of series, it asks for a label.
        selector, label = (query[2], name) if query[1] == "query_result" else query[2].rsplit(",", 1)
        assert (variables[name].get("regex") or "") == ("" if label != name else f'/{name}="([^"]*)"/')
        text = filled(selector, deployment=place, racer=case.paths[0])
        offered[name] = {dict(labels)[label] for labels in asked.values(text, MOMENT)}
    # Titles name both, and a path that is alone has to be told to be.
    assert offered == {"racer": set(case.paths), "reference": set(case.paths[1:]) or {NO_RIVAL}}


def test_where_no_receiver_is_scraped_nothing_is_said_of_a_race(asked: Asked, histories: dict[str, History]) -> None:
    """One ended six minutes ago; of another deployment Prometheus never had any."""
    gone, never = histories["link first"], History("elsewhere", 5)
    for history, moment in ((gone, MOMENT + 365), (never, MOMENT)):
        for title in ("First", "by (median)", "by (99 %)", "for"):
            *figures, (_check, expression) = _queries("latency-overview.json", title)
            assert all(not _shown(asked, Case(history, moment), figure, ("path",)) for _check, figure in figures)
            (told,) = _shown(asked, Case(history, moment), expression, ("of",)).items()
            assert told == (("scraped:",), NO_RECEIVER.value), title
        *_figures, (_check, expression) = _queries("latency-race.json", "Who is earlier than whom, the last 5 minutes")
        assert list(_shown(asked, Case(history, moment), expression, ("path",))) == [(NO_RECEIVER.text,)]
    # Where nobody evaluates rules, that no alert fires is not told either.
    shown = {panel["title"]: panel["targets"] for panel in panels(dashboards()["latency-overview.json"])}
    for asks in shown["Alerts"]:
        assert list(_shown(asked, Case(never, MOMENT), asks["expr"], ()).values()) == [0.0]
        assert list(_shown(asked, Case(never, MOMENT + 365), asks["expr"], ()).values()) == [RULES_LATE.value]
    (asks,) = shown["Alerts that fire"]
    assert list(_shown(asked, Case(never, MOMENT + 365), asks["expr"], ("alertname",))) == [(RULES_LATE.text,)]


def test_a_race_whose_rules_are_late_is_no_missing_race(tmp_path: Path, histories: dict[str, History]) -> None:
    """Recorded until a minute and a half, asked five minutes and a half later: nothing recorded is recent enough."""
    raced, alone = histories["link first"], histories["feed alone"]
    with past(tmp_path, [raced, alone], evaluate_seconds=30, recorded_until=90) as late:
        for name, title, labels, told in (
            *(("latency-overview.json", title, (), ()) for title in ("First", "by (median)", "by (99 %)", "for")),
            ("latency-race.json", "Who is earlier than whom, the last 5 minutes", ("path",), ("rules late",)),
        ):
            *_figures, (_check, expression) = _queries(name, title)
            assert list(_shown(late, Case(raced, MOMENT), expression, labels)) == [told], title
            # While the rules are in time, and where a path is alone, it says what is so.
            said = [("no race",)] if labels else []
            assert list(_shown(late, Case(alone, MOMENT), expression, labels)) == said, title
            assert not _shown(late, Case(raced, 100), expression, labels), title
