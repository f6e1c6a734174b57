from pathlib import Path

import pytest

from daemons.errors import ConfigError
from experiments.validation.config import load_suite

EXAMPLE = Path(__file__).parents[3] / "docs/validation.toml"

SUITE = """
[target]
url = "https://api.binance.com/api/v3/time"

[[scenario]]
name = "direct"
[scenario.cold]
median_ms = [10, 50]
[scenario.route]
through = ["10.0.0.0/8"]
[scenario.egress]
country = "SG"
"""


def test_the_example_has_the_three_scenarios_and_is_accepted() -> None:
    suite = load_suite(EXAMPLE)
    assert [scenario.name for scenario in suite.scenario] == ["via-nat", "direct", "nat-side"]
    assert suite.baseline == "direct"
    via_nat = suite.scenario[0]
    assert via_nat.overlay is not None
    assert via_nat.route is not None
    assert via_nat.egress is not None
    assert via_nat.egress.host == "nat"


def test_the_second_example_compares_the_three_ways_out() -> None:
    suite = load_suite(EXAMPLE.with_name("validation-proxy.toml"))
    assert [(scenario.name, scenario.host) for scenario in suite.scenario] == [
        ("direct", "baseline"),
        ("via-nat", "client"),
        ("via-proxy", "proxied"),
    ]
    assert suite.baseline == "direct"
    assert [scenario.proxy for scenario in suite.scenario] == ["", "", "http://10.1.1.20:3128"]
    assert [scenario.egress.host for scenario in suite.scenario if scenario.egress] == ["baseline", "nat", "proxy"]


def test_a_route_leads_to_the_targets_host_unless_told_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(SUITE)
    suite = load_suite(file)
    route = suite.scenario[0].route
    assert route is not None
    assert suite.route_target(route) == "api.binance.com"
    assert suite.scenario[0].warm.failed == (0.0, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("median_ms", "medain_ms"), r"scenario\[0\].cold.medain_ms: unknown key; did you mean `median_ms`\?"),
        (("[10, 50]", "[50, 10]"), r"scenario\[0\].cold.median_ms: \[50, 10\] is no range; write the smallest"),
        (("[10, 50]", "50"), r"scenario\[0\].cold.median_ms: 50 is a whole number; write a list"),
        (('name = "direct"', 'name = "a/b"'), r"scenario\[0\].name: 'a/b' is no name"),
        (('name = "direct"', "count = 5"), r"scenario\[0\].name: is missing"),
        (("10.0.0.0/8", "10.0.0.1/8"), r"scenario\[0\].route.through: 10.0.0.1/8 has host bits set"),
        (('country = "SG"', ""), r"scenario\[0\].egress: nothing is expected; give address, host, city or country"),
        (
            ('name = "direct"', 'name = "a"\nproxy = "10.1.1.20"'),
            r"scenario\[0\].proxy: '10.1.1.20' is no proxy; write http",
        ),
        (
            ('name = "direct"', 'name = "a"\nproxy_credentials_file = "x"'),
            r"scenario\[0\].proxy_credentials_file: there is no proxy to show it to",
        ),
        (("[target]", 'baseline = "x"\n[target]'), "baseline: 'x' is no scenario; there are direct"),
        (('time"', 'time"\ncount = 0'), "target: count or interval_seconds is out of range"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(SUITE.replace(*change))
    with pytest.raises(ConfigError, match=message):
        load_suite(file)
