"""Both experiments, from `provision up` to measurements: its user data and bundle run on booted hosts, over WireGuard."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cloud import Cloud
from tests.lab.deadline import wait_until
from tests.lab.scrape import scrape

pytestmark = pytest.mark.lab

REGIONS = ("ap-northeast-1", "eu-central-1", "ap-southeast-1")
FULL = Path(__file__).parents[2] / "provisioning/topologies/full.toml"


def topology() -> str:
    """The built-in, with the lab's exchange and API in the place of Binance's."""
    text = FULL.read_text().replace("wss://stream.binance.com:443/", "wss://exchange.lab:443/")
    text = text.replace("https://api.binance.com/api/v3/time", "https://api.lab/time")
    return 's3_endpoint = "https://s3.lab"\n' + text


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud(topology(), "--overlay", "wireguard", "--yes") as cloud:
        cloud.provision("up")
        cloud.build(REGIONS)
        cloud.boot()
        yield cloud


def test_every_host_becomes_ready_by_what_up_stored(cloud: Cloud) -> None:
    done = cloud.provision("up", "--wait", "180", check=False)
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *map(cloud.report, cloud.hosts)])
