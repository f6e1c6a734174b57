"""Every mistake in the configuration has its exact message and exit code 2."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemons.configuration.forwarder import ForwarderConfig, links_of, load_forwarder
from daemons.forwarder.main import main

GOOD = """
[feed]
url = "ws://127.0.0.1:1/ws/btcusdt@trade"

[[destination]]
address = "127.0.0.1:8080"
"""


def check(tmp_path: Path, text: str, *flags: str) -> tuple[int, str]:
    file = tmp_path / "forwarder.toml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["--config", str(file), *flags, "--check-config"])
    assert result.stdout == ("" if result.exit_code else "the configuration is good\n")
    # Where it stands in the file is for tests/daemons/service to see.
    return result.exit_code, re.sub(r"\S+\.toml:\d+: ", "", result.stderr)


def test_a_good_file_is_accepted_and_flags_replace_its_destinations(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == (0, "")
    assert check(tmp_path, GOOD, "--destination", "a:1", "--destination", "[::1]:2", "--transport", "udp") == (0, "")


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
        ("", [], "destination: none is given; name a receiver: --destination HOST:PORT"),
        (GOOD + 'adress = "x"\n', [], "destination[0].adress: unknown key; remove it; `address` is there already"),
        (
            GOOD + "buffer_events = '5'\n",
            [],
            "destination[0].buffer_events: '5' is text; write a whole number",
        ),
        (
            GOOD + "buffer_events = 0\n",
            [],
            "destination[0].buffer_events: 0 is out of range; write a whole number of at least 1",
        ),
        (
            GOOD.replace("127.0.0.1:8080", "::1:80"),
            [],
            "destination ::1:80.address: '::1:80' is not an address; write HOST:PORT or [IPV6]:PORT",
        ),
        (
            GOOD,
            ["--destination", "a:1", "--destination", "a:1"],
            "destination: a:1 is given twice; send to each receiver once, or to another port of it",
        ),
        (
            GOOD,
            ["--format", "json", "--key-file", "k"],
            "destination 127.0.0.1:8080.key_file: the JSON format cannot be signed; use the binary format or no key",
        ),
        (
            GOOD.replace("/ws/btcusdt@trade", "/elsewhere"),
            [],
            "feed url: '/elsewhere' is not a stream path; use /ws/<stream> or /stream?streams=a/b",
        ),
        (
            GOOD.replace("[[dest", "silence_seconds = 0\n[[dest"),
            [],
            "feed.silence_seconds: 0 is out of range; write a number above 0",
        ),
        (
            GOOD + "[log]\nlevel = 'loud'\n",
            [],
            "log.level: 'loud' is not known here; use debug, info, warning or error",
        ),
    ],
)
def test_mistakes_are_told_with_place_reason_and_remedy(
    tmp_path: Path, text: str, flags: list[str], message: str
) -> None:
    assert check(tmp_path, text, *flags) == (2, f"error: {message}\n")


def test_the_help_names_every_flag_of_the_issue() -> None:
    text = CliRunner().invoke(main, ["--help"]).stdout
    flags = [
        "--config",
        "--feed-url",
        "--destination",
        "--path-name",
        "--transport",
        "--format",
        "--key-file",
        "--ca-file",
        "--metrics",
        "--check-config",
        "--log-format",
        "--version",
    ]
    assert [flag for flag in flags if flag not in text] == []


def test_destinations_share_the_memory_that_they_have_together(tmp_path: Path) -> None:
    file = tmp_path / "forwarder.toml"
    sections = [f'[[destination]]\naddress = "127.0.0.1:{port}"\n' for port in range(1, 7)]
    sections[0] += "buffer_bytes = 1000000\n"
    file.write_text("buffer_total_bytes = 60000000\n" + "".join(sections))
    config = load_forwarder(file, {}, (), {})
    sizes = [settings.limits.size for settings in links_of(config).values()]
    assert sizes == [1_000_000, *[10_000_000] * 5]
    (alone,) = links_of(load_forwarder(None, {}, ("127.0.0.1:1",), {})).values()
    assert alone.limits.size == 64 << 20


def test_what_the_buffers_may_take_fits_the_unit() -> None:
    text = (Path(__file__).parents[3] / "systemd" / "hardening.conf").read_text()
    found = re.search(r"^MemoryHigh=(\d+)M$", text, re.MULTILINE)
    assert found is not None
    # What was sent but not acknowledged may take as much again; 100 MiB are the program's own.
    assert 2 * ForwarderConfig().buffer_total_bytes + (100 << 20) <= int(found[1]) << 20
