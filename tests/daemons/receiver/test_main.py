"""Every mistake in the configuration has its exact message, exit code 2, and touches nothing."""

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
    return result.exit_code, result.stderr.replace(str(tmp_path), "DIR")


def test_a_good_file_is_accepted(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == (0, "")
    assert check(tmp_path, GOOD, "--mode", "baseline") == (0, "")
    assert check(tmp_path, GOOD, "--mode", "race", "--stream", "x@trade", "--allow", "10.0.0.0/8") == (0, "")


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("", [], "path: none is given; write [[path]] sections, or give --mode"),
        (GOOD.replace("kind", "kimd", 1), [], "path[0].kind: is missing; add it"),
        (
            GOOD.replace('listen = "', 'lisen = "'),
            [],
            "path[1].lisen: unknown key; did you mean `listen`?",
        ),
        (GOOD + "[runs]\n", [], "runs: unknown key; did you mean `run`?"),
        (GOOD.replace('"link"', '"wire"'), [], "path[1].kind: invalid value 'wire'; correct its value"),
        (GOOD.replace("backbone", "direct"), [], "path[0].name: 'direct' is used twice; give every path its own name"),
        (GOOD.replace('"backbone"', '""'), [], "path[1].name: '' is no name; use 1 to 64 printable characters"),
        (
            GOOD.replace(":8080", ""),
            [],
            "path[1].listen: '127.0.0.1' is not an address; write HOST:PORT or [IPV6]:PORT",
        ),
        (
            GOOD + 'allowed_sources = ["10.0.0.1/8"]\n',
            [],
            "path[1].allowed_sources: 10.0.0.1/8 has host bits set; write a CIDR block such as 10.0.0.0/16",
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
        (GOOD + 'transport = "quic"\n', [], "path[1].transport: invalid enum value 'quic'; correct its value"),
        (
            GOOD.replace("ws://", "http://"),
            [],
            (
                "feed url: 'http://127.0.0.1:1/ws/btcusdt@trade' is not a WebSocket URL; write "
                "wss://stream.binance.com:9443"
            ),
        ),
        (GOOD + "[race]\nmax_entries = 0\n", [], "race: a limit is not above zero; give positive limits"),
        (
            GOOD + "[run]\nduration_seconds = 0\n",
            [],
            "run.duration_seconds: 0.0 is not a length of time; give seconds above zero",
        ),
        (
            GOOD + "[run]\nduration_seconds = inf\n",
            [],
            "run.duration_seconds: inf is not a length of time; give seconds above zero",
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
