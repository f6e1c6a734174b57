"""Both experiments, from `provision up` to measurements: its user data and bundle run on booted hosts, over WireGuard.

The tests are one story, in the order of the file: built, measured, broken, rebooted, taken away.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab.cloud import Cloud
from tests.lab.cloud_claims import (
    NO_LEAKS,
    TRY_TO_LEAVE,
    ask,
    leaks_counted,
    moves_megabytes,
    without_fragmentation_needed,
)
from tests.lab.cloud_internet import EDGES
from tests.lab.deadline import wait_until
from tests.lab.scrape import scrape

pytestmark = pytest.mark.lab

REGIONS = ("ap-northeast-1", "eu-central-1", "ap-southeast-1")
FULL = Path(__file__).parents[2] / "provisioning/topologies/full.toml"
SITES = ("10.2.0.0/16", "10.0.0.0/16")
PEERING_SECONDS = 0.020
MTU = 1420


def topology() -> str:
    """The built-in, with the lab's exchange and API in the place of Binance's."""
    text = FULL.read_text().replace("wss://stream.binance.com:443/", "wss://exchange.lab:443/")
    return text.replace("https://api.binance.com/api/v3/time", "https://api.lab/time")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud(topology(), "--overlay", "wireguard", "--yes") as cloud:
        cloud.provision("up")
        cloud.build(REGIONS)
        cloud.boot()
        yield cloud


def test_every_host_becomes_ready_by_what_up_stored(cloud: Cloud) -> None:
    done = cloud.provision("up", "--wait", "240", check=False)
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *map(cloud.report, cloud.hosts)])
    rows = {row["key"]: row for row in json.loads(cloud.provision("status", "--json").stdout)}
    for name in cloud.hosts:
        assert re.search(rf"; ready host={name} bundle=[0-9a-f]{{16}}", rows[f"host/{name}"]["detail"])
    bundles = {str(row["detail"]).split("bundle=")[1].split()[0] for row in rows.values() if "bundle=" in row["detail"]}
    assert len(bundles) == 1


def test_a_second_up_has_nothing_to_do(cloud: Cloud) -> None:
    assert "nothing to do" in cloud.provision("up").stdout


def test_the_client_leaves_from_the_nat_instance_and_names_are_resolved_there(cloud: Cloud) -> None:
    client, baseline, nat = (cloud.hosts[name] for name in ("client", "baseline", "nat"))
    assert ask(client) == {"ip": nat.instance.public, "edge": "tokyo"}
    assert ask(baseline) == {"ip": baseline.instance.public, "edge": "singapore"}


def test_a_tunnel_that_networkd_has_left_half_configured_is_mended(cloud: Cloud) -> None:
    client = cloud.hosts["client"]
    client.shell("ip route delete default dev latency0 table 4242")
    assert ask(client, seconds=3) == {}
    client.run("/usr/local/lib/latency/bootstrap", "verify")
    assert ask(client)["ip"] == cloud.hosts["nat"].instance.public


def test_full_segments_pass_both_ways_though_nobody_says_fragmentation_needed(cloud: Cloud) -> None:
    client = cloud.hosts["client"]
    routers = [vpc.site.router for vpc in cloud.network.vpcs.values()]
    with without_fragmentation_needed(*routers, cloud.internet.site.router):
        assert moves_megabytes(client, cloud.internet) <= MTU - 40
    # The largest packet that fits passes whole, a larger one is refused on the spot.
    client.run("ping", "-c", "1", "-W", "10", "-M", "do", "-s", str(MTU - 28), EDGES["tokyo"])
    refused = client.run("ping", "-c", "1", "-W", "3", "-M", "do", "-s", str(MTU - 27), EDGES["tokyo"], check=False)
    assert "too long" in refused.stderr + refused.stdout


def test_forwarder_and_receiver_measure(cloud: Cloud) -> None:
    receiver = cloud.hosts["receiver"]
    events = "latency_receiver_events_total"

    def brought(path: str) -> bool:
        return sum(scrape(receiver, 9472).values(events, path=path)) > 100

    for path in ("backbone", "direct"):
        wait_until(f"events by {path}", partial(brought, path))
    page = scrape(receiver, 9472)
    buckets: dict[float, float] = {}
    for name, labels, value in page.samples:
        if name == "latency_receiver_backbone_seconds_bucket":
            buckets[float(labels["le"])] = buckets.get(float(labels["le"]), 0.0) + value
    assert buckets[float("inf")] > 0
    assert max((count for le, count in buckets.items() if le < PEERING_SECONDS), default=0.0) == 0
    assert page.total("latency_receiver_sequence_gap_events_total", path="backbone") == 0


def test_probes_on_both_sides_measure_the_api(cloud: Cloud) -> None:
    def succeeds(name: str) -> bool:
        return scrape(cloud.hosts[name], 9473).values("latency_probe_success") == [1.0]

    for name in ("client", "baseline"):
        wait_until(f"{name} succeeds", partial(succeeds, name))


def test_the_nat_instance_tells_its_limits(cloud: Cloud) -> None:
    page = scrape(cloud.hosts["nat"], 9474)
    assert page.total("latency_nat_conntrack_entries_max") == 262144
    assert page.total("latency_nat_conntrack_entries") > 0


def test_the_client_cannot_use_the_nat_instance_to_reach_other_hosts(cloud: Cloud) -> None:
    client = cloud.hosts["client"]
    for address in ("10.1.1.10", "10.0.1.10", "169.254.169.254"):
        script = f"curl --silent --max-time 3 --interface latency0 --insecure http://{address}:8080/ || true"
        assert client.shell(script) == ""
    filtered = cloud.hosts["nat"].shell("iptables -nvxL FORWARD | grep DROP | grep 10.0.0.0/8")
    assert int(filtered.split()[0]) > 0


def test_with_the_tunnel_down_nothing_leaves(cloud: Cloud) -> None:
    client, nat = cloud.hosts["client"], cloud.hosts["nat"]
    link = next(link for key, link in cloud.network.peerings.items() if key == peering_of(cloud))
    before = len(cloud.internet.seen)
    with leaks_counted(client.vpc, client.address, SITES) as leaked:
        with link.severed():
            client.shell(TRY_TO_LEAVE)
        client.systemctl("stop", "lab-wireguard.service")
        client.shell(TRY_TO_LEAVE)
        client.shell("ip link delete latency0 2>/dev/null || true")
        assert "latency0" not in client.shell("ip -o link")
        client.shell(TRY_TO_LEAVE)
        # Even if someone takes the rule away that leads into the tunnel, the packet filter stays.
        client.shell("ip rule del pref 200")
        client.shell(TRY_TO_LEAVE)
    assert leaked == NO_LEAKS
    assert not [seen for seen in cloud.internet.seen[before:] if seen.path == "/leak"]
    refused = client.shell("iptables -nvxL OUTPUT | grep REJECT")
    assert int(refused.split()[0]) > 0
    client.reboot()
    wait_until("the client is back", lambda: ask(client, seconds=3).get("ip") == nat.instance.public)


def test_a_reboot_of_every_host_brings_everything_back(cloud: Cloud) -> None:
    for host in cloud.hosts.values():
        host.reboot()
    client, nat, receiver = (cloud.hosts[name] for name in ("client", "nat", "receiver"))
    for name, host in cloud.hosts.items():
        host.wait_for("latency-bootstrap.service")
        # What it says passes through a terminal, which somebody has to read.
        wait_until(f"{name} says so", lambda name=name: cloud.report(name).count(f"ready host={name}") >= 2)  # type: ignore[misc]
    wait_until("the client leaves again", lambda: ask(client, seconds=3).get("ip") == nat.instance.public)
    wait_until("events again", lambda: sum(scrape(receiver, 9472).values("latency_receiver_events_total")) > 100)
    assert moves_megabytes(client, cloud.internet) <= MTU - 40
    assert "nothing to do" in cloud.provision("up").stdout


def test_down_leaves_nothing(cloud: Cloud) -> None:
    assert "nothing is left by tag" in cloud.provision("down").stdout
    for region in REGIONS:
        ec2 = cloud.emulator.client("ec2", region)
        assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []


def peering_of(cloud: Cloud) -> str:
    """The peering that the tunnel crosses."""
    ec2 = cloud.emulator.client("ec2", "ap-southeast-1")
    (found,) = [
        item["VpcPeeringConnectionId"]
        for item in ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]
        if item["RequesterVpcInfo"]["VpcId"] == cloud.network.vpcs["singapore"].id
    ]
    return str(found)
