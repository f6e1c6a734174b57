"""Lines over time."""

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.panels.common import BY_NAME, DATASOURCE, NOTHING, RED, REFS, Query, more_links, target

__all__ = ["lines"]

_LIMIT = "limit"
_TOOLTIP = (
    common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI).sort(common_model.SortOrder.DESCENDING)
)


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
    limit: str = "",
    narrow: bool = False,
    named: bool = True,
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
        limit: name of a threshold of the rules, drawn red and dashed where the first query has anything.
        narrow: a legend of names below, which may be long, instead of a table with last and maximum to the right.
        named: has a legend; without one, a panel beside it has to name the colours.
        connect: draw across missing values.
        none: what to write when there is no series.
        more: uid of the dashboard that explains it.
    """
    queries = [*queries, *_limit(limit, queries[0])]
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .targets([target(query, index) for index, query in enumerate(queries)])
        .line_width(2)
        # Of ten lines even the faintest areas add up to mud.
        .fill_opacity(35 if stacked else 0)
        .show_points(common_model.VisibilityMode.AUTO)
        .span_nulls(connect)
        .no_value(none)
        .links(more_links(more))
        .color_scheme(BY_NAME)
        .legend(_legend(narrow=narrow).show_legend(named))
        .tooltip(_TOOLTIP)
    )
    panel = _axis(panel, logarithmic=logarithmic, minimum=minimum, maximum=maximum, reaching=reaching)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    return _with_dashes(_with_limit(panel) if limit else panel, queries)


def _legend(*, narrow: bool) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True)
    if narrow:
        legend = legend.display_mode(common_model.LegendDisplayMode.LIST).calcs([])
        return legend.placement(common_model.LegendPlacement.BOTTOM)
    legend = legend.display_mode(common_model.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"])
    return legend.placement(common_model.LegendPlacement.RIGHT)


def _limit(name: str, query: Query) -> list[Query]:
    """Ask for a threshold; where the other query has nothing it would hide that."""
    return [Query(f"max(latency:threshold:{name}) and on () ({query.expr})", _LIMIT)] if name else []


def _with_limit(panel: timeseries.Panel) -> timeseries.Panel:
    return panel.override_by_regexp(
        f"/^{_LIMIT}$/",
        [
            DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
            DynamicConfigValue("custom.lineStyle", _dashes(0)),
            DynamicConfigValue("custom.lineWidth", 1),
        ],
    )


def _with_dashes(panel: timeseries.Panel, queries: list[Query]) -> timeseries.Panel:
    for order, index in enumerate(index for index, query in enumerate(queries) if query.dashed):
        panel = panel.override_by_query(
            REFS[index],
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
