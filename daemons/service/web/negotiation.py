"""What a client would rather have: media ranges and codings with their weights (RFC 9110, section 12)."""

from collections.abc import Iterator

__all__ = ["takes_gzip", "takes_openmetrics"]

OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_VERSION = "1.0.0"


def takes_openmetrics(accept: str) -> bool:
    """Say whether a client asks for OpenMetrics 1.0.0, and not for plain text rather.

    Wildcards ask for nothing in particular, and get the format that everything reads.

    Args:
        accept: the header field, all its lines joined by commas.
    """
    openmetrics = plain = 0.0
    for name, parameters, weight in _members(accept):
        if name == OPENMETRICS and parameters.get("version", OPENMETRICS_VERSION) == OPENMETRICS_VERSION:
            openmetrics = max(openmetrics, weight)
        elif name == "text/plain":
            plain = max(plain, weight)
    return openmetrics > 0 and openmetrics >= plain


def takes_gzip(accept_encoding: str) -> bool:
    """Say whether a client takes gzip; one that says nothing may have no use for it (RFC 9110, section 12.5.3)."""
    weights = {name: weight for name, _parameters, weight in _members(accept_encoding)}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


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
