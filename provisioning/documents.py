"""What ``--json`` prints: the shape of each command's answer, for the commands and for the published schemas."""

from typing import TypedDict

__all__ = ["Cost", "CostItem", "Down", "PlannedStep", "Reap", "Resource", "TargetGroup"]


class PlannedStep(TypedDict):
    """One step of ``plan``, or one that ``up`` has done.

    Attributes:
        verb: ``create``, ``change``, ``replace``, ``remove`` or ``blocked``.
        key: the resource, as the topology names it.
        region: where it is.
        details: what changes, or what blocks, a sentence each.
    """

    verb: str
    key: str
    region: str
    details: list[str]


class Resource(TypedDict):
    """One resource of ``status``.

    Attributes:
        key: the resource, as the topology names it.
        region: where it is.
        id: AWS's; empty when it is missing.
        state: ``missing``, ``surplus``, ``present``, or what AWS says of it.
        detail: addresses, and what a host says of itself; may be empty.
        zone: of a host or subnet, by its name in this account; empty for the rest.
        zone_id: the same by its id, which means one place in every account.
    """

    key: str
    region: str
    zone: str
    zone_id: str
    id: str
    state: str
    detail: str


class CostItem(TypedDict):
    """One line of ``cost``, in US dollars.

    Attributes:
        item: what costs.
        region: where.
        hour: an hour of it; null where traffic alone costs.
        per_gb: a GB through it; null where traffic costs nothing, and where the rate is not known: then both are.
        gb_per_30_days: the traffic that was said.
        per_30_days: all of it in 30 days.
        verified: the price was read from AWS; otherwise it is old or inferred.
    """

    item: str
    region: str
    hour: float | None
    per_gb: float | None
    gb_per_30_days: float
    per_30_days: float
    verified: bool


class Cost(TypedDict):
    """All of ``cost``.

    Attributes:
        prices_date: of the price list, YYYY-MM-DD.
        currency: of all prices.
        hour: an hour of everything.
        surplus_credits_hour_at_most: what t instances in unlimited mode can add in an hour.
        day: 24 hours.
        per_30_days: with traffic.
        items: line by line.
        nat_instance: what the NAT instance costs; empty without one.
        nat_gateway: what a NAT gateway would cost in its place; empty without one.
    """

    prices_date: str
    currency: str
    hour: float
    surplus_credits_hour_at_most: float
    day: float
    per_30_days: float
    items: list[CostItem]
    nat_instance: list[CostItem]
    nat_gateway: list[CostItem]


class Down(TypedDict):
    """What ``down`` did.

    Attributes:
        removed: AWS's identifiers.
        left: of what still stands; empty, or the command would have failed.
        regions: that were looked at.
        unseen: regions that could not be looked at, and why.
        others: other deployments of the account, by region.
    """

    removed: list[str]
    left: list[str]
    regions: list[str]
    unseen: dict[str, str]
    others: dict[str, list[str]]


class Reap(TypedDict):
    """What ``reap`` did.

    Attributes:
        expires: when the deployment ends (RFC 3339); null without an end.
        removed: AWS's identifiers; empty when it is not due.
    """

    expires: str | None
    removed: list[str]


class TargetGroup(TypedDict):
    """One group of ``targets``, as Prometheus' file service discovery reads it.

    Attributes:
        targets: ``HOST:PORT`` of an exporter.
        labels: deployment, role, site, region and host, and the zone where the topology names it.
    """

    targets: list[str]
    labels: dict[str, str]
