import shlex
from pathlib import Path
from typing import Any

import pytest
import trustme

from daemons.errors import ConfigError
from daemons.simulator.main import main
from daemons.simulator.settings import DoorPath, check
from daemons.simulator.streams import KINDS, Stream

GOOD_DOOR = "127.0.0.2:9443=5ms,0.1ms"


def flags(*arguments: str) -> dict[str, Any]:
    parameters = main.make_context("latency-simulator", list(arguments)).params
    del parameters["log_format"]
    return parameters


def test_defaults_are_the_exchange_s() -> None:
    settings = check(flags())
    assert settings.listen == ("127.0.0.1", 9443)
    assert settings.far_listen is None
    assert [stream.name for stream in settings.streams] == ["btcusdt@trade", "btcusdt@bookTicker"]
    assert (settings.ping_interval_seconds, settings.ping_timeout_seconds) == (20.0, 60.0)
    assert settings.disconnect_every == 86_400.0
    futures = check(flags("--futures"))
    assert (futures.ping_interval_seconds, futures.ping_timeout_seconds) == (180.0, 600.0)


def test_streams_may_be_repeated_or_joined() -> None:
    settings = check(flags("--stream", "a@trade/b@depth5", "--stream", "c@aggTrade", "--stream", "a@trade"))
    assert settings.streams == (
        Stream("a@trade", "A", "trade"),
        Stream("b@depth5", "B", "depth", 5),
        Stream("c@aggTrade", "C", "aggTrade"),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "nowhere"], "--listen: 'nowhere' is not an address; write HOST:PORT or [IPV6]:PORT"),
        (
            ["--far-listen", "::1:80"],
            "--far-listen: '::1:80' is not an address; write HOST:PORT or [IPV6]:PORT",
        ),
        (
            ["--stream", "btcusdt@kline_1m"],
            f"--stream: 'btcusdt@kline_1m' cannot be generated; use a lower-case symbol, @, and {', '.join(KINDS)}",
        ),
        (
            ["--far-delay-ms", "10", "--far-jitter-ms", "6"],
            "--far-jitter-ms: 6 is more than half of the delay, 10; lower it, or raise --far-delay-ms",
        ),
        (
            ["--reject-status", "599"],
            "--reject-status: 599 is not a valid HTTPStatus; use a status that exists, such as 429",
        ),
        (["--tls-key", "key.pem"], "--tls-certificate: is missing; give both or none"),
        *[
            (
                ["--door", door],
                f"--door: {door!r} is not a door; write HOST:PORT=DELAY,JITTER[,DRIFT], such as {GOOD_DOOR}",
            )
            for door in ("127.0.0.1:0", "127.0.0.1:0=5ms", "127.0.0.1:0=5ms,0,0,0", "127.0.0.1:0=5ms,fast")
        ],
        (
            ["--door", "127.0.0.1:0=5ms,2ms,1ms"],
            "--door: jitter and drift of '127.0.0.1:0=5ms,2ms,1ms' are more than half of its delay; lower them",
        ),
        (["--door", "=5ms,0"], "--door: '' is not an address; write HOST:PORT or [IPV6]:PORT"),
        (
            ["--tls-certificate", "/nonexistent.pem", "--tls-key", "/nonexistent.pem"],
            (
                "--tls-certificate: /nonexistent.pem with /nonexistent.pem: No such file or directory; "
                "give PEM files that belong together"
            ),
        ),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(flags(*arguments))
    assert str(refusal.value) == message


def test_a_key_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("localhost").cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    authority.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="mismatch"):
        check(flags("--tls-certificate", str(tmp_path / "certificate.pem"), "--tls-key", str(tmp_path / "key.pem")))


def test_the_documented_command_is_valid() -> None:
    text = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")
    command = text.split("```\nlatency-simulator ", 1)[1].split("```", 1)[0]
    settings = check(flags(*shlex.split(command.replace("\\\n", " "))))
    assert settings.far_listen == ("127.0.0.1", 9444)
    assert settings.rate == 500.0


def test_doors_have_delays_of_their_own() -> None:
    doors = check(flags("--door", GOOD_DOOR, "--door", "[::1]:0=1s,0,250ms")).doors
    assert doors == (DoorPath(("127.0.0.2", 9443), 0.005, 0.0001, 0.0), DoorPath(("::1", 0), 1.0, 0.0, 0.25))
