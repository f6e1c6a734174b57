"""Time lines of states."""

from grafana_foundation_sdk.builders import common, statetimeline
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models.dashboard import FieldColorModeId

from grafana.panels.common import DATASOURCE, Query, State, mappings, more_links, target, thresholds

__all__ = ["by_name", "states"]

_ROOM = 21
"""Letters: names get two fifths of the panel at most, of which this is a third of 1280 pixels, or a phone's width."""


def states(
    title: str, description: str, queries: list[Query], meaning: tuple[State, ...], *, more: str = ""
) -> statetimeline.Panel:
    """A time line of states, one row for each series; the worst state first in `meaning`."""
    steps = tuple((None if index == 0 else state.value, state.colour) for index, state in enumerate(meaning))
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets([target(query, index) for index, query in enumerate(queries)])
        .mappings(mappings(meaning))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds(steps))
        .show_value(common_model.VisibilityMode.NEVER)
        .merge_values(True)
        .links(more_links(more))
        .row_height(0.8)
        .fill_opacity(75)
        .line_width(0)
        # Names and colours say it all.
        .legend(
            common.VizLegendOptions()
            .show_legend(False)
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
        )
    )


def by_name(expr: str, label: str) -> Query:
    """Ask for a row for each value of a label, of long values the end: Grafana would cut them without a sign.

    Names of paths begin alike more often than they end alike.
    """
    whole = f'label_replace({expr}, "shown", "$1", "{label}", "(.*)")'
    return Query(f'label_replace({whole}, "shown", "…$1", "{label}", ".{{2,}}(.{{{_ROOM}}})")', "{{shown}}")
