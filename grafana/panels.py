"""The kinds of panel that the dashboards are made of, with units, legends and colours in one hand.

Each function returns a builder of Grafana's foundation SDK, complete but for its place. Sizes are in Grafana's grid of
24 columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.dashboard import DataSourceRef, DynamicConfigValue, FieldColorModeId, Threshold
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

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

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, AMBER, RED, GREY = "green", "orange", "red", "text"
MISSING = "–"
_REFS = "ABCDEFGHIJ"
"""What Grafana calls a panel's queries."""

NOTHING = "not configured, or no data"
"""What a panel without any series says, unless it knows better: Grafana cannot tell the two apart."""
NO_RACE = "no race"

# A path's line is named by the path alone, and so has its colour on every screen.
_BY_NAME = FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME)

Panel = (
    timeseries.Panel | stat.Panel | heatmap.Panel | table.Panel | statetimeline.Panel | barchart.Panel
)  # what the functions below return


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression.

    Attributes:
        expr: may use the dashboard's variables and Grafana's own.
        legend: of its series; also the name by which a panel's `limits` finds them.
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


Steps = tuple[tuple[float | None, str], ...]
"""Threshold steps: from this value on, this colour; None begins."""


def lines(
    title: str,
    description: str,
    unit: str,
    queries: list[Query],
    *,
    stacked: bool = False,
    logarithmic: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    reaching: tuple[float, ...] = (),
    limits: str = "",
    narrow: bool = False,
    connect: bool = False,
    none: str = NOTHING,
    more: str = "",
) -> timeseries.Panel:
    """A time series panel.

    Args:
        title: in the panel's head.
        description: what it means and what good looks like.
        unit: Grafana's name of the unit.
        queries: what to draw.
        stacked: draw areas on top of each other.
        logarithmic: scale of the y axis.
        minimum: lower end of the y axis.
        maximum: upper end of the y axis.
        reaching: values that the y axis reaches in any case, so that noise is no mountain and zeros are no full scale.
        limits: regular expression of legends that are limits: drawn red and dashed.
        narrow: a legend of names below, instead of a table with last and maximum to the right.
        connect: draw across missing values.
        none: what to write when there is no series.
        more: uid of the dashboard that explains it.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .targets([_target(query, index) for index, query in enumerate(queries)])
        .line_width(2)
        # Of ten lines even the faintest areas add up to mud.
        .fill_opacity(35 if stacked else 0)
        .show_points(common_model.VisibilityMode.AUTO)
        .span_nulls(connect)
        .no_value(none)
        .links(_more(more))
        .color_scheme(_BY_NAME)
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    legend = common.VizLegendOptions().show_legend(True)
    if narrow:
        legend = legend.display_mode(common_model.LegendDisplayMode.LIST).calcs([])
        legend = legend.placement(common_model.LegendPlacement.BOTTOM)
    else:
        legend = legend.display_mode(common_model.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"])
        legend = legend.placement(common_model.LegendPlacement.RIGHT)
    panel = panel.legend(legend)
    panel = _axis(panel, logarithmic=logarithmic, minimum=minimum, maximum=maximum, reaching=reaching)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if limits:
        panel = panel.override_by_regexp(
            f"/{limits}/",
            [
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
                DynamicConfigValue("custom.lineStyle", _dashes(0)),
                DynamicConfigValue("custom.lineWidth", 1),
            ],
        )
    for order, index in enumerate(index for index, query in enumerate(queries) if query.dashed):
        panel = panel.override_by_query(
            _REFS[index],
            [
                DynamicConfigValue("custom.lineStyle", _dashes(order)),
                DynamicConfigValue("custom.lineWidth", 1),
                DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
            ],
        )
    return panel


def _dashes(order: int) -> dict[str, object]:
    """Make the style of the first or second kind of dashed line in a panel: long dashes, then dots."""
    return {"fill": "dash", "dash": ([8, 6], [2, 5])[order]}


def _axis(
    panel: timeseries.Panel,
    *,
    logarithmic: bool,
    minimum: float | None,
    maximum: float | None,
    reaching: tuple[float, ...],
) -> timeseries.Panel:
    if logarithmic:
        scale = common.ScaleDistributionConfig().type(common_model.ScaleDistribution.LOG).log(10)
        panel = panel.scale_distribution(scale)
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    if reaching:
        panel = panel.axis_soft_min(min(reaching)).axis_soft_max(max(reaching))
    return panel


def numbers(
    title: str,
    description: str,
    unit: str,
    queries: list[Query],
    *,
    steps: Steps = ((None, GREY),),
    decimals: int | None = None,
    names: bool = True,
    states: tuple[State, ...] = (),
    none: str = NOTHING,
    name_size: int | None = None,
    value_size: int | None = None,
    under: bool = False,
    units: Mapping[str, str] | None = None,
    more: str = "",
) -> stat.Panel:
    """A panel of big numbers, one for each series.

    Args:
        title: in the panel's head.
        description: what it means and what good looks like.
        unit: Grafana's name of the unit.
        queries: asked at the end of the time range only.
        steps: colours by value.
        decimals: digits behind the point.
        names: write each series' legend beside its number.
        states: texts instead of numbers.
        none: what to write when there is no series.
        name_size: of the legends in pixels; by default as large as fits one line, which is illegible for six paths.
        value_size: of the numbers in pixels; by default as large as fits.
        under: one number under the other.
        units: of single series, by legend.
        more: uid of the dashboard that explains it.
    """
    text = common_model.BigValueTextMode.VALUE_AND_NAME if names else common_model.BigValueTextMode.VALUE
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .targets([_target(query, index, instant=True) for index, query in enumerate(queries)])
        .thresholds(_thresholds(steps))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .color_mode(common_model.BigValueColorMode.VALUE)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .text_mode(text)
        .orientation(common_model.VizOrientation.HORIZONTAL if under else common_model.VizOrientation.AUTO)
        .no_value(none)
        .links(_more(more))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if states:
        panel = panel.mappings(_mappings(states))
    sizes = common.VizTextDisplayOptions()
    if name_size is not None:
        sizes = sizes.title_size(name_size)
    if value_size is not None:
        sizes = sizes.value_size(value_size)
    panel = panel.text(sizes)
    for legend, own in (units or {}).items():
        panel = panel.override_by_name(legend, [DynamicConfigValue("unit", own)])
    return panel


def heat(title: str, description: str, unit: str, expr: str) -> heatmap.Panel:
    """A heat map of a Prometheus histogram.

    Args:
        title: in the panel's head.
        description: what it means and what good looks like.
        unit: of the histogram's boundaries.
        expr: increases of buckets by ``le``.
    """
    axis = heatmap.YAxisConfig().unit(unit).decimals(1).axis_placement(common_model.AxisPlacement.LEFT)
    target = _target(Query(expr, "{{le}}"), 0).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets([target])
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
        .targets([_target(query, index) for index, query in enumerate(queries)])
        .mappings(_mappings(meaning))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(steps))
        .show_value(common_model.VisibilityMode.NEVER)
        .merge_values(True)
        .links(_more(more))
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


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of facts.

    Attributes:
        title: shown in the head.
        unit: Grafana's name of the unit; empty for text.
        steps: colours by value.
    """

    title: str
    unit: str = ""
    steps: Steps = ()


def rows(
    title: str,
    description: str,
    queries: dict[str, Query],
    *,
    labels: dict[str, str],
    values: dict[str, Column],
    sort: str = "",
    none: str = NOTHING,
    widths: dict[str, int] | None = None,
    more: str = "",
) -> table.Panel:
    """A table with a row for each set of labels and a column for each label and each query.

    Args:
        title: in the panel's head.
        description: what it means and what good looks like.
        queries: by the name that `values` refers to; all with the same labels.
        labels: the labels shown, in this order, and their titles.
        values: the columns of the queries; a query without one is there for its labels.
        sort: title of the column to sort by.
        none: what to write when there is no series.
        widths: in pixels, by title; the other columns share what is left.
        more: uid of the dashboard that explains it.
    """
    refs = dict(zip(queries, _REFS, strict=False))
    single = len(queries) == 1
    if not single:
        # Several queries have a head even when they are empty: what says so is a row.
        first, label = next(iter(queries.values())), next(iter(labels))
        queries = {**queries, "": Query(f'label_replace(absent({first.expr}), "{label}", "{none}", "", "")')}
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets(
            [
                _target(query, index, instant=True).format(PromQueryFormat.TABLE)
                for index, query in enumerate(queries.values())
            ]
        )
        .no_value(none)
        .links(_more(more))
        .show_header(True)
        .filterable(False)
        .min_width(60)
    )
    columns = {("Value" if single else f"Value #{refs[name]}"): column for name, column in values.items()}
    order = {name: index for index, name in enumerate([*labels, *columns])}
    rename = {**labels, **{field: column.title for field, column in columns.items()}}
    if not single:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        model.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": [*labels, *columns]}})
    ).with_transformation(
        model.DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": rename})
    )
    for shown in labels.values():
        # A label that a row lacks is empty, and not what an empty table says.
        panel = panel.override_by_name(shown, [DynamicConfigValue("noValue", MISSING)])
    for name, width in (widths or {}).items():
        panel = panel.override_by_name(name, [DynamicConfigValue("custom.width", width)])
    for column in columns.values():
        properties = [DynamicConfigValue("unit", column.unit), DynamicConfigValue("noValue", MISSING)]
        if column.steps:
            properties += [
                DynamicConfigValue("thresholds", _thresholds(column.steps).build().to_json()),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
                DynamicConfigValue("color", {"mode": "thresholds"}),
            ]
        panel = panel.override_by_name(column.title, properties)
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return panel


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
        .targets([_target(query, 0, instant=True).format(PromQueryFormat.TABLE)])
        .orientation(common_model.VizOrientation.VERTICAL)
        .show_value(common_model.VisibilityMode.AUTO)
        .fill_opacity(70)
        .no_value(none)
        .bar_width(0.9)
        .group_width(0.8)
        .x_tick_label_max_length(20)
        .color_scheme(_BY_NAME)
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


def _target(query: Query, index: int, *, instant: bool = False) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(_REFS[index]).datasource(DATASOURCE)
    )
    return target.instant() if instant else target.range()


def _more(uid: str) -> list[Builder[model.DashboardLink]]:
    url = f"/d/{uid}?${{__url_time_range}}&${{deployment:queryparam}}"
    return [DashboardLink("What is behind it").type(model.DashboardLinkType.LINK).url(url)] if uid else []


def _thresholds(steps: Steps) -> ThresholdsConfig:
    return (
        ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def _mappings(meaning: tuple[State, ...]) -> list[model.ValueMapping]:
    return [
        model.ValueMap(
            options={
                str(state.value): model.ValueMappingResult(text=state.text, color=state.colour, index=index)
                for index, state in enumerate(meaning)
            },
        )
    ]
