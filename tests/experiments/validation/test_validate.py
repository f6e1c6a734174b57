"""`experiment validate` with the real probe against a real HTTPS server, on this machine and by a real ssh."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from experiments.local.certificates import certificates
from experiments.main import main
from tests.daemons.probe.proxy import proxying
from tests.daemons.probe.script import Close, Read, running_script
from tests.experiments.hosts.sshd import sshd
from tests.processes import running, until
from tests.schemas import conforming

pytestmark = pytest.mark.process


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    """A server that tells the time; gives the head of a suite that asks it."""
    authority, chain, key = certificates(tmp_path)
    with running("experiments.local.https_server", str(chain), str(key), ready="address") as server:
        yield (
            f'[target]\nurl = "https://{server.ready["address"]}/api/v3/time"\ncount = 80\ninterval_seconds = 0.01\n'
            f'ca_file = "{authority}"\n[egress]\nurl = "https://{server.ready["address"]}/api/v3/time"\n'
            f'ca_file = "{authority}"\naddress_field = "serverTime"\n'
        )


def validate(folder: Path, suite: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    (folder / "suite.toml").write_text(suite)
    command = [sys.executable, "-m", "experiments.main", "validate", str(folder / "suite.toml")]
    command += ["--output", str(folder / "out"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    file = folder / "out/validation.json"
    return done, conforming(file.read_bytes(), "validation") if file.exists() else {}


def outcomes(result: dict[str, Any], scenario: int = 0) -> dict[str, str]:
    return {phase["phase"]: phase["outcome"] for phase in result["scenarios"][scenario]["phases"]}


def test_the_direct_way_and_a_proxy_are_scenarios_of_one_suite(tmp_path: Path, target: str) -> None:
    with proxying() as proxy, proxying(b"HTTP/1.1 403 Forbidden\r\n\r\n", then="close") as strict:
        suite = (
            f'baseline = "direct"\n{target}[[scenario]]\nname = "direct"\n'
            f'[[scenario]]\nname = "via-proxy"\nproxy = "{proxy.url}"\n[scenario.egress]\ncountry = "JP"\n'
            f'[[scenario]]\nname = "refused"\nproxy = "{strict.url}"\n'
        ).replace("count = 80", "count = 30")
        done, result = validate(tmp_path, suite)
        # One for the preflight, one for each cold request, one kept for all warm ones, and the egress check's.
        assert len(proxy.seen.tunnels) >= 1 + 30 + 1 + 1
    assert done.returncode == 1, done.stdout + done.stderr
    direct, proxied, refused = result["scenarios"]
    assert outcomes(result, 1) == {"preflight": "pass", "cold": "pass", "warm": "pass", "egress": "inconclusive"}
    assert f"by proxy {proxy.url.removeprefix('http://')}" in proxied["phases"][0]["findings"][1]["seen"]
    assert refused["outcome"] == "fail"
    assert "answers CONNECT" in refused["phases"][0]["reason"]
    parts = ["connect", "tls", "processing", "transfer", "total"]
    assert list(direct["phases"][1]["medians_ms"]) == parts
    assert list(proxied["phases"][1]["medians_ms"]) == ["connect", "tunnel", *parts[1:]]
    assert list(proxied["phases"][2]["medians_ms"]) == parts[2:]
    assert [text.split(":")[0] for text in result["comparisons"]] == ["cold", "warm"] * 2
    told = (tmp_path / "out/validation.md").read_text()
    assert "| requests | scenario | connect | tunnel | tls | processing | transfer | total |" in told
    assert "<th>tunnel</th>" in (tmp_path / "out/validation.html").read_text()


def test_a_server_that_closes_every_connection_is_said_to(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    with running_script([[Read(), answer, Close()]]) as server:
        suite = (
            f'[target]\nurl = "http://127.0.0.1:{server.port}/"\ncount = 10\ninterval_seconds = 0.02\n'
            '[[scenario]]\nname = "closing"\n'
        )
        done, result = validate(tmp_path, suite)
    assert outcomes(result) == {"preflight": "pass", "cold": "pass", "warm": "inconclusive"}, done.stdout
    reason = result["scenarios"][0]["phases"][2]["reason"]
    assert re.match(r"no warm request was made: each of [1-9]\d* requests had to open a connection, for the", reason)
    assert done.returncode == 9


def test_what_is_as_expected_passes_and_is_compared_with_the_baseline(tmp_path: Path, target: str) -> None:
    expectation = (
        "[scenario.cold]\nmedian_ms = [0.1, 2000]\np95_ms = [0.1, 2000]\n[scenario.warm]\nmedian_ms = [0, 2000]\n"
    )
    suite = f'baseline = "direct"\n{target}[[scenario]]\nname = "direct"\n{expectation}[[scenario]]\nname = "again"\n'
    done, result = validate(tmp_path, suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["outcome"] == "pass"
    assert result["complete"]
    assert outcomes(result) == {"preflight": "pass", "cold": "pass", "warm": "pass"}
    assert result["scenarios"][0]["phases"][1]["samples"] == 80
    assert len(result["comparisons"]) == 2
    assert all(" between again and direct" in text or "again" in text for text in result["comparisons"])
    rows = (tmp_path / "out/direct/cold.csv").read_text().splitlines()
    assert len(rows) == 81
    assert "<h1>Validation: " in (tmp_path / "out/validation.html").read_text()


def test_a_value_out_of_its_range_fails_with_code_1(tmp_path: Path, target: str) -> None:
    done, result = validate(
        tmp_path, f'{target}[[scenario]]\nname = "direct"\n[scenario.warm]\nmedian_ms = [5000, 6000]\n'
    )
    assert done.returncode == 1, done.stdout
    assert outcomes(result) == {"preflight": "pass", "cold": "pass", "warm": "fail"}
    assert "fail         direct warm" in done.stdout
    assert "is below 5000 to 6000" in done.stdout


def test_what_cannot_be_measured_is_inconclusive_with_code_9_and_says_what_to_do(tmp_path: Path, target: str) -> None:
    suite = (
        f'{target}[[scenario]]\nname = "direct"\ncount = 20\n[scenario.cold]\np99_ms = [0, 5000]\n'
        '[scenario.route]\ncommand = "no-such-mtr"\n[scenario.egress]\ncountry = "JP"\n'
    )
    done, result = validate(tmp_path, suite)
    assert done.returncode == 9, done.stdout
    assert outcomes(result) == {
        "preflight": "pass",
        "cold": "inconclusive",
        "warm": "pass",
        "route": "inconclusive",
        "egress": "inconclusive",
    }
    assert "p99_ms needs 368 samples, there are 20; raise count in [target]" in done.stdout
    assert "missing: no-such-mtr: cannot be run: No such file or directory; apt-get install mtr-tiny" in done.stdout
    assert "is not an address; use another url, or set address_field" in done.stdout


def test_an_interrupted_validation_says_what_is_missing(tmp_path: Path, target: str) -> None:
    suite = target.replace("count = 80", "count = 10000") + '[[scenario]]\nname = "direct"\n'
    (tmp_path / "suite.toml").write_text(suite)
    command = ("validate", str(tmp_path / "suite.toml"), "--output", str(tmp_path / "out"))
    with running("experiments.main", *command, ready=None, exit_code=130) as program:
        file = tmp_path / "out/validation.json"
        until(lambda: file.exists() and b'"preflight"' in file.read_bytes(), "the preflight is over")
        program.send_signal(signal.SIGINT)
        assert program.wait(300) == 130
    result = json.loads(file.read_text())
    assert (result["outcome"], result["complete"]) == ("inconclusive", False)
    assert outcomes(result) == {"preflight": "pass", "cold": "inconclusive", "warm": "inconclusive"}
    assert "The validation was interrupted" in (tmp_path / "out/validation.md").read_text()


def test_a_target_that_is_not_there_fails_and_the_rest_is_not_measured(tmp_path: Path) -> None:
    suite = '[target]\nurl = "https://127.0.0.1:9/"\ncount = 5\n[[scenario]]\nname = "direct"\n'
    done, result = validate(tmp_path, suite)
    assert done.returncode == 1
    assert outcomes(result) == {"preflight": "fail", "cold": "inconclusive", "warm": "inconclusive"}
    assert "connect_refused" in result["scenarios"][0]["phases"][0]["reason"]


OVERLAY_ALONE = """
import asyncio, pathlib, subprocess, sys
folder, groups = pathlib.Path(sys.argv[1]), sys.argv[2]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
if groups:
    pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text(groups)
from experiments.hosts.shell import LocalShell
from experiments.validation.config import load_suite
from experiments.validation.phases import Vantage, phases_of
suite = load_suite(folder / "suite.toml")
(phase,) = [phase for phase in phases_of(suite, suite.scenario[0], "") if phase.name == "overlay"]
here = Vantage(LocalShell(), (sys.executable, "-m", "daemons.probe.main"), str(pathlib.Path(sys.executable).parent))
found = asyncio.run(phase.measure(here, folder))
print(found.outcome, found.samples, found.reason)
"""


@pytest.mark.parametrize(("groups", "expected"), [("0 0", "pass 80 "), ("", "inconclusive 0 local: 127.0.0.1: cannot")])
def test_round_trips_need_the_kernels_permission_to_ping(tmp_path: Path, groups: str, expected: str) -> None:
    # A network namespace of its own lets nobody ping until it is told to.
    (tmp_path / "suite.toml").write_text(
        '[target]\nurl = "https://127.0.0.1:9/"\ncount = 1\n[[scenario]]\nname = "direct"\n'
        '[scenario.overlay]\npeer = "127.0.0.1"\ncount = 80\ninterval_seconds = 0.01\nmedian_ms = [0, 50]\n'
    )
    command = ["unshare", "--net", "--map-root-user", sys.executable, "-c", OVERLAY_ALONE, str(tmp_path), groups]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected), done.stdout
    assert ("ping_group_range" in done.stdout) == (not groups)


def test_scenarios_are_measured_on_other_hosts(tmp_path: Path, target: str) -> None:
    with sshd(tmp_path / "sshd") as server:
        (tmp_path / "hosts.toml").write_text(
            f'ssh_config = "{server.config}"\n'
            f'[[host]]\nname = "client"\nrole = "probe"\nprograms = "{sys.prefix}/bin"\n'
            '[[host]]\nname = "bare"\nrole = "probe"\nprograms = "/no/such"\n'
        )
        suite = f'{target}[[scenario]]\nname = "via-nat"\nhost = "client"\n[[scenario]]\nname = "bare"\nhost = "bare"\n'
        done, result = validate(tmp_path, suite, "--hosts", str(tmp_path / "hosts.toml"))
    assert done.returncode == 9, done.stdout + done.stderr
    assert outcomes(result, 0) == {"preflight": "pass", "cold": "pass", "warm": "pass"}
    assert outcomes(result, 1) == {"preflight": "inconclusive", "cold": "inconclusive", "warm": "inconclusive"}
    assert "host bare: `/no/such/latency-probe --version` ended with 127" in done.stdout
    assert result["scenarios"][0]["host"] == "client"


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ('name = "a"\nhost = "client"', "scenario a: is measured on host 'client'; give --deployment or --hosts"),
        ('name = "a"\n[scenario.egress]\nhost = "nat"', "scenario a: egress.host: there are no hosts"),
    ],
)
def test_hosts_that_are_not_known_are_refused_before_anything_is_measured(
    tmp_path: Path, scenario: str, text: str
) -> None:
    (tmp_path / "suite.toml").write_text(f'[target]\nurl = "https://127.0.0.1:9/"\n[[scenario]]\n{scenario}\n')
    done = CliRunner().invoke(main, ["validate", str(tmp_path / "suite.toml"), "--output", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert f"error: {text}" in done.output
    assert not (tmp_path / "out").exists()
