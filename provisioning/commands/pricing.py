"""``cost``: what a deployment costs, with what it would cost with a NAT gateway."""

from provisioning.cost import Estimate, Item, Traffic, estimate
from provisioning.documents import Cost, CostItem
from provisioning.screen import Screen
from provisioning.settings import Settings
from provisioning.wishes import topology_of

__all__ = ["cost"]


def cost(settings: Settings, link_gb: float, overlay_gb: float, proxy_gb: float, internet_gb: float) -> None:
    """Do ``provision cost``; its help says what that is."""
    screen = Screen(as_json=settings.json)
    result = estimate(topology_of(settings), Traffic(link_gb, overlay_gb, internet_gb, proxy_gb))
    if settings.json:
        screen.result(_cost_json(result))
        return
    columns = ("item", "USD/h", "USD/day", "USD/GB", "GB/30 days", "USD/30 days")
    total = f"{result.hour:.4f}", f"{result.hour * 24:.2f}", "", "", f"{result.per_30_days:.2f}"
    screen.table(f"prices of {result.date}", columns, [*map(_cost_row, result.items), ("total", *total)])
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
        "subtracted. Taxes, S3 and metrics storage are left out."
    )


def _cost_row(item: Item) -> tuple[str, ...]:
    return (
        item.what + ("" if item.verified else " *"),
        "" if item.hour is None else f"{item.hour:.4f}",
        "" if item.hour is None else f"{item.hour * 24:.2f}",
        "" if item.per_gb is None else f"{item.per_gb:.3f}",
        f"{item.gb_per_30_days:g}" if item.per_gb is not None else "",
        f"{item.per_30_days:.2f}",
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
