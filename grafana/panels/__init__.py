"""The kinds of panel that the dashboards are made of, with units, legends and colours in one hand.

Each function returns a builder of Grafana's foundation SDK, complete but for its place. Sizes are in Grafana's grid of
24 columns.
"""

from grafana.panels.bars import bars
from grafana.panels.common import (
    A_SECOND,
    AMBER,
    DATASOURCE,
    GREEN,
    GREY,
    NO_RACE,
    NO_RACE_SEEN,
    NO_RECEIVER,
    NO_RIVAL,
    NOTHING,
    RED,
    RULES_LATE,
    Panel,
    Query,
    State,
    Steps,
)
from grafana.panels.heat import heat
from grafana.panels.lines import lines
from grafana.panels.numbers import numbers
from grafana.panels.states import by_name, states
from grafana.panels.table import Column, rows

__all__ = [
    "AMBER",
    "A_SECOND",
    "DATASOURCE",
    "GREEN",
    "GREY",
    "NOTHING",
    "NO_RACE",
    "NO_RACE_SEEN",
    "NO_RECEIVER",
    "NO_RIVAL",
    "RED",
    "RULES_LATE",
    "Column",
    "Panel",
    "Query",
    "State",
    "Steps",
    "bars",
    "by_name",
    "heat",
    "lines",
    "numbers",
    "rows",
    "states",
]
