"""Big numbers."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import common, stat
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId

from grafana.panels.common import (
    DATASOURCE,
    GREY,
    NOTHING,
    Query,
    State,
    Steps,
    mappings,
    more_links,
    target,
    thresholds,
)

__all__ = ["numbers"]

_LAST = common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)


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
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .targets([target(query, index, instant=True) for index, query in enumerate(queries)])
        .thresholds(thresholds(steps))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .color_mode(common_model.BigValueColorMode.VALUE)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .text_mode(common_model.BigValueTextMode.VALUE_AND_NAME if names else common_model.BigValueTextMode.VALUE)
        .orientation(common_model.VizOrientation.HORIZONTAL if under else common_model.VizOrientation.AUTO)
        .no_value(none)
        .links(more_links(more))
        .reduce_options(_LAST)
        .text(_sizes(name_size, value_size))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if states:
        panel = panel.mappings(mappings(states))
    for legend, own in (units or {}).items():
        panel = panel.override_by_name(legend, [DynamicConfigValue("unit", own)])
    return panel


def _sizes(name: int | None, value: int | None) -> common.VizTextDisplayOptions:
    sizes = common.VizTextDisplayOptions()
    if name is not None:
        sizes = sizes.title_size(name)
    return sizes if value is None else sizes.value_size(value)
