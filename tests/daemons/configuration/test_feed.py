"""What is said of a feed's encoding and key before anything is connected."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from daemons.configuration.feed import feed_settings
from daemons.configuration.forwarder import load_forwarder
from daemons.errors import ConfigError
from daemons.feed.endpoints import streams_in
from daemons.feed.settings import FeedFields
from daemons.service.settings.config import UnseenCredentialError

KEY = "k" * 64


@dataclass
class Keys:
    good: str
    bad: str


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = {}
    for name, text in (("good", KEY + "\n"), ("bad", "X-MBX-APIKEY: " + KEY)):
        file = tmp_path / name
        file.write_text(text)
        file.chmod(0o600)
        made[name] = str(file)
    return Keys(**made)


def sbe(keys: Keys, **changes: Any) -> FeedFields:
    return replace(FeedFields(encoding="sbe", api_key_file=keys.good), **changes)


def test_the_defaults_of_sbe_are_those_that_the_exchange_serves(keys: Keys) -> None:
    (settings,) = feed_settings("f", "feed", sbe(keys))
    assert settings.url.startswith("wss://stream-sbe.binance.com:9443/stream?")
    assert streams_in(settings.url) == settings.streams == ("btcusdt@trade", "btcusdt@bestBidAsk")
    assert "timeUnit" not in settings.url
    assert settings.api_key is not None
    assert settings.api_key.value == KEY.encode()
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "wrong", "remedy"),
    [
        ({"encoding": "json"}, "JSON streams need no key", "leave it out"),
        ({"encoding": "json", "api_key_file": None, "url": "wss://stream-sbe.binance.com"}, "speaks SBE", "encoding"),
        ({"api_key_file": None}, "is missing", "Ed25519"),
        ({"url": "ws://stream-sbe.binance.com:9443"}, "in clear", "use wss"),
        ({"url": "wss://fstream.binance.com", "streams": ("a@trade", "a@aggTrade")}, "only spot has", "json"),
        ({"url": "wss://dstream.binance.com", "streams": ("a@trade",)}, "only spot has", "json"),
        ({"streams": ("a@trade", "a@bookTicker")}, "not served in SBE", "use bestBidAsk"),
        ({"streams": ("a@kline_1m",)}, "not served in SBE", "choose of bestBidAsk, depth, depth20, trade"),
        ({"address": "stream.binance.com"}, "no IP address", "without a port"),
        ({"address": ("192.0.2.1", "192.0.2.2:443")}, "'192.0.2.2:443' is no IP address", "without a port"),
        ({"api_key_file": "/nowhere"}, "cannot be read", "0600"),
    ],
)
def test_what_does_not_go_together_is_refused(keys: Keys, changes: dict[str, Any], wrong: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"{wrong}.*{remedy}"):
        feed_settings("f", "feed", sbe(keys, **changes))


@pytest.mark.parametrize("content", ["", "abc", "X-MBX-APIKEY: " + KEY])
def test_what_is_no_api_key_is_not_to_be_made_up(keys: Keys, content: str) -> None:
    """A link's key anybody can draw; this one is the exchange's."""
    Path(keys.bad).write_text(content)
    with pytest.raises(ConfigError, match="write the API key that the exchange shows"):
        feed_settings("f", "feed", sbe(keys, api_key_file=keys.bad))


def test_a_file_that_holds_more_than_the_key_is_refused_without_showing_it(keys: Keys) -> None:
    with pytest.raises(ConfigError, match="holds no API key") as caught:
        feed_settings("f", "feed", sbe(keys, api_key_file=keys.bad))
    assert KEY not in str(caught.value)


def test_a_credential_that_cannot_be_seen_is_looked_at_after_all_else(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    hidden = sbe(keys, api_key_file="credential:binance")
    with pytest.raises(UnseenCredentialError):
        feed_settings("f", "feed", hidden)
    with pytest.raises(ConfigError, match="stream"):
        feed_settings("f", "feed", replace(hidden, streams=("no stream",)))


def test_the_json_format_of_a_link_cannot_carry_sbe(keys: Keys) -> None:
    feed = {"encoding": "sbe", "api_key_file": keys.good}
    with pytest.raises(ConfigError, match=r"destination h:1\.format.*json cannot carry SBE.*binary"):
        load_forwarder(None, {"feed": feed}, ("h:1",), {"format": "json"})
    assert load_forwarder(None, {"feed": feed}, ("h:1",), {}).feed.encoding == "sbe"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ()), ("192.0.2.1", ("192.0.2.1",)), (("2001:db8::1", "192.0.2.1"), ("2001:db8::1", "192.0.2.1"))],
)
def test_a_feed_is_pinned_to_one_address_or_several(given: Any, expected: tuple[str, ...]) -> None:
    (settings,) = feed_settings("f", "feed", FeedFields(address=given))
    assert settings.addresses == expected
