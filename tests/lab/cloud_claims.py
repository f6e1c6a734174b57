"""What must hold on any deployment with an overlay, whatever the tunnel is made of and whatever the hosts are."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.lab.cloud_internet import API, EDGES, Internet
from tests.lab.cloud_network import Vpc

__all__ = [
    "MEGABYTES",
    "NO_LEAKS",
    "TRY_TO_LEAVE",
    "Shell",
    "ask",
    "leaks_counted",
    "moves_megabytes",
    "without_fragmentation_needed",
]

MEGABYTES = 3_000_000
NO_LEAKS = {"resolver": 0, "elsewhere": 0, "ipv6": 0}


class Shell(Protocol):
    """A host, as far as these claims need it."""

    def shell(self, script: str, **options: Any) -> str:
        """Run a script there."""


def ask(host: Shell, path: str = "/time", seconds: int = 10) -> dict[str, str]:
    """Ask the API who we are; empty when no answer came."""
    text = host.shell(f"curl --silent --max-time {seconds} https://{API}{path} || true")
    answer: dict[str, str] = json.loads(text) if text else {}
    return answer


def moves_megabytes(host: Shell, internet: Internet, seconds: int = 60) -> int:
    """Send megabytes and fetch megabytes, and return the maximum segment size that the server was told.

    Raises:
        AssertionError: they did not all arrive.
    """
    script = f"head -c {MEGABYTES} /dev/zero | curl -sS --max-time {seconds} --data-binary @- https://{API}/sink"
    assert host.shell(script) == str(MEGABYTES)
    got = host.shell(f"curl -sS --max-time {seconds} https://{API}/bytes/{MEGABYTES} | wc -c")
    assert int(got) == MEGABYTES
    # Probes ask the same server now and then, and are none of ours.
    ours = [seen.mss for seen in internet.seen if seen.path in ("/sink", f"/bytes/{MEGABYTES}")]
    return min(ours[-2:])


@contextmanager
def without_fragmentation_needed(*routers: Any) -> Iterator[None]:
    """Let routers drop what tells a sender to send less, as many firewalls do: then only the clamp helps."""
    rules = """table ip silent {
    chain out { type filter hook output priority 0; icmp type destination-unreachable icmp code 4 drop; }
    chain forward { type filter hook forward priority -300; icmp type destination-unreachable icmp code 4 drop; }
}
"""
    for router in routers:
        router.run("nft", "-f", "-", stdin=rules)
    try:
        yield
    finally:
        for router in routers:
            router.run("nft", "delete", "table", "ip", "silent")


@contextmanager
def leaks_counted(vpc: Vpc, client: str, allowed: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Count the packets of a client that leave by its own VPC: to its resolver, beyond the sites, over IPv6.

    The counts are there when the block ends.
    """
    rules = f"""table ip watch {{
    chain look {{
        type filter hook prerouting priority -400;
        ip saddr {client} ip daddr {vpc.resolver} counter
        ip saddr {client} ip daddr != {{ {", ".join(allowed)}, 169.254.0.0/16 }} counter
    }}
}}
table ip6 watch {{
    chain look {{
        type filter hook prerouting priority -400;
        iifname "lan" ip6 daddr != {{ fe80::/10, ff02::/16 }} counter
    }}
}}
"""
    vpc.site.router.run("nft", "-f", "-", stdin=rules)
    found: dict[str, int] = {}
    try:
        yield found
        listed = json.loads(vpc.site.router.run("nft", "--json", "list", "ruleset"))["nftables"]
        chains = [item["rule"] for item in listed if item.get("rule", {}).get("table") == "watch"]
        counters = [part["counter"]["packets"] for rule in chains for part in rule["expr"] if "counter" in part]
        found.update(zip(NO_LEAKS, counters, strict=True))
    finally:
        for family in ("ip", "ip6"):
            vpc.site.router.run("nft", "delete", "table", family, "watch")


TRY_TO_LEAVE = f"""
curl --silent --max-time 3 https://{API}/leak >&2 || true
for address in {EDGES["tokyo"]} {EDGES["singapore"]}; do
  curl --silent --max-time 3 --insecure https://$address/leak >&2 || true
  ping -c 1 -W 1 $address >&2 || true
done
timeout 4 getent ahostsv4 leak.example >&2 || true
curl --silent --max-time 2 'https://[2001:db8::1]/leak' >&2 || true
"""
"""Every way out that a careless program might take."""
