"""The PromQL of the repository: every expression of the rules and the dashboards, and the metrics that they name."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "ROOT",
    "Expression",
    "alerts",
    "dashboards",
    "filled",
    "holding_seconds",
    "loaded",
    "metrics_in",
    "panels",
    "queries",
    "rules",
    "write",
]

ROOT = Path(__file__).parents[2]
_VARIABLES = {
    "$__rate_interval": "20s",
    "$__range": "5m",
    "$__interval": "5s",
    "$deployment": "local",
    "$racer": "backbone",
    **dict.fromkeys(("$path", "$stream", "$target", "$reference"), ".+"),
}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_METRIC = re.compile(r"\b(?:latency:[a-z0-9_:]+|(?:latency|process)_[a-z0-9_]+|up|ALERTS)\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """A query, and where it stands."""

    where: str
    text: str

    @property
    def filled(self) -> str:
        """The query with Grafana's variables replaced, as for a deployment named local."""
        return filled(self.text)


def filled(text: str, **values: str) -> str:
    """Replace Grafana's variables in a text, those given by these values (without the dollar sign)."""
    replaced = _VARIABLES | {f"${name}": value for name, value in values.items()}
    for name in sorted(replaced, key=len, reverse=True):
        text = text.replace(name, replaced[name])
    return text


def loaded(file: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def write(file: Path, content: Any) -> None:
    """Write a YAML file."""
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


def rules() -> list[dict[str, Any]]:
    """Return every rule of every group."""
    files = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
    return [rule for file in files for group in loaded(file)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def holding_seconds(alert: dict[str, Any]) -> int:
    """Return for how long an alert's condition has to hold before it fires."""
    text = alert.get("for", "0s")
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by the name of their file."""
    return {
        file.name: json.loads(file.read_text()) for file in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    }


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a dashboard's panels without its rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries() -> list[Expression]:
    """Return every query of every panel and annotation."""
    found = []
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            found += [Expression(f"{name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
        found += [Expression(f"{name}: annotation", each["expr"]) for each in dashboard["annotations"]["list"]]
    return found


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics that an expression selects."""
    return set(_METRIC.findall(_STRING.sub('""', expression)))
