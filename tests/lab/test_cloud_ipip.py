"""The egress experiment over IPIP, in virtual machines: Debian's stock kernel, real cloud-init, EC2's metadata service.

The tests are one story, in the order of the file. Without KVM it takes minutes (`make lab-vm`).
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from tests.lab.deadline import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.vm]

REGIONS = ("ap-southeast-1", "ap-northeast-1")
EGRESS = Path(__file__).parents[2] / "provisioning/topologies/egress.toml"
MTU = 1480
BOOT_SECONDS = 420


class Client:
    """The private client, as an operator reaches it: by `provision ssh`, through the NAT instance."""

    def __init__(self, cloud: Cloud, identity: Path, name: str) -> None:
        self._cloud, self._identity, self._name = cloud, identity, name

    def shell(self, script: str, **options: Any) -> str:
        arguments = ("ssh", "--identity", str(self._identity), self._name, "--", "sudo", "sh", "-eus")
        return self._cloud.provision(*arguments, on_the_internet=True, stdin=script).stdout


def topology() -> str:
    """The built-in without the public baseline, with the lab's API in the place of Binance's."""
    text = EGRESS.read_text().replace("https://api.binance.com/api/v3/time", "https://api.lab/time")
    text = re.sub(r'\[\[host\]\]\nname = "baseline"\n.*?\n\n', "", text, flags=re.DOTALL)
    assert "baseline" not in text.split("\n", 1)[1]
    return text


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


@pytest.fixture(scope="module")
def cloud(identity: Path) -> Iterator[Cloud]:
    public = identity.with_suffix(".pub")
    access = ("--ssh-from", "198.18.0.1/32", "--ssh-key", str(public))
    with Cloud(topology(), "--yes", *access, public_key=public.read_text().strip()) as cloud:
        cloud.provision("up")
        cloud.build(REGIONS)
        cloud.boot_machines()
        yield cloud


@pytest.fixture(scope="module")
def client(cloud: Cloud, identity: Path) -> Client:
    return Client(cloud, identity, "client")


@pytest.fixture(scope="module")
def nat(cloud: Cloud, identity: Path) -> Client:
    return Client(cloud, identity, "nat")


def test_both_machines_become_ready_by_what_up_stored(cloud: Cloud) -> None:
    done = cloud.provision("up", "--wait", str(BOOT_SECONDS), check=False, seconds=BOOT_SECONDS + 60)
    assert done.returncode == 0, "\n".join(
        [done.stdout, done.stderr, *(m.console.read_text(errors="replace")[-2500:] for m in cloud.machines.values())]
    )


def test_the_client_leaves_from_the_nat_instance_and_names_are_resolved_there(cloud: Cloud, client: Client) -> None:
    (nat,) = [item for vpc in cloud.network.vpcs.values() for item in vpc.instances if item.key == "host/nat"]
    assert ask(client) == {"ip": nat.public, "edge": "tokyo"}
    assert "ipip" in client.shell("ip -d link show latency0")


def test_the_clock_is_kept_by_the_link_local_server(client: Client) -> None:
    said = client.shell(
        "timedatectl show-timesync -p ServerAddress -p PollIntervalMaxUSec; timedatectl show -p NTPSynchronized"
    )
    assert "ServerAddress=169.254.169.123" in said
    assert "NTPSynchronized=yes" in said


def test_full_segments_pass_both_ways_though_nobody_says_fragmentation_needed(cloud: Cloud, client: Client) -> None:
    routers = [vpc.site.router for vpc in cloud.network.vpcs.values()]
    with without_fragmentation_needed(*routers, cloud.internet.site.router):
        assert moves_megabytes(client, cloud.internet, seconds=120) <= MTU - 40


def test_with_the_tunnel_down_nothing_leaves(cloud: Cloud, client: Client) -> None:
    singapore = cloud.network.vpcs["singapore"]
    (host,) = singapore.instances
    before = len(cloud.internet.seen)
    with leaks_counted(singapore, host.address, ("10.0.0.0/16", "10.1.0.0/16")) as leaked:
        client.shell(f"ip link del latency0\n{TRY_TO_LEAVE}")
        client.shell(f"ip rule del pref 200\n{TRY_TO_LEAVE}")
    assert leaked == NO_LEAKS
    assert not [seen for seen in cloud.internet.seen[before:] if seen.path == "/leak"]
    assert int(client.shell("iptables -nvxL OUTPUT | grep REJECT").split()[0]) > 0


def test_a_reboot_of_both_brings_everything_back(cloud: Cloud, client: Client, nat: Client) -> None:
    (instance,) = [item for vpc in cloud.network.vpcs.values() for item in vpc.instances if item.key == "host/nat"]
    for name, host in (("client", client), ("nat", nat)):
        machine = cloud.machines[name]
        size = machine.console.stat().st_size
        host.shell("systemctl --no-block reboot")
        machine.wait_off(120)
        machine.start()
        machine.said_before = size
    for name in ("nat", "client"):
        machine = cloud.machines[name]
        machine.wait_for_words(f"backbone-latency: ready host={name}", since=machine.said_before, seconds=BOOT_SECONDS)
    wait_until("the client leaves again", lambda: ask(client, seconds=5).get("ip") == instance.public, every=2)
