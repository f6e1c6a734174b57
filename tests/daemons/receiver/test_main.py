"""Every mistake in the configuration has its exact message, exit code 2, and touches nothing."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemons.receiver.main import main

GOOD = """
[[path]]
name = "direct"
kind = "feed"
url = "ws://127.0.0.1:1/ws/btcusdt@trade"

[[path]]
name = "backbone"
kind = "link"
listen = "127.0.0.1:8080"
"""


def check(tmp_path: Path, text: str, *flags: str) -> tuple[int, str]:
    file = tmp_path / "receiver.toml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["--config", str(file), *flags, "--check-config"])
    assert result.stdout == ("" if result.exit_code else "the configuration is good\n")
    # Where it stands in the file is for tests/daemons/service to see.
    return result.exit_code, re.sub(r"\S+\.toml:\d+: ", "", result.stderr).replace(str(tmp_path), "DIR")


def test_a_good_file_is_accepted(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == (0, "")
    assert check(tmp_path, GOOD, "--mode", "baseline") == (0, "")
    assert check(tmp_path, GOOD, "--mode", "race", "--stream", "x@trade", "--allow", "10.0.0.0/8") == (0, "")


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (
            GOOD + '[hardware_stamps]\nuse = "required"\n',
            [],
            "hardware_stamps.interface: is missing; name the interface that events come through",
        ),
        (
            GOOD + '[hardware_stamps]\nuse = "if available"\ninterface = "a/b"\n',
            [],
            "hardware_stamps.interface: 'a/b' is no interface's name; see ip link",
        ),
        ("", [], "path: none is given; write [[path]] sections, or give --mode"),
        (GOOD.replace("kind", "kimd", 1), [], "path[0].kimd: unknown key; did you mean `kind`?"),
        (
            GOOD.replace('listen = "', 'lisen = "'),
            [],
            "path[1].lisen: unknown key; did you mean `listen`?",
        ),
        (GOOD + "[runs]\n", [], "runs: unknown key; did you mean `run`?"),
        (GOOD.replace('"link"', '"wire"'), [], "path[1].kind: 'wire' is not known here; use feed or link"),
        (GOOD.replace("backbone", "direct"), [], "path[0].name: 'direct' is used twice; give every path its own name"),
        (GOOD.replace('"backbone"', '""'), [], "path[1].name: '' is no name; use 1 to 64 printable characters"),
        *(
            (
                GOOD.replace('"backbone"', written),
                [],
                f"path[1].name: {name!r}: dashboards cannot ask for a quotation mark; leave it out",
            )
            for written, name in (('"the king\'s"', "the king's"), ("'the \"good\" one'", 'the "good" one'))
        ),
        (
            GOOD.replace(":8080", ""),
            [],
            "path[1].listen: '127.0.0.1' is not an address; write HOST:PORT or [IPV6]:PORT",
        ),
        (
            GOOD + 'allowed_sources = ["10.0.0.1/8"]\n',
            [],
            (
                "path[1].allowed_sources: 10.0.0.1/8 has host bits set; write 10.0.0.0/8 for the block, 10.0.0.1/32 "
                "for the one address"
            ),
        ),
        (
            GOOD + 'key_file = "/nowhere/key"\n',
            [],
            "path[1].key_file: /nowhere/key: cannot be read: No such file or directory; create it with mode 0600",
        ),
        (
            GOOD + 'key_file = "x"\nformat = "json"\n',
            [],
            "path[1].key_file: the JSON format cannot be signed; use the binary format or no key",
        ),
        (GOOD + 'transport = "quic"\n', [], "path[1].transport: 'quic' is not known here; use tcp or udp"),
        (
            GOOD.replace("ws://", "http://"),
            [],
            (
                "feed url: 'http://127.0.0.1:1/ws/btcusdt@trade' is not a WebSocket URL; write "
                "wss://stream.binance.com:9443"
            ),
        ),
        (
            GOOD + "[race]\nmax_entries = 0\n",
            [],
            "race.max_entries: 0 is out of range; write a whole number of at least 1",
        ),
        (
            GOOD + "[run]\nduration_seconds = 0\n",
            [],
            "run.duration_seconds: 0 is out of range; write a number above 0",
        ),
        (
            GOOD + "[run]\nduration_seconds = inf\n",
            [],
            "run.duration_seconds: inf is out of range; write a number of at most 1000000000",
        ),
        (
            GOOD,
            ["--mode", "baseline", "--port", "9"],
            "--listen: there is no link path that it could be for; leave it out, or change --mode",
        ),
        (
            GOOD,
            ["--mode", "aws-backbone", "--stream", "x@trade"],
            "--stream: there is no feed path that it could be for; leave it out, or change --mode",
        ),
        (
            GOOD.partition("\n\n")[0],
            ["--mode", "race"],
            "--mode: race needs a path of each kind: feed, link; add it to the file",
        ),
        ("[[path]\n", [], "DIR/receiver.toml: is not TOML: "),
    ],
)
def test_mistakes_are_told_with_place_reason_and_remedy(
    tmp_path: Path, text: str, flags: list[str], message: str
) -> None:
    code, error = check(tmp_path, text, *flags)
    assert code == 2
    if message.endswith("TOML: "):
        assert error.startswith(f"error: {message}")
    else:
        assert error == f"error: {message}\n"


def test_a_missing_ca_file_and_two_addresses(tmp_path: Path) -> None:
    secure = GOOD.replace("ws://", "wss://")
    assert check(tmp_path, secure, "--ca-file", "/nowhere/ca.pem") == (
        2,
        "error: ca_file: /nowhere/ca.pem: is missing; give a PEM file of trusted authorities\n",
    )
    code, error = check(tmp_path, GOOD, "--listen", "127.0.0.1:1", "--port", "2")
    assert code == 2
    assert "--listen and --port exclude each other" in error


def test_the_help_names_every_flag_of_the_issue() -> None:
    text = CliRunner().invoke(main, ["--help"]).stdout
    flags = [
        "--config",
        "--mode",
        "--feed-url",
        "--listen",
        "--port",
        "--transport",
        "--format",
        "--key-file",
        "--allow",
        "--duration",
        "--output",
        "--csv-output",
        "--metrics",
        "--check-config",
        "--log-format",
        "--version",
    ]
    assert [flag for flag in flags if flag not in text] == []


ANYBODY = (
    "would take events from anybody; give both ends a key (key_file, --key-file), or name the networks that forwarders "
    "come from (allowed_sources, --allow 10.0.0.0/16), or listen on 127.0.0.1\n"
)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080", "receiver.example:8080", "[::2]:1"])
def test_a_port_beyond_this_machine_needs_a_key_or_networks(tmp_path: Path, listen: str) -> None:
    text = GOOD.replace("127.0.0.1:8080", listen)
    assert check(tmp_path, text) == (2, f"error: path[1].listen: {listen} {ANYBODY}")
    assert check(tmp_path, text, "--allow", "10.0.0.0/16") == (0, "")
    assert check(tmp_path, text, "--allow", "0.0.0.0/0") == (0, "")
    for number in (1, 2):
        file = tmp_path / f"{number}.key"
        file.write_text("0123456789abcdef")
        file.chmod(0o600)
    assert check(tmp_path, text, "--key-file", str(tmp_path / "1.key")) == (0, "")
    both = [str(tmp_path / "1.key"), str(tmp_path / "2.key")]
    assert check(tmp_path, text, "--key-file", both[0], "--key-file", both[1]) == (0, "")
    assert check(tmp_path, f"{text}key_file = {both!r}\n") == (0, "")
    assert check(tmp_path, f"{text}key_file = []\n")[0] == 2


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "127.1.2.3:0", "[::1]:8080", "localhost:8080"])
def test_a_port_of_this_machine_needs_none(tmp_path: Path, listen: str) -> None:
    assert check(tmp_path, GOOD.replace("127.0.0.1:8080", listen)) == (0, "")


def test_the_default_and_a_bare_port_are_of_all_addresses_and_refused() -> None:
    for flags in ([], ["--port", "8080"]):
        result = CliRunner().invoke(main, ["--mode", "aws-backbone", *flags, "--check-config"])
        assert (result.exit_code, result.stderr) == (2, f"error: path[0].listen: 0.0.0.0:8080 {ANYBODY}")
