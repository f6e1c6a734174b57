"""What a receiver's paths may be together, and what their order does, and does not do."""

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from daemons.configuration.local_end import local_end
from daemons.configuration.receiver import FeedPathSection, ReceiverConfig, load_receiver, race_order
from daemons.errors import ConfigError
from daemons.link.receiving.settings import LinkPathSection

URL = "wss://fstream.binance.com/ws/btcusdt@aggTrade"


GOOD = ({"name": "a", "kind": "link", "key_file": "k"}, {"name": "b", "kind": "link", "key_file": "k"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"transport": "udp"}, "path[1].transport: udp where 'a' has tcp on the same port"),
        ({"transport": "udp", "listen": "0.0.0.0:8081"}, None),
        ({"format": "any", "key_file": None, "allowed_sources": ["10.0.0.0/8"]}, None),
    ],
)
def test_paths_share_a_port_where_it_can_be_told_whose_everything_is(
    changes: dict[str, Any], message: str | None
) -> None:
    overrides = {"path": [GOOD[0], {**GOOD[1], **changes}]}
    if message is None:
        assert len(load_receiver(None, overrides, None, {}, {}).path) == 2
        return
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_receiver(None, overrides, None, {}, {})


def test_two_paths_that_take_json_cannot_share_a_port() -> None:
    path = {"kind": "link", "format": "any", "allowed_sources": ["10.0.0.0/8"]}
    overrides = {"path": [{"name": "a", **path}, {"name": "b", **path}]}
    with pytest.raises(ConfigError, match=re.escape("path[1].format: 'any' on the port of 'a', which takes JSON too")):
        load_receiver(None, overrides, None, {}, {})


@pytest.mark.parametrize(
    ("source_address", "interface", "message"),
    [
        ("10.0.0.1:80", None, "feed.source_address: '10.0.0.1:80' is no IP address; write one of this host's"),
        ("eth0", None, "feed.source_address: 'eth0' is no IP address"),
        (None, "eth/0", "feed.interface: 'eth/0' is no interface's name; see ip link"),
        (None, "a-name-that-is-too-long", "feed.interface: 'a-name-that-is-too-long' is no interface's name"),
        (None, "", "feed.interface: '' is no interface's name"),
    ],
)
def test_a_near_end_that_cannot_be_is_refused(source_address: str, interface: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        local_end("feed", source_address, interface)


def test_feeds_are_what_links_race_against_in_every_order_of_the_file() -> None:
    paths: list[FeedPathSection | LinkPathSection] = [
        FeedPathSection(name="b", url=URL),
        FeedPathSection(name="x", url=URL),
        LinkPathSection(name="a"),
        LinkPathSection(name="y"),
    ]
    for given in permutations(paths):
        ordered = [given[index] for index in race_order(ReceiverConfig(path=given))]
        # Feeds before links, and among their like by name: no lead changes its sign with the order of the file.
        assert ordered == paths


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(
            ("interfaec", "interface"),
            ("intrface", "interface"),
            ("steams", "streams"),
            ("ulr", "url"),
            ("nmae", "name"),
        ),
        # As many letters in common with another key as a slip leaves, and another word all the same.
        *(("interval", None), ("hostname", None)),
    ],
)
def test_of_an_unknown_key_a_slip_is_told_and_another_word_is_not(key: str, meant: str | None, tmp_path: Path) -> None:
    file = tmp_path / "receiver.toml"
    file.write_text(f'[[path]]\nname = "a"\nkind = "feed"\nurl = "ws://a.test/"\n{key} = 3\n')
    with pytest.raises(ConfigError) as caught:
        load_receiver(file, {}, None, {}, {})
    assert f"path[0].{key}: unknown key" in str(caught.value)
    named = re.findall("`(.*?)`", str(caught.value))
    assert named == ([meant] if meant else [])
