"""What the first configurations listen on: loopback, but for the link, which has a key."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
EXAMPLES = SYSTEMD / "examples"


def listening(table: Any) -> list[tuple[str, dict[str, Any]]]:
    """Find every ``listen`` of a configuration, each with the table that it stands in."""
    if isinstance(table, list):
        return [found for one in table for found in listening(one)]
    if not isinstance(table, dict):
        return []
    own = [(table["listen"], table)] if "listen" in table else []
    return own + [found for one in table.values() for found in listening(one)]


@pytest.mark.parametrize("daemon", ["forwarder", "receiver", "probe"])
def test_a_first_configuration_opens_nothing_without_a_key(daemon: str) -> None:
    found = listening(tomllib.loads((EXAMPLES / f"{daemon}.toml").read_text()))
    beyond = [(address, table) for address, table in found if not address.startswith("127.0.0.1:")]
    assert len(found) == (2 if daemon == "receiver" else 1)
    assert [(address, table["key_file"]) for address, table in beyond] == (
        [("0.0.0.0:8080", "credential:link.key")] if daemon == "receiver" else []
    )


def test_the_simulator_stays_on_loopback() -> None:
    flags = re.findall(r"(?m)^SIMULATOR_FLAGS=(.*)$", (EXAMPLES / "simulator.env").read_text())
    assert [re.findall(r"listen (\S+)", line) for line in flags] == [["127.0.0.1:9443"]]


def test_systemd_holds_the_links_sockets_and_no_others() -> None:
    (unit,) = SYSTEMD.glob("*.socket")
    assert re.findall(r"(?m)^Listen\w+=(.*)$", unit.read_text()) == ["0.0.0.0:8080", "0.0.0.0:8080"]
