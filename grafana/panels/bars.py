"""Bars by a label."""

from grafana_foundation_sdk.builders import barchart, common
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels.common import BY_NAME, DATASOURCE, NOTHING, Query, target

__all__ = ["bars"]


def bars(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    category: str,
    series: str,
    maximum: float | None = None,
    none: str = NOTHING,
) -> barchart.Panel:
    """A bar for each value of a label, over the whole time range.

    Args:
        title: in the panel's head.
        description: what it means and what good looks like.
        unit: Grafana's name of the unit.
        query: asked once; its series carry the labels `category` and `series`.
        category: the label along the x axis.
        series: the label that makes bars of several colours beside each other.
        maximum: upper end of the y axis.
        none: what to write when there is no series.
    """
    panel = (
        barchart.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .targets([target(query, 0, instant=True).format(PromQueryFormat.TABLE)])
        .orientation(common_model.VizOrientation.VERTICAL)
        .show_value(common_model.VisibilityMode.AUTO)
        .fill_opacity(70)
        .no_value(none)
        .bar_width(0.9)
        .group_width(0.8)
        .x_tick_label_max_length(20)
        .color_scheme(BY_NAME)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.SINGLE))
    )
    if maximum is not None:
        panel = panel.max(maximum)
    matrix = {"columnField": series, "rowField": category, "valueField": "Value", "emptyValue": "null"}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="groupingToMatrix", options=matrix))
    field = f"{category}\\{series}"
    return panel.with_transformation(
        model.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": field, "desc": False}]})
    ).x_field(field)
