"""The results of a validation as files: JSON to compute with, Markdown and HTML to read. No extra library needed."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from daemons.service.console.screen import MISSING
from experiments.folder import write_whole
from experiments.validation.evidence import Finding
from experiments.validation.suite import ScenarioResult, Validation

__all__ = ["render_html", "render_markdown", "write_results"]

_STYLE = """
:root { color-scheme: light dark; --ink: #2b2f36; --rule: #dfe3e8; --good: #1a7f37; --bad: #b42318; --open: #8a6100 }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --rule: #363c46; --good: #5fd0a8; --bad: #ff8a80; --open: #e0a93b }
  body { background: #15181d }
}
body { font: 15px/1.5 sans-serif; color: var(--ink); max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top }
@media screen and (max-width: 44rem) { table { display: block; overflow-x: auto } }
.pass { color: var(--good) } .fail { color: var(--bad); font-weight: bold }
.inconclusive { color: var(--open) } @media print { body { margin: 0 } }
"""
_PARTS = ("dns", "connect", "tunnel", "tls", "processing", "transfer", "total")
_SIDE_BY_SIDE = (
    "Medians in ms of the parts of answered requests. Through a proxy, connect leads to it, and tunnel from it to the "
    "target."
)
_PHASE_COLUMNS = ("phase", "outcome", "samples", "figure", "seen", "expected", "why")


def write_results(folder: Path, result: Validation) -> None:
    """Write ``validation.json``, ``validation.md`` and ``validation.html``, each whole or not at all.

    Raises:
        ResultsError: one cannot be written.
    """
    content = {
        "json": msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n",
        "md": render_markdown(result).encode(),
        "html": render_html(result).encode(),
    }
    for suffix, text in content.items():
        write_whole(folder / f"validation.{suffix}", text)


def render_markdown(result: Validation) -> str:
    """Write the results as Markdown."""
    lines = [f"# Validation: {result.outcome}", ""]
    lines += [f"{text}  " for text in _head(result)]
    for scenario in result.scenarios:
        lines += ["", f"## {_title(scenario)}", "", _row(_PHASE_COLUMNS), _row(["---"] * len(_PHASE_COLUMNS))]
        lines += [_row(cells) for cells in _rows(scenario)]
    if rows := _side_by_side(result):
        lines += ["", "## Side by side", "", _SIDE_BY_SIDE, "", _row(rows[0]), _row(["---"] * len(rows[0]))]
        lines += [_row(cells) for cells in rows[1:]]
    if result.comparisons:
        lines += ["", "## Differences", "", *(f"- {sentence}" for sentence in result.comparisons)]
    return "\n".join(lines) + "\n"


def render_html(result: Validation) -> str:
    """Write the results as one page that fetches nothing."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Validation: {result.outcome}</title><style>{_STYLE}</style></head><body>",
        f'<h1>Validation: <span class="{result.outcome}">{result.outcome}</span></h1>',
        *(f"<p>{html.escape(text)}</p>" for text in _head(result)),
    ]
    for scenario in result.scenarios:
        parts.append(f"<h2>{html.escape(_title(scenario))}</h2><table><tr>")
        parts += [f"<th>{name}</th>" for name in _PHASE_COLUMNS]
        parts.append("</tr>")
        for cells in _rows(scenario):
            parts.append("<tr>")
            parts += [f"<td{_class(cell)}>{html.escape(cell)}</td>" for cell in cells]
            parts.append("</tr>")
        parts.append("</table>")
    if rows := _side_by_side(result):
        parts += ["<h2>Side by side</h2>", f"<p>{html.escape(_SIDE_BY_SIDE)}</p><table>"]
        for tag, cells in zip(["th", *["td"] * len(rows)], rows, strict=False):
            parts.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>")
        parts.append("</table>")
    if result.comparisons:
        parts += ["<h2>Differences</h2><ul>", *(f"<li>{html.escape(one)}</li>" for one in result.comparisons), "</ul>"]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _side_by_side(result: Validation) -> list[list[str]]:
    """Make a table of the parts of requests, cold below cold and warm below warm; nothing where none was answered."""
    measured = [
        (kind, scenario.name, phase.medians_ms)
        for kind in ("cold", "warm")
        for scenario in result.scenarios
        for phase in scenario.phases
        if phase.phase == kind and phase.medians_ms
    ]
    parts = [part for part in _PARTS if any(part in medians for _kind, _name, medians in measured)]
    rows = [
        [kind, name, *(f"{medians[part]:.3f}" if part in medians else "-" for part in parts)]
        for kind, name, medians in measured
    ]
    return [["requests", "scenario", *parts], *rows] if rows else []


def _head(result: Validation) -> list[str]:
    until = f" to {result.end}" if result.end else ", still running"
    lines = [f"{result.target}, {result.start}{until}, backbone-latency {result.versions.get('backbone-latency', '?')}"]
    if result.end and not result.complete:
        lines.append("The validation was interrupted; what is missing is inconclusive.")
    lines.append("Nothing passes without samples: what could not be measured, or not well enough, is inconclusive.")
    return lines


def _title(scenario: ScenarioResult) -> str:
    return f"{scenario.name}, measured on {scenario.host}: {scenario.outcome}"


def _rows(scenario: ScenarioResult) -> list[list[str]]:
    rows = []
    for phase in scenario.phases:
        samples = str(phase.samples) if phase.samples else MISSING
        if not phase.findings:
            rows.append([phase.phase, phase.outcome, samples, "", "", "", phase.reason])
        for index, finding in enumerate(phase.findings):
            head = [phase.phase, "", samples] if index == 0 else ["", "", ""]
            head[1] = finding.outcome
            why = finding.reason or (phase.reason if phase.outcome != "pass" and len(phase.findings) == 1 else "")
            rows.append([*head, finding.what, _seen(finding), _expected(finding.expected), why])
    return rows


def _seen(finding: Finding) -> str:
    value = finding.seen
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.2%}".replace("%", " %") if finding.what in {"failed", "lost"} else f"{value:.3f}"
    if isinstance(value, list):
        return " → ".join("?" if one is None else str(one) for one in value)
    return str(value)


def _expected(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if len(value) == 2 and not isinstance(value[0], str):
        return f"{value[0]:g} to {value[1]:g}"
    return ", ".join(map(str, value))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _class(cell: str) -> str:
    return f' class="{cell}"' if cell in {"pass", "fail", "inconclusive"} else ""
