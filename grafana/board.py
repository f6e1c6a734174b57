"""What all dashboards share: variables, links between them, alert annotations, and the way to their JSON."""

import json
from typing import Any

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.panels import DATASOURCE, NO_RIVAL, RED, Panel

__all__ = ["DEPLOYMENT", "PAIR", "PATH", "PATH_STREAM", "TARGET", "Board", "Placed", "json_of"]

TAG = "backbone-latency"

DEPLOYMENT = 'deployment="$deployment"'
"""Label matchers for each set of variables, to go between braces."""
PATH = DEPLOYMENT + ',path=~"$path"'
PATH_STREAM = PATH + ',stream=~"$stream"'
TARGET = DEPLOYMENT + ',target=~"$target"'
PAIR = DEPLOYMENT + ',path="$racer",reference=~"$reference"'

_PATHS = f"label_values(latency_receiver_sequence_gaps_total{{{DEPLOYMENT}}},path)"
# Wins are counted in both directions: every path can be asked for, against every other. Titles name what is chosen, and
# without a choice Grafana writes "All".
_RIVALS = (
    f'query_result(group by (reference) (last_over_time(latency_receiver_path_wins_total{{{DEPLOYMENT},path="$racer"}}'
    f'[$__range])) or on () label_replace(vector(1), "reference", "{NO_RIVAL}", "", ""))'
)
_QUERIES = {
    "deployment": ("Deployment", 'label_values(up{job="latency"},deployment)'),
    "path": ("Path", _PATHS),
    "racer": ("Path", _PATHS),
    "reference": ("Against", _RIVALS),
    "stream": ("Stream", f"label_values(latency_receiver_events_total{{{PATH}}},stream)"),
    "target": ("Target", f"label_values(latency_probe_success{{{DEPLOYMENT}}},target)"),
}


Placed = tuple[Panel, int, int]
"""A panel with its width and height in grid units; 24 to a line."""


class Board:
    """A dashboard under construction: rows of panels, from top to bottom.

    Args:
        uid: never changes: links and bookmarks hold on to it.
        title: in lists and in the head.
        description: shown beside the title.
        variables: names of those in this module that it has.
        since: where its time range begins.
    """

    def __init__(self, uid: str, title: str, description: str, variables: tuple[str, ...], since: str) -> None:
        self.uid = uid
        firing = f'ALERTS{{alertstate="firing",severity="page",{DEPLOYMENT}}}'
        self._dashboard = (
            Dashboard(title)
            .uid(uid)
            .description(description)
            .tags([TAG])
            .timezone("utc")
            .readonly()
            .refresh("10s")
            .time(since, "now")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
            .link(
                DashboardLink("Latency dashboards")
                .type(DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .include_vars(True)
                .keep_time(True)
            )
            .annotation(
                AnnotationQuery()
                .name("Pages")
                .datasource(DATASOURCE)
                .enable(True)
                .icon_color(RED)
                # Only the moment at which a page begins, and not each time that it comes back within ten minutes: a
                # region for as long as it fires, or a line for each flutter, would hide what is behind.
                # Points are up to hours apart: one that came and went between two of them is shown at the second.
                .expr(f"last_over_time({firing}[$__interval]) unless last_over_time({firing}[10m] offset $__interval)")
            )
        )
        for name in variables:
            self._dashboard = self._dashboard.with_variable(_variable(name))

    def row(self, title: str, *panels: Placed) -> "Board":
        """Add a titled row.

        Args:
            title: of the row; empty for none.
            panels: in reading order.
        """
        if title:
            self._dashboard = self._dashboard.with_row(Row(title))
        for panel, width, height in panels:
            self._dashboard = self._dashboard.with_panel(panel.span(width).height(height))
        return self

    def build(self) -> dict[str, Any]:
        """Return the dashboard as Grafana reads it."""
        content: dict[str, Any] = json.loads(json.dumps(self._dashboard.build(), cls=JSONEncoder))
        for identity, panel in enumerate(content["panels"], 1):
            panel["id"] = identity
            if panel["type"] == "state-timeline":
                # No pages, which the SDK does not let one ask for.
                panel["options"]["perPage"] = 0
        # The SDK's annotation has no fields for what the data source's annotation shows.
        for annotation in content["annotations"]["list"]:
            annotation |= {
                "titleFormat": "{{alertname}}",
                "textFormat": "{{severity}}: {{path}} {{stream}} {{target}} {{host}}",
                "tagKeys": "severity",
                "step": "10s",
                "useValueForTime": False,
            }
        return content


def json_of(content: dict[str, Any]) -> str:
    """Return the text of a dashboard's file."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str) -> QueryVariable:
    label, query = _QUERIES[name]
    variable = (
        QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": "variable"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if query.startswith("query_result("):
        variable = variable.regex(f'/{name}="([^"]*)"/')
    if name in ("deployment", "racer"):
        return variable
    return variable.multi(True).include_all(True).current(VariableOption(text="All", value="$__all"))
