"""The numbers of ``prometheus/rules/thresholds.yml``, so that colours change where alerts fire."""

import re
from pathlib import Path

__all__ = ["limit"]

_FILE = Path(__file__).parent.parent / "prometheus" / "rules" / "thresholds.yml"
_RULE = re.compile(r'record: "latency:threshold:(?P<name>\w+)", expr: vector\((?P<value>[0-9.]+)\)')
_LIMITS = {rule["name"]: float(rule["value"]) for rule in _RULE.finditer(_FILE.read_text(encoding="utf-8"))}


def limit(name: str) -> float:
    """Return a threshold by its name, such as ``jitter_seconds``."""
    return _LIMITS[name]
