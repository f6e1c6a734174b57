"""The picture of a topology: every site, host and way is in it, with the price that the table has."""

import pytest

from provisioning.cost import Traffic, estimate
from provisioning.drawing import drawing
from provisioning.loading import BUILT_IN, adjusted, load_topology


@pytest.mark.parametrize("name", BUILT_IN)
def test_everything_is_in_the_picture_once(name: str) -> None:
    topology = load_topology(name)
    lines = drawing(topology)
    sites = [line for line in lines if not line.startswith(" ")][:-1]
    assert [line.split(" (")[0] for line in sites] == [site.name for site in topology.site]
    for host in topology.host:
        assert len([line for line in lines if line.startswith(f"  {host.name}: {host.role} {host.type}")]) == 1
    for link in topology.link:
        way = f"  {link.forwarder} --{link.via}--> {link.receiver}: {link.name}, "
        assert len([line for line in lines if line.startswith(way)]) == 1
    assert lines[-1].startswith(f"{estimate(topology, Traffic()).hour:.4f} USD an hour without traffic")


def test_the_ways_are_priced() -> None:
    assert drawing(load_topology("ways")) == [
        "tokyo (ap-northeast-1, 10.0.0.0/16)",
        "  forwarder: forwarder t3.micro, 10.0.1.10, 10.0.1.11, Elastic IP, 0.0197 USD/h *",
        "frankfurt (eu-central-1, 10.1.0.0/16)",
        "  receiver: receiver t3.micro, 10.1.1.10, 10.1.1.11, Elastic IP, 0.0181 USD/h *",
        "  forwarder --peering--> receiver: peering, tcp 8080",
        "  forwarder --transit--> receiver: transit, tcp 8080, 0.2600 USD/h *",
        "  forwarder --accelerator--> receiver: accelerator, tcp 8080, 0.0250 USD/h",
        "  forwarder --internet--> receiver: internet, tcp 8080",
        "0.3227 USD an hour without traffic, at prices of 2026-09-25; those marked * are old or inferred",
    ]


def test_the_zone_and_the_way_out_are_told() -> None:
    assert "  forwarder-az4: forwarder t3.micro, 10.0.3.10, public, apne1-az4, 0.0197 USD/h *" in drawing(
        load_topology("zones")
    )
    assert "  client --overlay--> nat --> the internet" in drawing(load_topology("egress"))


def test_what_has_no_price_is_drawn_all_the_same() -> None:
    lines = drawing(adjusted(load_topology("backbone"), types={"receiver": "m5.large"}))
    assert "  receiver: receiver m5.large, 10.1.1.10, public" in lines
    assert not any("USD" in line for line in lines)
