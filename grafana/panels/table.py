"""Tables of facts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels.common import DATASOURCE, GREY, NOTHING, REFS, Query, Steps, more_links, target, thresholds

__all__ = ["Column", "rows"]

_MISSING = "–"
_UNCOLOURED = {"text": _MISSING, "color": GREY}
_OF_A_LABEL = [
    # A label that a row lacks is empty, and not what an empty table says. A name that is too long is not cut.
    DynamicConfigValue("noValue", _MISSING),
    DynamicConfigValue("custom.cellOptions", {"type": "auto", "wrapText": True}),
]


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
    unless: Mapping[str, str] | None = None,
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
        unless: what to write instead where that is known to be for another reason: texts, each with an expression that
            has a value then.
        widths: in pixels, by title; the other columns share what is left.
        more: uid of the dashboard that explains it.
    """
    refs, single = dict(zip(queries, REFS, strict=False)), len(queries) == 1
    if not single:
        queries = {**queries, "": _none_at_all(queries.values(), next(iter(labels)), none, unless or {})}
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets(
            [
                target(query, index, instant=True).format(PromQueryFormat.TABLE)
                for index, query in enumerate(queries.values())
            ]
        )
        .unit("string")
        .no_value(none)
        .links(more_links(more))
        .show_header(True)
        .filterable(False)
        # The widest figure, with its sign and unit: what is too narrow for its columns is scrolled, and no head is cut.
        .min_width(80)
    )
    if not single:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    columns = {("Value" if single else f"Value #{refs[name]}"): column for name, column in values.items()}
    panel = _in_order(panel, labels, columns)
    panel = _looks(panel, labels.values(), columns.values(), widths or {})
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return panel


def _none_at_all(queries: Iterable[Query], label: str, none: str, unless: Mapping[str, str]) -> Query:
    """Make the row that says it where no column has anything: a table of several queries has a head even then."""
    anything = " or ".join(f"group({query.expr})" for query in queries)
    empty = f"absent({anything})" + "".join(f" unless on () ({known})" for known in unless.values())
    told = {none: empty, **unless}
    return Query(" or ".join(f'label_replace({when}, "{label}", "{text}", "", "")' for text, when in told.items()))


def _looks(
    panel: table.Panel, titles: Iterable[str], columns: Iterable[Column], widths: Mapping[str, int]
) -> table.Panel:
    """Give the columns of labels and of figures what they look like."""
    for shown in titles:
        panel = panel.override_by_name(shown, _OF_A_LABEL)
    for name, width in widths.items():
        panel = panel.override_by_name(name, [DynamicConfigValue("custom.width", width)])
    for column in columns:
        panel = panel.override_by_name(column.title, _properties(column))
    return panel


def _in_order(panel: table.Panel, labels: dict[str, str], columns: dict[str, Column]) -> table.Panel:
    """Show these fields only, labels first, by their titles."""
    fields = [*labels, *columns]
    order = {field: index for index, field in enumerate(fields)}
    titles = {**labels, **{field: column.title for field, column in columns.items()}}
    return panel.with_transformation(
        model.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": fields}})
    ).with_transformation(
        model.DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": titles})
    )


def _properties(column: Column) -> list[DynamicConfigValue]:
    properties = [DynamicConfigValue("unit", column.unit), DynamicConfigValue("noValue", _MISSING)]
    if column.steps:
        properties += [
            DynamicConfigValue("thresholds", thresholds(column.steps).build().to_json()),
            DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            DynamicConfigValue("color", {"mode": "thresholds"}),
            # Else what is missing has the colour of the lowest figures.
            DynamicConfigValue("mappings", [{"type": "special", "options": {"match": "null", "result": _UNCOLOURED}}]),
        ]
    return properties
