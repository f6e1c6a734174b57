"""The table that the project of the egress runs published: warm requests, in ms."""

__all__ = ["PUBLISHED", "SCENARIOS"]

SCENARIOS = {
    "20251022-020050": "via Tokyo (pinned)",
    "20251022-020550-baseline": "direct from Singapore",
    "20251022-022358-tokyo": "from Tokyo",
}

PUBLISHED = {
    "20251022-020050": {"median": 76.05, "p95": 79.57, "p99": 278.12},
    "20251022-020550-baseline": {"median": 72.09, "p95": 74.67, "p99": 151.64},
    "20251022-022358-tokyo": {"median": 5.48, "p95": 6.40, "p99": 8.31},
}
