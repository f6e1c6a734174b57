"""The kinds of panel that the dashboards are made of, with units, legends and colours in one hand.

Each function returns a builder of Grafana's foundation SDK, complete but for its place. Sizes are in Grafana's grid of
24 columns.
"""

from grafana.panels.bars import bars
from grafana.panels.common import AMBER, DATASOURCE, GREEN, GREY, NO_RACE, NOTHING, RED, Panel, Query, State, Steps
from grafana.panels.heat import heat
from grafana.panels.lines import lines
from grafana.panels.numbers import numbers
from grafana.panels.states import states
from grafana.panels.table import Column, rows

__all__ = [
    "AMBER",
    "DATASOURCE",
    "GREEN",
    "GREY",
    "NOTHING",
    "NO_RACE",
    "RED",
    "Column",
    "Panel",
    "Query",
    "State",
    "Steps",
    "bars",
    "heat",
    "lines",
    "numbers",
    "rows",
    "states",
]
