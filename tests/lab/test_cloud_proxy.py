"""Three ways out beside each other, HTTP proxy, NAT instance and direct, from `provision up` to measurements.

Squid comes by the hosts' own `apt-get`, from a repository with Debian's packages. The tests are one story, in the order
of the file: built, measured, broken, rebooted, taken away.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cloud import Cloud, CloudHost
from tests.lab.cloud_internet import API, EDGES
from tests.lab.cloud_network import INTERNET, PEERING
from tests.lab.cloud_packages import packages_layer
from tests.lab.deadline import wait_until
from tests.lab.scrape import scrape
from tests.processes import DEADLINE_SECONDS

pytestmark = pytest.mark.lab

REGIONS = ("ap-southeast-1", "ap-northeast-1")
PROXY = Path(__file__).parents[2] / "provisioning/topologies/proxy.toml"
URL = "http://10.1.1.20:3128"
UNIT = "latency-proxy.service"
CONFIGURATION = "/etc/squid/latency.conf"
PEERING_MS = 2 * PEERING.delay_ms
INTERNET_MS = 2 * INTERNET.delay_ms
"""Round trips that no packet can beat: what a phase takes at least."""


SUITE = f"""baseline = "direct"
[target]
url = "https://{API}/time"
count = 75
interval_seconds = 0.05
[egress]
url = "https://{API}/time"
city_field = "edge"
[[scenario]]
name = "direct"
host = "baseline"
[scenario.cold]
p95_ms = [{INTERNET_MS}, 5000]
[scenario.egress]
host = "baseline"
city = "singapore"
[[scenario]]
name = "via-nat"
host = "client"
[scenario.cold]
p95_ms = [{PEERING_MS + INTERNET_MS}, 5000]
[scenario.egress]
host = "nat"
city = "tokyo"
[[scenario]]
name = "via-proxy"
host = "proxied"
proxy = "{URL}"
[scenario.cold]
p95_ms = [{PEERING_MS + INTERNET_MS}, 5000]
[scenario.egress]
host = "proxy"
city = "tokyo"
"""


def topology() -> str:
    """The built-in, with the lab's API in the place of Binance's."""
    return PROXY.read_text().replace("https://api.binance.com/api/v3/time", f"https://{API}/time")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


@pytest.fixture(scope="module")
def cloud(identity: Path) -> Iterator[Cloud]:
    access = ("--ssh-from", "198.18.0.1/32", "--ssh-key", str(identity.with_suffix(".pub")))
    with Cloud(topology(), "--overlay", "wireguard", "--yes", *access) as cloud:
        cloud.provision("up")
        cloud.build(REGIONS)
        cloud.boot(packages_layer("squid"))
        yield cloud


def answer(host: CloudHost, *arguments: str) -> str:
    """What curl ends with on a host: the proxy's status for the tunnel, and the server's."""
    script = f"curl -s -m 20 -o /dev/null -w '%{{http_connect}} %{{http_code}}' {' '.join(arguments)} || true"
    return host.shell(script)


def failures(host: CloudHost) -> dict[str, float]:
    """How many requests of a host's probe failed, by reason."""
    counted = "latency_probe_failures_total"
    return {labels["reason"]: value for name, labels, value in scrape(host, 9473).samples if name == counted}


def fails_by(host: CloudHost, reason: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until requests fail for this reason."""
    before = failures(host)[reason]
    wait_until(f"{host.name} fails by {reason}", lambda: failures(host)[reason] > before, seconds)


def succeeds(host: CloudHost, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until a host's probe gets answers, cold and warm."""
    successes = "latency_probe_successes_total"
    before = scrape(host, 9473).total(successes)

    def again() -> bool:
        page = scrape(host, 9473)
        return page.values("latency_probe_success") == [1.0] and page.total(successes) >= before + 2

    wait_until(f"{host.name} succeeds", again, seconds)


def test_every_host_becomes_ready_by_what_up_stored(cloud: Cloud) -> None:
    done = cloud.provision("up", "--wait", "240", check=False)
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *map(cloud.report, cloud.hosts)])
    assert "nothing to do" in cloud.provision("up").stdout


def test_the_proxy_is_the_distributions_without_rights_and_for_the_client_alone(cloud: Cloud) -> None:
    proxy, client = cloud.hosts["proxy"], cloud.hosts["proxied"]
    assert proxy.systemctl("is-enabled", "squid.service", check=False).strip() == "masked"
    status = proxy.shell(f"cat /proc/{proxy.main_pid(UNIT)}/status")
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert proxy.shell(f"stat -c %U /proc/{proxy.main_pid(UNIT)}").strip() == "proxy"
    listening = [line.split()[3] for line in proxy.shell("ss -Hltn").splitlines()]
    assert [address for address in listening if address.endswith(":3128")] == ["10.1.1.20:3128"]
    assert answer(client, "-x", URL, f"https://{API}/") == "200 200"
    for refused in (
        "https://exchange.lab/",
        "https://169.254.169.254/",
        f"https://{API}:8443/",
        f"https://{EDGES['tokyo']}/",
    ):
        assert answer(client, "-x", URL, refused) == "403 000", refused
    assert answer(client, "-x", URL, "http://169.254.169.254/latest/meta-data/") == "000 403"
    # The proxy's own host is a stranger to it, and the security group lets nobody else come so far.
    assert answer(proxy, "-x", URL, f"https://{API}/") == "403 000"
    assert answer(cloud.hosts["baseline"], "-x", URL, "-m 3", f"https://{API}/") == "000 000"


def test_the_client_has_no_other_way_and_the_server_sees_the_proxy(cloud: Cloud) -> None:
    proxy, client = cloud.hosts["proxy"], cloud.hosts["proxied"]
    for way in (
        f"https://{API}/leak",
        f"--insecure https://{EDGES['tokyo']}/leak",
        f"--insecure https://{EDGES['singapore']}/leak",
    ):
        assert answer(client, "-m 3", way) == "000 000"
    before = len(cloud.internet.seen)
    told = json.loads(client.shell(f"curl -sS -m 20 -x {URL} https://{API}/mine"))
    # The name was looked up in Tokyo, and there it leads to another edge.
    assert told == {"ip": proxy.instance.public, "edge": "tokyo"}
    succeeds(client)
    seen = cloud.internet.seen[before:]
    assert not [one for one in cloud.internet.seen if one.path == "/leak"]
    assert {one.edge for one in seen if one.caller == proxy.instance.public} == {"tokyo"}
    assert {one.caller for one in seen} <= {cloud.hosts[name].instance.public for name in ("proxy", "nat", "baseline")}


def test_the_probe_tells_the_tunnel_as_a_part_of_its_own(cloud: Cloud) -> None:
    page = scrape(cloud.hosts["proxied"], 9473)
    count = "latency_probe_phase_seconds_count"
    assert page.total(count, connection="cold", phase="tunnel") > 0
    assert not page.values(count, connection="warm", phase="tunnel")
    assert page.values("latency_probe_target_info", proxy="10.1.1.20:3128", address="10.1.1.20") == [1.0]
    assert not scrape(cloud.hosts["baseline"], 9473).values(count, phase="tunnel")


def measured(host: CloudHost, *options: str) -> dict[str, Any]:
    """What `latency-probe --once` finds on a host: cold and warm, median by part."""
    host.shell(
        f"/opt/backbone-latency/current/bin/latency-probe --target https://{API}/time --once --count 20 --interval 0.1 "
        f"--json /tmp/once.json --metrics '' {' '.join(options)}"
    )
    target = json.loads(host.shell("cat /tmp/once.json"))["targets"][API]
    assert not target["failure_details"]
    return {
        kind: {part: figures["min_ms"] for part, figures in found["phases"].items()}
        for kind, found in target["connections"].items()
    }


def test_cold_and_warm_with_and_without_the_proxy_side_by_side(cloud: Cloud) -> None:
    direct = measured(cloud.hosts["baseline"])
    proxied = measured(cloud.hosts["proxied"], "--proxy", URL)
    print(json.dumps({"direct": direct, "proxied": proxied}, indent=1))  # noqa: T201 the figures of the run
    assert list(direct["cold"]) == ["dns", "connect", "tls", "processing", "transfer"]
    assert list(proxied["cold"]) == ["connect", "tunnel", "tls", "processing", "transfer"]
    assert list(direct["warm"]) == list(proxied["warm"]) == ["processing", "transfer"]
    # Nothing is faster than its round trips: to the proxy, from the proxy, and all the way.
    for part in ("connect", "tls", "processing"):
        assert direct["cold"][part] >= INTERNET_MS
    assert proxied["cold"]["connect"] >= PEERING_MS
    for part in ("tunnel", "tls", "processing"):
        assert proxied["cold"][part] >= PEERING_MS + INTERNET_MS
    assert proxied["warm"]["processing"] >= PEERING_MS + INTERNET_MS


def test_direct_nat_and_proxy_are_three_scenarios_of_one_suite(cloud: Cloud, identity: Path, tmp_path: Path) -> None:
    for host in cloud.hosts.values():
        let_in(host, identity.with_suffix(".pub").read_text())
    (tmp_path / "suite.toml").write_text(SUITE)
    on = ("--deployment", "topology", "--topology", str(cloud.place / "topology.toml"), "--identity", str(identity))
    output = ("--output", str(tmp_path / "out"))
    done = cloud.on_the_internet("experiment", "validate", str(tmp_path / "suite.toml"), *on, *output)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out/validation.json").read_text())
    medians = {
        scenario["name"]: {phase["phase"]: phase["medians_ms"] for phase in scenario["phases"]}
        for scenario in result["scenarios"]
    }
    assert list(medians) == ["direct", "via-nat", "via-proxy"]
    assert [name for name, of in medians.items() if "tunnel" in of["cold"]] == ["via-proxy"]
    assert all(set(of["warm"]) == {"processing", "transfer", "total"} for of in medians.values())
    assert len(result["comparisons"]) == 4
    side_by_side = (tmp_path / "out/validation.md").read_text().partition("## Side by side")[2]
    print(side_by_side)  # noqa: T201 the figures of the run


def let_in(host: CloudHost, key: str) -> None:
    """Do what the image's cloud-init does for the key pair."""
    host.shell("id admin >/dev/null 2>&1 || useradd --create-home --shell /bin/sh admin")
    host.write("/home/admin/.ssh/authorized_keys", key)
    host.shell("chown -R admin: /home/admin && chmod -R go= /home/admin/.ssh")


def test_a_proxy_that_is_stopped_refuses_or_is_silent_is_told_and_comes_back_by_itself(cloud: Cloud) -> None:
    proxy, client = cloud.hosts["proxy"], cloud.hosts["proxied"]
    proxy.systemctl("stop", UNIT)
    fails_by(client, "connect_refused")
    proxy.systemctl("start", UNIT)
    succeeds(client)

    rules = proxy.shell(f"cat {CONFIGURATION}")
    proxy.write(CONFIGURATION, rules.replace("http_access deny !client", "http_access deny all"))
    proxy.systemctl("restart", UNIT)
    fails_by(client, "proxy_denied")
    proxy.write(CONFIGURATION, rules)
    proxy.systemctl("restart", UNIT)
    succeeds(client)

    # It is stopped where it stands: the kernel still accepts, and nobody answers.
    proxy.kill(UNIT, "SIGSTOP")
    fails_by(client, "tunnel_timeout")
    proxy.kill(UNIT, "SIGCONT")
    succeeds(client)

    with next(iter(cloud.network.peerings.values())).severed():
        fails_by(client, "connect_timeout")
    succeeds(client)


def test_a_name_that_the_proxy_does_not_find_is_its_refusal(cloud: Cloud) -> None:
    proxy, client = cloud.hosts["proxy"], cloud.hosts["proxied"]
    rules = proxy.shell(f"cat {CONFIGURATION}")
    proxy.write(CONFIGURATION, rules.replace(f"dstdomain -n {API}", "dstdomain -n nosuch.lab"))
    proxy.systemctl("restart", UNIT)
    probe = "/opt/backbone-latency/current/bin/latency-probe --once --count 1 --connections cold --metrics ''"
    said = client.shell(f"{probe} --proxy {URL} --target https://nosuch.lab/ || true")
    assert "proxy_unavailable" in said
    assert "x-squid-error: ERR_" in said
    proxy.write(CONFIGURATION, rules)
    proxy.systemctl("restart", UNIT)


def test_a_reboot_of_every_host_brings_everything_back(cloud: Cloud) -> None:
    for host in cloud.hosts.values():
        host.reboot()
    for name, host in cloud.hosts.items():
        host.wait_for("latency-bootstrap.service")
        # What it says passes through a terminal, which somebody has to read.
        wait_until(f"{name} says so", partial(lambda name: cloud.report(name).count(f"ready host={name}") >= 2, name))
    succeeds(cloud.hosts["proxied"], 90)
    assert "nothing to do" in cloud.provision("up").stdout


def test_down_leaves_nothing(cloud: Cloud) -> None:
    assert "nothing is left by tag" in cloud.provision("down").stdout
