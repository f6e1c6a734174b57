"""The command on a simulated exchange with doors that are far, refuse, answer nothing, and die."""

import asyncio
import csv
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.main import main
from tests.experiments.doors.nameserver import answering, zone
from tests.processes import running, until
from tests.programs import free_port, simulator
from tests.schemas import conforming

EXPERIMENT = Path(sys.executable).parent / "experiment"


@pytest.mark.process
def test_the_nearest_door_is_named_and_the_others_troubles_are_told(tmp_path: Path) -> None:
    port = free_port()
    doors = [
        word
        # So far apart that no standstill of a busy machine blurs it.
        for last, delay in ((2, 20), (3, 500), (4, 500))
        for word in ("--door", f"127.0.0.{last}:{port}={delay}ms,0.1ms")
    ]
    folder = tmp_path / "run"
    with simulator(*doors, "--rate", "200"), socket.create_server(("127.0.0.5", port)):
        # 127.0.0.5 takes connections and says nothing; at 127.0.0.6 nobody listens.

        async def race() -> tuple[int, bytes, bytes]:
            records = {("doors.example.com.", "A"): [f"127.0.0.{last}" for last in (2, 3, 5)]}
            async with answering(zone(records)) as resolver:
                process = await asyncio.create_subprocess_exec(
                    *(EXPERIMENT, "doors", f"ws://doors.example.com:{port}", "--stream", "btcusdt@trade"),
                    *("--resolver", f"127.0.0.1:{resolver}", "--address", "127.0.0.4", "--address", "127.0.0.6"),
                    *("--block", "0.3s", "--margin-ms", "10", "--duration", "5m", "--json", "-", "--output", folder),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                out, errors = await process.communicate()
                assert process.returncode is not None
                return process.returncode, out, errors

        code, out, errors = asyncio.run(race())
    told = errors.decode()
    assert code == 0, told
    document = conforming(out, "experiment-doors")
    assert document == conforming((folder / "doors.json").read_bytes(), "experiment-doors")
    assert document["ended_by"] == "sure"
    assert document["leaders"] == ["127.0.0.2"]
    assert document["configuration"] == 'address = "127.0.0.2"'
    rows = {door["address"]: door for door in document["doors"]}
    assert {address for address, door in rows.items() if door["blocks"] >= 30} == {f"127.0.0.{n}" for n in (2, 3, 4)}
    assert rows["127.0.0.6"]["ended"]["refused"] >= 1
    assert rows["127.0.0.6"]["state"] == rows["127.0.0.5"]["state"] == "failing"
    assert rows["127.0.0.5"]["ended"]["timeout"] >= 1
    assert rows["127.0.0.4"]["found_by"] == ["--address"]
    assert "127.0.0.6: feed lost: " in told
    assert sum("IPv6" in note for note in document["notes"]) == 1
    assert document["attempts"] == sum(door["attempts"] for door in rows.values()) < 250
    with (folder / "blocks.csv").open() as stream:
        blocks = list(csv.DictReader(stream))
    assert len({row["block"] for row in blocks}) >= 30
    reported = CliRunner().invoke(main, ["report", str(folder)], catch_exceptions=False)
    assert reported.exit_code == 0
    page = (folder / "report.html").read_text()
    for title in ("Ranking", "Behind 127.0.0.2", "Over time", "Connections", "Method"):
        assert f"<h2>{title}</h2>" in page
    assert 'address = "127.0.0.2"' in (folder / "report.md").read_text()


@pytest.mark.process
def test_told_to_end_it_keeps_what_it_has_and_says_that_it_is_not_sure(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "run"
    command = ("doors", f"ws://127.0.0.2:{port}", "--address", "127.0.0.3", "--output", str(folder), "--block", "0.2s")
    with (
        simulator("--door", f"127.0.0.2:{port}=5ms,0ms", "--door", f"127.0.0.3:{port}=5ms,0ms", "--rate", "100"),
        running("experiments.main", *command, "--margin-ms", "0", ready=None, exit_code=9) as program,
    ):
        until((folder / "blocks.csv").exists, "no block was written")
        program.send_signal(signal.SIGINT)
        assert program.wait() == 9
    document = conforming((folder / "doors.json").read_bytes(), "experiment-doors")
    assert document["ended_by"] == "interrupted"
    assert document["end"] is not None
    assert document["configuration"] == ""


def refused(*options: str) -> str:
    result = CliRunner().invoke(main, ["doors", *options])
    assert result.exit_code == 2, result.output
    return result.output


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("https://a.example",), "is not a WebSocket URL"),
        (("s3://my-archive/desk",), "has rows of paths, which do not say by which door they came"),
        ((str(Path(__file__).parent),), "compare, report and hunt ask rows that were recorded"),
        (("wss://a.example", "--stream", "btcusdt@kline_1m"), "has an id to be compared by"),
        (("wss://a.example", "--resolver", "dns.example"), "is not an address"),
        (("wss://a.example", "--resolver", "dns.example:53"), "is no IP address"),
        (("wss://a.example", "--address", "a.example"), "is no IP address"),
        (("wss://a.example", "--only-address"), "there is no --address"),
        (("wss://a.example", "--only-address", "--address", "192.0.2.1", "--resolver", "9.9.9.9"), "nobody is to be"),
        (("wss://a.example", "--connections", "1"), "--connections"),
        (("wss://a.example", "--block", "1ms"), "too short"),
        (("wss://a.example", "--encoding", "sbe"), "need an API key"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_asked(options: tuple[str, ...], why: str) -> None:
    assert why in " ".join(refused(*options).split())


def test_a_name_without_an_address_ends_with_the_reason(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doors", "ws://no-such-name.invalid", "--output", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "no door was found" in result.output
    assert "does not resolve" in result.output
    assert json.loads((tmp_path / "run/doors.json").read_text())["doors"] == []
