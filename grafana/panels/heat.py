"""Heat maps of histograms."""

from grafana_foundation_sdk.builders import heatmap
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels.common import DATASOURCE, Query, target

__all__ = ["heat"]


def heat(title: str, description: str, unit: str, expr: str) -> heatmap.Panel:
    """A heat map of a Prometheus histogram.

    Args:
        title: in the panel's head.
        description: what it means and what good looks like.
        unit: of the histogram's boundaries.
        expr: increases of buckets by ``le``.
    """
    axis = heatmap.YAxisConfig().unit(unit).decimals(1).axis_placement(common_model.AxisPlacement.LEFT)
    buckets = target(Query(expr, "{{le}}"), 0).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets([buckets])
        # Without options Grafana takes the panel for one of the Angular days and draws other buckets.
        .calculate(False)
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common_model.HeatmapCellLayout.LE))
        .y_axis(axis)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .fill("dark-orange")
            .exponent(0.5)
            .steps(64)
            .reverse(False)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .cell_gap(1)
        .cell_values(heatmap.CellValues().unit("short").decimals(1))
        .mode(common_model.TooltipDisplayMode.SINGLE)
        .show_color_scale(True)
        .show_legend()
        # Rare buckets far out must not squeeze the rest: a bucket a pixel wide is still a bucket.
        .max_data_points(300)
    )
