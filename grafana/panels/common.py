"""What all kinds of panel have in common: queries, colours, texts for nothing, links."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import barchart, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.dashboard import DataSourceRef, FieldColorModeId, Threshold

__all__ = [
    "AMBER",
    "A_SECOND",
    "BY_NAME",
    "DATASOURCE",
    "GREEN",
    "GREY",
    "NOTHING",
    "NO_RACE",
    "NO_RACE_SEEN",
    "NO_RECEIVER",
    "NO_RIVAL",
    "RED",
    "REFS",
    "RULES_LATE",
    "Panel",
    "Query",
    "State",
    "Steps",
    "mappings",
    "more_links",
    "target",
    "thresholds",
]

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, AMBER, RED, GREY = "green", "orange", "red", "text"
REFS = "ABCDEFGHIJ"
"""What Grafana calls a panel's queries."""

A_SECOND = "suffix:/s"
"""The unit of rates: without it a count a second is read as a count."""

NOTHING = "not configured, or no data"
"""What a panel without any series says, unless it knows better: Grafana cannot tell the two apart."""
NO_RACE = "no race"
NO_RIVAL = "no other path"
NO_RACE_SEEN = "no race, or no receiver is scraped"
"""What a panel says that is told nothing else."""

# A path's line is named by the path alone, and so has its colour on every screen.
BY_NAME = FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME)

Panel = timeseries.Panel | stat.Panel | heatmap.Panel | table.Panel | statetimeline.Panel | barchart.Panel
"""What each kind's function returns."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression.

    Attributes:
        expr: may use the dashboard's variables and Grafana's own.
        legend: of its series.
        dashed: drawn dashed and left out of the legend. With the legend of a solid line it has its colour, too.
    """

    expr: str
    legend: str = "__auto"
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What a value of a state time line means."""

    value: int
    text: str
    colour: str


RULES_LATE = State(-1_000_000, "rules late", AMBER)
"""What stands where a race is on and the recording rules have nothing of it; no figure is as low as its value."""
NO_RECEIVER = State(-2_000_000, "no receiver", AMBER)
"""What stands where no receiver has been scraped of late, and so nobody knows of a race."""


Steps = tuple[tuple[float | None, str], ...]
"""Threshold steps: from this value on, this colour; None begins."""


def target(query: Query, index: int, *, instant: bool = False) -> prometheus.Dataquery:
    """Make the query of a panel with this place among its queries; `instant` asks at the end of the range only."""
    asked = (
        prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(REFS[index]).datasource(DATASOURCE)
    )
    return asked.instant() if instant else asked.range()


def more_links(uid: str) -> list[Builder[model.DashboardLink]]:
    """Link to the dashboard with this uid, for the same time and deployment; to none if it is empty."""
    url = f"/d/{uid}?${{__url_time_range}}&${{deployment:queryparam}}"
    return [DashboardLink("What is behind it").type(model.DashboardLinkType.LINK).url(url)] if uid else []


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Colour by value."""
    return (
        ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def mappings(meaning: tuple[State, ...]) -> list[model.ValueMapping]:
    """Write texts instead of numbers."""
    return [
        model.ValueMap(
            options={
                str(state.value): model.ValueMappingResult(text=state.text, color=state.colour, index=index)
                for index, state in enumerate(meaning)
            },
        )
    ]
