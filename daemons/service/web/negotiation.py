"""What a client would rather have: media ranges and codings with their weights (RFC 9110, section 12)."""

from collections.abc import Iterator

__all__ = ["takes_gzip", "takes_openmetrics"]

OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_VERSION = "1.0.0"
TEXT_VERSION = "0.0.4"
_TEXT_RANGES = ("text/plain", "text/*", "*/*")
"""What plain text fits, the most particular first."""


def takes_openmetrics(accept: str) -> bool:
    """Say whether a client asks for OpenMetrics 1.0.0, and not for plain text rather.

    Wildcards ask for nothing in particular, and get the format that everything reads. Of the ranges that plain text
    fits, the most particular one counts (RFC 9110, section 12.5.1); other versions of it are not what is served.

    Args:
        accept: the header field, all its lines joined by commas.
    """
    openmetrics = 0.0
    plain: dict[str, float] = {}
    for name, parameters, weight in _members(accept):
        if name == OPENMETRICS and parameters.get("version", OPENMETRICS_VERSION) == OPENMETRICS_VERSION:
            openmetrics = max(openmetrics, weight)
        elif name in _TEXT_RANGES and parameters.get("version", TEXT_VERSION) == TEXT_VERSION:
            plain[name] = max(plain.get(name, 0.0), weight)
    return openmetrics > 0 and openmetrics >= next((plain[name] for name in _TEXT_RANGES if name in plain), 0.0)


def takes_gzip(accept_encoding: str) -> bool:
    """Say whether a client takes gzip, and would not rather have the page as it is (RFC 9110, section 12.5.3).

    One that says nothing may have no use for it.
    """
    weights = {name: weight for name, _parameters, weight in _members(accept_encoding)}
    packed = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return packed > 0 and packed >= weights.get("identity", 0.0)


def _members(field: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield the list's names with parameters and weight; a weight that is no number counts as 0."""
    for member in field.split(","):
        name, *rest = (part.strip() for part in member.split(";"))
        parameters = {}
        for part in rest:
            key, _equals, value = part.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            weight = 0.0
        yield name.lower(), parameters, weight if 0 <= weight <= 1 else 0.0
