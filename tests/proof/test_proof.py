"""The proof itself, against the emulator: what it may cost first, then everything, and the removal whatever happens."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.loading import BUILT_IN, load_topology
from tests.proof.__main__ import Proof, cheapest, main
from tests.proof.cap import spend_cap
from tests.provisioning.emulator import serve

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
ACCOUNT = "123456789012"
DESK = "203.0.113.77"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty account whose hosts say on their consoles that they are ready."""
    server, endpoint = serve()
    # moto reads its images when it is first imported, which is for `serve` to do.
    from moto.ec2.responses import general  # noqa: PLC0415

    console = f"backbone-latency: host-key {HOST_KEY}\nbackbone-latency: ready host=x bundle=y clock=chrony\n"
    monkeypatch.setattr(general, "SAMPLE_CONSOLE_OUTPUT", console)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=300):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield endpoint
    server.shutdown()


def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "bundle.tar.gz").write_bytes(b"a bundle")
    where = ["--output", str(tmp_path / "out"), "--ssh-from", DESK]
    return ["--spend-usd", "5", "--bundle", str(tmp_path / "bundle.tar.gz"), *where]


def test_the_cheapest_is_taken_and_the_cap_is_more_than_its_hours_cost() -> None:
    name, cap = cheapest()
    assert name == "backbone"
    assert cap.total <= min(spend_cap(load_topology(other), 3600.0 * cap.hours).total for other in BUILT_IN)
    assert cap.total > cap.hours * sum(item.hour or 0.0 for item in cap.items)
    assert 0.05 < cap.total < 5
    assert any(f"{cap.total:.2f} USD  in all" in line for line in cap.lines(name))


def test_without_an_amount_nothing_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main([]) == 2
    told = capsys.readouterr().out
    assert "it has not met a real account" in told
    assert f"make aws-proof SPEND_USD={cheapest()[1].total:.2f}" in told
    assert main(["--spend-usd", "0.01"]) == 2
    assert "0.01 USD is less than it may cost" in capsys.readouterr().out


@pytest.mark.process
def test_everything_is_built_measured_removed_and_written_down(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$last" >> {tmp_path}/measured\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")

    def measure(proof: Proof) -> list[str]:
        on = ["--topology", proof.topology, "--name", proof.name, "--identity", str(proof.folder / "key")]
        return [sys.executable, "-m", "provisioning.main", "ssh", *on, "receiver", "--", "a", "measurement"]

    code = main(arguments(tmp_path), measure)
    told, complained = capfd.readouterr()
    assert code == 0, told + complained
    assert (tmp_path / "measured").read_text() == "a measurement\n"
    assert "nothing is left: every kind of resource" in told
    assert "0 differences from the emulator" in told, told
    assert not (tmp_path / "out/key").exists()
    text = (tmp_path / "out/calls.jsonl").read_text()
    calls = [json.loads(line) for line in text.splitlines()]
    assert {"CreateVpc", "RunInstances", "GetConsoleOutput", "PutObject", "DeleteVpc"} <= {
        c["operation"] for c in calls
    }
    for secret in (ACCOUNT, DESK, "AAAAC3NzaC1lZDI1NTE5", HOST_KEY.split()[1], "testing"):
        assert secret not in text
    run = next(call for call in calls if call["operation"] == "RunInstances")
    assert run["params"]["InstanceInitiatedShutdownBehavior"] == "stop"
    assert run["params"]["CreditSpecification"] == {"CpuCredits": "standard"}
    assert any(tag["Key"] == "latency:stop-after" for tag in run["params"]["TagSpecifications"][0]["Tags"])


@pytest.mark.process
def test_a_failure_still_removes_and_what_was_not_there_before_is_named(
    account: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stranger = (
        "import boto3, sys; ec2 = boto3.client('ec2', region_name='eu-central-1');"
        "print('made', ec2.create_vpc(CidrBlock='10.9.0.0/16')['Vpc']['VpcId']); sys.exit(3)"
    )
    code = main(arguments(tmp_path), lambda _: [sys.executable, "-c", stranger])
    told, complained = capfd.readouterr()
    assert code == 1, told + complained
    (made,) = (line.split()[1] for line in told.splitlines() if line.startswith("made "))
    assert f"not there before: vpc {made} eu-central-1" in told
    assert "to remove what is the deployment's: provision down --topology backbone --name proof-" in told
    assert "not there before: instance" not in told
    assert told.rstrip().endswith("failed: measure")
