import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioning.cost import Traffic, estimate, prices
from provisioning.errors import ProvisionError
from provisioning.loading import BUILT_IN, adjusted, load_topology
from provisioning.main import main


def test_the_backbone_costs_what_its_parts_cost() -> None:
    result = estimate(load_topology("backbone"), Traffic(link_gb=50))
    hosts = 0.0136 + 0.0120 + 2 * 0.005
    volumes = 8 * (0.096 + 0.0952) / 720
    assert result.hour == pytest.approx(hosts + volumes)
    assert result.per_30_days == pytest.approx(720 * (hosts + volumes) + 50 * 0.09)


def test_inter_region_traffic_is_billed_to_the_sender() -> None:
    items = {item.what: item for item in estimate(load_topology("egress"), Traffic(overlay_gb=10)).items}
    assert items["overlay out: ap-southeast-1 to ap-northeast-1"].per_30_days == pytest.approx(0.9)
    assert items["overlay back: ap-northeast-1 to ap-southeast-1"].per_30_days == pytest.approx(0.9)
    assert items["nat: to the internet"].per_30_days == pytest.approx(1.14)


def test_links_carry_what_is_told_of_each_or_of_all() -> None:
    flags = ["--link-gb", "1", "--link-gb", "transit=10", "--link-gb", "internet=0"]
    told = CliRunner().invoke(main, ["cost", "--topology", "ways", "--json", *flags])
    assert told.exit_code == 0, told.output
    amounts = {item["item"]: item["gb_per_30_days"] for item in json.loads(told.output)["items"]}
    assert amounts["link peering: ap-northeast-1 to eu-central-1"] == 1
    assert amounts["link transit: transit gateway"] == amounts["link transit: ap-northeast-1 to eu-central-1"] == 10
    assert amounts["link internet: to the internet"] == 0
    assert amounts["link accelerator: accelerator"] == 1


def test_what_has_a_rate_that_nobody_tells_is_named_and_in_no_sum(tmp_path: Path) -> None:
    text = (Path("provisioning/topologies") / "backbone.toml").read_text()
    plain, dearer = tmp_path / "plain.toml", tmp_path / "dearer.toml"
    plain.write_text(text)
    dearer.write_text(text.replace('accepter = "frankfurt"', 'accepter = "frankfurt"\nmultipath_resilience = true'))
    items = {}
    for file in (plain, dearer):
        told = CliRunner().invoke(main, ["cost", "--topology", str(file), "--json", "--link-gb", "10"])
        assert told.exit_code == 0, told.output
        items[file] = json.loads(told.output)
    (more,) = [item for item in items[dearer]["items"] if item not in items[plain]["items"]]
    assert more["item"].endswith(": multipath resilience")
    assert (more["hour"], more["per_gb"], more["gb_per_30_days"], more["verified"]) == (None, None, 10, False)
    assert items[dearer]["per_30_days"] == items[plain]["per_30_days"]
    shown = CliRunner().invoke(main, ["cost", "--topology", str(dearer), "--link-gb", "10"]).output
    assert "not in the total" in shown
    assert "not known" in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["proxy=1"], "--link-gb: 'proxy' is no link; use one of peering, transit, accelerator, internet"),
        (["transit=much"], "--link-gb: 'transit=much' is no amount; write GB or LINK=GB"),
        (["-1"], "'-1' is no amount"),
        (["nan"], "'nan' is no amount"),
        (["transit=1", "transit=2"], "transit is given twice"),
        (["1", "2"], "that of every link is given twice"),
    ],
)
def test_an_amount_that_cannot_be_is_refused(flags: list[str], message: str) -> None:
    given = [word for flag in flags for word in ("--link-gb", flag)]
    told = CliRunner().invoke(main, ["cost", "--topology", "ways", *given])
    assert told.exit_code == 2
    assert message in told.output


def test_a_proxy_costs_its_host_and_the_traffic_that_it_passes_on() -> None:
    result = estimate(load_topology("proxy"), Traffic(proxy_gb=10))
    items = {item.what: item for item in result.items}
    assert items["proxy out: ap-southeast-1 to ap-northeast-1"].per_30_days == pytest.approx(0.9)
    assert items["proxy back: ap-northeast-1 to ap-southeast-1"].per_30_days == pytest.approx(0.9)
    assert items["proxy: to the internet"].per_30_days == pytest.approx(1.14)
    assert items["nat: to the internet"].per_30_days == 0
    assert {"proxy: t3.small", "proxy: public address", "proxied: t3.small"} <= items.keys()
    assert "proxied: public address" not in items


def test_the_nat_gateway_stands_beside_the_instance() -> None:
    result = estimate(load_topology("egress"), Traffic(overlay_gb=100))
    instance = sum(item.per_30_days for item in result.nat_instance)
    gateway = sum(item.per_30_days for item in result.nat_gateway)
    assert instance == pytest.approx(720 * (0.0272 + 0.005) + 8 * 0.096)
    assert gateway == pytest.approx(720 * (0.062 + 0.005) + 200 * 0.062)
    assert estimate(load_topology("backbone"), Traffic()).nat_gateway == ()


def test_what_has_no_price_is_told() -> None:
    odd = adjusted(load_topology("backbone"), types={"receiver": "m5.large"})
    with pytest.raises(
        ProvisionError, match=r"host/receiver: no price for m5\.large in eu-central-1; known are t3\.micro"
    ):
        estimate(odd, Traffic())


def test_what_unlimited_mode_may_cost_beside_is_told() -> None:
    topology = adjusted(load_topology("backbone"), types={"receiver": "t3.small"}, monitor=True)
    # A t3.micro has two CPUs and a baseline of a tenth, a t3.small of a fifth; the monitor's mode is standard.
    assert estimate(topology, Traffic()).surplus_hour == pytest.approx(0.05 * 2 * (0.9 + 0.8))
    for calm in (
        adjusted(topology, types={}, cpu_credits="standard"),
        adjusted(load_topology("backbone"), types={"forwarder": "c7i.large", "receiver": "c7i.large"}),
    ):
        assert estimate(calm, Traffic()).surplus_hour == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_topology_has_prices(name: str) -> None:
    assert estimate(load_topology(name), Traffic()).hour > 0


def test_the_table_says_what_it_does_not_know() -> None:
    table = prices()
    assert table.date == "2026-09-25"
    for region in table.region.values():
        assert set(region.unverified) <= set(region.__struct_fields__)
