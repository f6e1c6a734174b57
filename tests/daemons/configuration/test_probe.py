# ruff: noqa: E501 a message in one piece can be searched for
import base64
import re
import socket
from pathlib import Path

import pytest

from daemons.configuration.probe import load_config
from daemons.errors import ConfigError
from daemons.probe.target import prepared

URL = 'url = "https://api.example.com/time"\n'


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "probe.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "target: nothing to probe; add a [[target]], or give --target URL"),
        ("[[target]]\n", "target[0].url: is missing; add it"),
        (f"[[target]]\n{URL}zzz = 1", "target[0].zzz: unknown key; remove it"),
        (
            f"[[target]]\n{URL}timeout_second = 1",
            "target[0].timeout_second: unknown key; did you mean `timeout_seconds`?",
        ),
        (
            '[[target]]\nurl = "https://stream..example/"',
            "target[0].url: 'stream..example' is no host's name; check its dots and spelling",
        ),
        ('[[target]]\nurl = "ftp://a/"', "target[0].url: 'ftp://a/' is not an HTTPS URL; write https://HOST/PATH"),
        (
            '[[target]]\nurl = "https://a:x/"',
            "target[0].url: 'https://a:x/' is not a URL: Port could not be cast to integer value as 'x'; write https://HOST/PATH",
        ),
        (
            '[[target]]\nurl = "https://a:0/"',
            "target[0].url: 'https://a:0/': nothing listens on port 0; write a port from 1 to 65535, or none",
        ),
        (
            '[[target]]\nurl = "https://a..b/"\nresolve = {"a..b" = "10.0.0.1"}',
            "target[0].url: 'a..b' is no host's name; check its dots and spelling",
        ),
        (
            '[[target]]\nurl = "https://a/\\u007f"',
            "target[0].url: 'https://a/\\x7f' holds a character that a request cannot carry; write the host in punycode and the rest percent-encoded",
        ),
        (
            '[[target]]\nurl = "https://[fe80::1%25eth0]/"\ninterface = "eth0"',
            "target[0].url: 'fe80::1%25eth0' holds a zone; write the address alone, and the zone as `interface`",
        ),
        (
            '[[target]]\nurl = "https://a/"\nresolve = {a = "fe80::1%eth0"}',
            "target[0].resolve.a: 'fe80::1%eth0' holds a zone; write the address alone, and the zone as `interface`",
        ),
        (
            '[[target]]\nurl = "https://a/"\nproxy = "http://[fe80::1]:3128"',
            "target[0].proxy: 'fe80::1' is an address on every link; add the `interface` that leads to it",
        ),
        (
            '[[target]]\nurl = "https://u:p@a/"',
            "target[0].url: 'https://***@a/' holds credentials or a fragment; send credentials by `headers`",
        ),
        (
            '[[target]]\nurl = "https://bücher.example/"',
            "target[0].url: 'https://bücher.example/' holds a character that a request cannot carry; write the host in punycode and the rest percent-encoded",
        ),
        (
            f"[[target]]\n{URL}[[target]]\n{URL}",
            "target.name: 'api.example.com' names 2 targets; give each a name of its own, in a file",
        ),
        (
            f'[[target]]\nname = "egress"\n{URL}',
            "target.name: 'egress' is the name of the egress check; choose another",
        ),
        (
            f'[[target]]\nname = "a b"\n{URL}',
            "target[0].name: 'a b' is no label; use letters, digits, dot, dash, underscore",
        ),
        (
            f"[[target]]\n{URL}interval_seconds = 0",
            "target[0].interval_seconds: 0 is out of range; write a number of at least 0.01",
        ),
        (
            f"[[target]]\n{URL}timeout_seconds = -1.0",
            "target[0].timeout_seconds: -1.0 is out of range; write a number of at least 0.001",
        ),
        (
            f'[[target]]\n{URL}resolve = {{"other.example" = "1.2.3.4"}}',
            "target[0].resolve: 'other.example' is not the URL's host; pin 'api.example.com', or remove it",
        ),
        (
            f'[[target]]\n{URL}resolve = {{"api.example.com" = "tokyo"}}',
            "target[0].resolve.api.example.com: 'tokyo' is not an IP address; write one such as 10.0.1.10",
        ),
        (
            f'[[target]]\n{URL}headers = {{Host = "x"}}',
            "target[0].headers: 'Host' is the probe's own business; remove it",
        ),
        (
            f'[[target]]\n{URL}headers = {{"X-A" = "a\\nb"}}',
            "target[0].headers: 'X-A': is no header; use printable ASCII, no blank at its beginning or end",
        ),
        (
            f'[[target]]\n{URL}expect = {{regex = "("}}',
            "target[0].expect.regex: '(': missing ), unterminated subpattern at position 0; correct the pattern",
        ),
        (
            f"[[target]]\n{URL}expect = {{status = []}}",
            "target[0].expect.status: [] is impossible; list codes of 200 to 599",
        ),
        (
            f"[[target]]\n{URL}expect = {{json_value = 1}}",
            "target[0].expect.json_value: there is no json_field to compare it with; add json_field",
        ),
        (
            f'[[target]]\n{URL}method = "HEAD"\nexpect = {{regex = "a"}}',
            "target[0].expect: a HEAD request has no body to look into; use GET",
        ),
        (
            '[[target]]\nurl = "http://a/"\nhttp = "2"',
            'target[0].http: HTTP/2 needs https; write an https URL, or http = "1.1"',
        ),
        (
            f'[[target]]\n{URL}proxy = "10.1.1.10:3128"',
            "target[0].proxy: '10.1.1.10:3128' is no proxy; write http://HOST:PORT",
        ),
        (
            f'[[target]]\n{URL}proxy = "http://10.1.1.10"',
            "target[0].proxy: 'http://10.1.1.10' names no port, and proxies have none in common; write http://HOST:PORT",
        ),
        (
            f'[[target]]\n{URL}proxy = "http://10.1.1.10:0"',
            "target[0].proxy: 'http://10.1.1.10:0' names no port, and proxies have none in common; write http://HOST:PORT",
        ),
        (
            f'[[target]]\n{URL}proxy = "http://10.1.1.10:99999"',
            "target[0].proxy: 'http://10.1.1.10:99999' is not a URL: Port out of range 0-65535; write http://HOST:PORT",
        ),
        (
            f'[egress]\n{URL}proxy = "socks5://10.1.1.10:1080"',
            "egress.proxy: 'socks5://10.1.1.10:1080': a proxy is spoken to in plain HTTP only; write http://HOST:PORT",
        ),
        (
            f'[[target]]\n{URL}proxy = "http://10.1.1.10:3128/x"',
            "target[0].proxy: 'http://10.1.1.10:3128/x' holds more than host and port; write http://HOST:PORT",
        ),
        (
            f'[[target]]\n{URL}proxy = "http://me:opensesame@10.1.1.10:3128"',
            "target[0].proxy: holds user and password; write them into a proxy_credentials_file",
        ),
        (
            f'[[target]]\n{URL}proxy_credentials_file = "/etc/latency/proxy"',
            "target[0].proxy_credentials_file: there is no proxy to show it to; add proxy",
        ),
        (
            '[[target]]\nurl = "http://a.example/"\nproxy = "http://b:1"\nresolve = {"a.example" = "10.1.1.10"}',
            "target[0].resolve: a proxy resolves the names of http URLs itself; remove it, or write an https URL",
        ),
        (
            f'[[target]]\n{URL}headers = {{Proxy-Authorization = "Basic bWU6b3BlbnNlc2FtZQ=="}}',
            "target[0].headers: 'Proxy-Authorization' is the probe's own business; remove it",
        ),
        (
            f'[egress]\n{URL}expected_address = "Tokyo"',
            "egress.expected_address: 'Tokyo' is not an IP address; write one such as 10.0.1.10",
        ),
        ('[route]\ntarget = "--help"', "route.target: '--help' is no host; write a name or an address"),
        ('[route]\ntarget = "a"\nmax_hops = 31', "route.max_hops: 31 is out of range; use 1 to 30"),
        (
            '[route]\ntarget = "a"\ninterval_seconds = 5',
            "route.interval_seconds: 5 s is too short for 10 cycles of a second each; lengthen it",
        ),
        ('[overlay]\npeer = "tokyo"', "overlay.peer: 'tokyo' is not an IP address; write one such as 10.0.1.10"),
        ('[overlay]\npeer = "10.0.0.1"\npayload_bytes = 4', "overlay.payload_bytes: 4 is out of range; use 8 to 65000"),
        (
            '[overlay]\npeer = "10.0.0.1"\n[metrics]\nlisten = "9473"',
            "metrics.listen: '9473' is not an address; write HOST:PORT or [IPV6]:PORT",
        ),
    ],
)
def test_a_bad_file_is_refused_with_the_key_and_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text), {})
    assert re.sub(r"^\S+\.toml:\d+: ", "", str(caught.value)) == message


def test_defaults_and_derived_values(tmp_path: Path) -> None:
    config = load_config(
        written(
            tmp_path,
            """
            [[target]]
            url = "https://API.example.com:8443/v3/time?a=b"
            resolve = {"api.example.com" = "10.1.1.10"}
            headers = {X-Key = "k"}
            [[target]]
            name = "v6"
            url = "http://[2001:db8::1]/"
            [egress]
            url = "https://ip.example/json"
            """,
        ),
        {},
    )
    assert config.metrics.listen == "127.0.0.1:9473"
    first, second, egress = prepared(config)
    assert (first.name, first.host, first.port) == ("api.example.com", "api.example.com", 8443)
    assert first.pinned is not None
    assert first.pinned[1] == ("10.1.1.10", 8443)
    assert first.request.authority == "api.example.com:8443"
    assert first.request.path == "/v3/time?a=b"
    assert ("x-key", "k") in first.request.headers
    assert second.context is None
    assert second.pinned is not None
    assert second.request.authority == "[2001:db8::1]"
    assert (egress.name, egress.port, egress.pinned) == ("egress", 443, None)
    # Loading the system's authorities is done once for equal settings.
    assert first.context is egress.context


def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, f'[[target]]\n{URL}ca_file = "/nosuch.pem"'), {})
    with pytest.raises(ConfigError, match=r"^target\[0\]\.ca_file: /nosuch\.pem: is missing"):
        prepared(config)


def test_the_documented_file_is_good_and_names_nothing_unknown(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "probe.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0].replace("…", "...")
    config = load_config(written(tmp_path, example), {})
    assert [target.name for target in config.target] == ["binance", "binance-by-proxy"]
    assert None not in (config.egress, config.route, config.overlay)


def test_a_proxy_is_where_to_connect_to_and_the_target_what_to_ask_for(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_bytes("größe:p:w\r\n".encode())
    credentials.chmod(0o600)
    text = f"""
        [[target]]
        url = "https://[2001:db8::1]/"
        proxy = "http://10.1.1.10:3128"
        proxy_credentials_file = "{credentials}"
        [[target]]
        url = "http://api.example.com/v3/time?a=b"
        proxy = "http://proxy.example:3128/"
        [egress]
        url = "https://ip.example:8443/json"
        proxy = "http://[fd00::10]:3128"
        resolve = {{"ip.example" = "203.0.113.7"}}
    """
    first, second, egress = prepared(load_config(written(tmp_path, text), {}))
    assert first.proxy is not None
    assert first.proxy.authorization == "Basic " + base64.b64encode("größe:p:w".encode()).decode()
    assert first.proxy.authorization not in repr(first)
    assert (first.pinned, first.peer) == ((socket.AF_INET, ("10.1.1.10", 3128)), ("10.1.1.10", 3128))
    assert first.tunnel == "[2001:db8::1]:443"
    assert (first.request.target, "proxy-authorization" in dict(first.request.headers)) == ("/", False)
    assert (second.peer, second.pinned, second.tunnel) == (("proxy.example", 3128), None, "")
    assert second.request.target == "http://api.example.com/v3/time?a=b"
    (literal,) = prepared(
        load_config(written(tmp_path, '[[target]]\nurl = "http://[2001:db8::1]:81/x"\nproxy = "http://[::1]:1"'), {})
    )
    assert (literal.request.target, literal.request.authority) == ("http://[2001:db8::1]:81/x", "[2001:db8::1]:81")
    assert egress.proxy is not None
    assert (egress.proxy.authority, egress.tunnel) == ("[fd00::10]:3128", "203.0.113.7:8443")


@pytest.mark.parametrize("content", [b"", b"user", b":password", b"user:pass\x00word", b"user:pass\nword", b"\n"])
def test_credentials_that_are_none_are_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "credentials"
    file.write_bytes(content)
    file.chmod(0o600)
    text = f'[[target]]\n{URL}proxy = "http://a:1"\nproxy_credentials_file = "{file}"'
    with pytest.raises(ConfigError) as caught:
        prepared(load_config(written(tmp_path, text), {}))
    assert str(caught.value) == f"target[0].proxy_credentials_file: {file}: is not one line USER:PASSWORD; write it so"


def test_credentials_that_everyone_may_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_bytes(b"user:password")
    file.chmod(0o644)
    text = f'[egress]\n{URL}proxy = "http://a:1"\nproxy_credentials_file = "{file}"'
    with pytest.raises(
        ConfigError, match=r"egress.proxy_credentials_file: .*: is open to others \(mode 0644\); chmod 0600 it"
    ):
        prepared(load_config(written(tmp_path, text), {}))
