"""``cost``: what a deployment costs, with what it would cost with a NAT gateway."""

import click

from daemons.errors import ConfigError
from daemons.service.settings.numbers import Number
from provisioning.cost import Estimate, Item, Traffic, estimate
from provisioning.documents import Cost, CostItem
from provisioning.screen import Screen
from provisioning.settings import Settings
from provisioning.topology import Topology
from provisioning.wishes import topology_of

__all__ = ["cost"]


def cost(
    settings: Settings,
    link_gb: tuple[str, ...],
    overlay_gb: float,
    proxy_gb: float,
    internet_gb: float,
    archive_gb: float,
) -> None:
    """Do ``provision cost``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    topology = topology_of(settings)
    of_each, by_link = _over_links(topology, link_gb)
    result = estimate(topology, Traffic(of_each, overlay_gb, internet_gb, proxy_gb, by_link, archive_gb))
    if settings.json:
        screen.result(_cost_json(result))
        return
    columns = ("item", "USD/h", "USD/day", "USD/GB", "GB/30 days", "USD/30 days")
    total = f"{result.hour:.4f}", f"{result.hour * 24:.2f}", "", "", f"{result.per_30_days:.2f}"
    screen.table(f"prices of {result.date}", columns, [*map(_cost_row, result.items), ("total", *total)])
    if unknown := [item.what for item in result.items if not item.known]:
        screen.say(f"not in the total, for AWS publishes no rate that the table could have: {', '.join(unknown)}")
    if result.nat_gateway:
        rows = [*map(_cost_row, result.nat_instance), *map(_cost_row, result.nat_gateway)]
        screen.table("NAT instance beside NAT gateway", columns, rows)
        pair = (sum(item.per_30_days for item in side) for side in (result.nat_instance, result.nat_gateway))
        screen.say("NAT instance {:.2f} USD, NAT gateway {:.2f} USD in 30 days".format(*pair))
    if result.surplus_hour:
        screen.say(
            f"t types in unlimited mode cost up to {result.surplus_hour:.4f} USD an hour more, for as long as their "
            "CPUs are busy beyond the baseline; --cpu-credits standard holds them at it instead"
        )
    screen.say(
        f"prices of {result.date}; those marked * are old or inferred. "
        f"The first {result.free_internet_gb:.0f} GB a month from an account to the internet are free and not "
        "subtracted. Taxes, what hosts fetch from S3, and metrics storage are left out."
    )


def _over_links(topology: Topology, texts: tuple[str, ...]) -> tuple[float, dict[str, float]]:
    """Read amounts of traffic: ``GB`` for every link, ``LINK=GB`` for one."""
    of_each: float | None = None
    by_link: dict[str, float] = {}
    links = [link.name for link in topology.link]
    for text in texts:
        name, equals, amount = text.rpartition("=")
        try:
            number = Number(0).convert(amount, None, None)
        except click.UsageError as error:
            raise ConfigError("--link-gb", f"{text!r} is no amount", "write GB or LINK=GB, such as 10") from error
        if equals and name not in links:
            raise ConfigError(
                "--link-gb", f"{name!r} is no link", f"use one of {', '.join(links) or 'none: there is none'}"
            )
        if name in by_link or (not equals and of_each is not None):
            raise ConfigError("--link-gb", f"{name or 'that of every link'} is given twice", "give it once")
        if equals:
            by_link[name] = number
        else:
            of_each = number
    return of_each or 0.0, by_link


def _cost_row(item: Item) -> tuple[str, ...]:
    return (
        item.what + ("" if item.verified else " *"),
        "" if item.hour is None else f"{item.hour:.4f}",
        "" if item.hour is None else f"{item.hour * 24:.2f}",
        f"{item.per_gb:.3f}" if item.per_gb is not None else "" if item.known else "not known",
        f"{item.gb_per_30_days:g}" if item.hour is None else "",
        f"{item.per_30_days:.2f}" if item.known else "not known",
    )


def _cost_json(result: Estimate) -> Cost:
    def lines(items: tuple[Item, ...]) -> list[CostItem]:
        return [
            {
                "item": item.what,
                "region": item.where,
                "hour": item.hour,
                "per_gb": item.per_gb,
                "gb_per_30_days": item.gb_per_30_days,
                "per_30_days": round(item.per_30_days, 4),
                "verified": item.verified,
            }
            for item in items
        ]

    return {
        "prices_date": result.date,
        "currency": result.currency,
        "hour": round(result.hour, 6),
        "surplus_credits_hour_at_most": round(result.surplus_hour, 6),
        "day": round(result.hour * 24, 4),
        "per_30_days": round(result.per_30_days, 4),
        "items": lines(result.items),
        "nat_instance": lines(result.nat_instance),
        "nat_gateway": lines(result.nat_gateway),
    }
