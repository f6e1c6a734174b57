"""The command as a user runs it: a process of its own, boto3's own configuration, moto over HTTP."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provisioning.drawing import drawing
from provisioning.loading import load_topology
from tests.processes import DEADLINE_SECONDS
from tests.provisioning.aws import Operator, census, client
from tests.provisioning.emulator import REGIONS
from tests.provisioning.test_permissions import refused
from tests.schemas import conforming
from tests.terminal import on_terminal, program

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


class Shell:
    """Runs `provision` with an emulator and a bundle at hand."""

    def __init__(self, endpoint: str, tmp_path: Path) -> None:
        self.bundle = tmp_path / "bundle.tar.gz"
        self.bundle.write_bytes(b"a bundle")
        self.record = tmp_path / "calls"
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "RECORD": str(self.record),
        }

    def run(
        self, *arguments: str, module: str = "provisioning.main", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def calls(self) -> list[dict[str, Any]]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        self.record.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@pytest.fixture
def shell(endpoint: str, tmp_path: Path) -> Shell:
    return Shell(endpoint, tmp_path)


@pytest.mark.parametrize("name", ["backbone", "egress", "full"])
def test_a_deployment_from_plan_to_down(shell: Shell, endpoint: str, name: str) -> None:
    topology = load_topology(name)
    empty = census(endpoint, topology.regions)
    plan = shell.ok("plan", "--topology", name)
    assert "to create" in plan.splitlines()[-1]
    assert census(endpoint, topology.regions) == empty

    recorded = shell.run(
        "-t", name, "up", "--yes", "--bundle", str(shell.bundle), module="tests.provisioning.recorded_provision"
    )
    assert recorded.returncode == 0, recorded.stderr
    assert "created host/" in recorded.stderr
    calls = shell.calls()
    assert any(call["changes"] for call in calls)
    assert refused(calls) == []

    rows = conforming(shell.ok("status", "-t", name, "--json"), "provision-status")
    placed = {row["key"].partition("/")[0] for row in rows if row["zone"] and row["zone_id"]}
    assert placed == {"subnet", "host"}
    assert {row["state"] for row in rows} <= {"present", "available", "running", "active"}
    assert all("silent" in row["detail"] for row in rows if row["key"].startswith("host/"))
    assert "key\tregion\tzone\tid\tstate\tdetail" in shell.ok("status", "-t", name)

    again = shell.run("-t", name, "up", "--yes", module="tests.provisioning.recorded_provision")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    calls = shell.calls()
    assert calls
    assert not [call for call in calls if call["changes"]]

    groups = conforming(shell.ok("targets", "-t", name), "provision-targets")
    assert {group["labels"]["deployment"] for group in groups} == {name}
    assert {group["labels"]["host"] for group in groups} == {host.name for host in topology.host}
    cost = shell.ok("cost", "-t", name)
    assert "total\t" in cost
    assert "t types in unlimited mode cost up to 0." in cost
    assert "unlimited" not in shell.ok("cost", "-t", name, "--cpu-credits", "standard")
    prices = conforming(shell.ok("cost", "-t", name, "--json"), "provision-cost")
    assert sum(item["per_30_days"] for item in prices["items"]) == pytest.approx(prices["per_30_days"], abs=0.01)

    down = shell.run("-t", name, "--json", "down", "--yes", module="tests.provisioning.recorded_provision")
    assert down.returncode == 0, down.stderr
    gone = conforming(down.stdout, "provision-down")
    assert {row["id"] for row in rows} <= {*gone["removed"], ""}
    assert refused(shell.calls()) == []
    assert census(endpoint, topology.regions) == empty


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_whole_plan_is_shown_on_every_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    steps = conforming(shell.ok("plan", "--topology", "full", "--json"), "provision-plan")
    piped = shell.ok("plan", "--topology", "full").splitlines()
    drawn = drawing(load_topology("full"))
    assert piped[: len(drawn)] == drawn
    del piped[: len(drawn)]
    assert len(piped) == len(steps) + 1 > 30
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)
    shown = on_terminal(program("provisioning.main", "plan", "--topology", "full"), width, cwd=ROOT)
    assert shown.code == 0
    assert shown.too_long == []
    assert "…" not in shown.text
    flat = " ".join(shown.text.split())
    for step, line in zip(steps, piped, strict=False):
        assert all(text in line for text in (step["key"], step["region"], *step["details"])), line
        assert " ".join(line.split()) in flat
    assert piped[-1] in flat


@pytest.mark.parametrize("where", ["CreateVpcPeeringConnection ap-northeast-1 1", "RunInstances eu-central-1 1"])
def test_a_process_killed_for_real_is_completed_by_the_next(shell: Shell, endpoint: str, where: str) -> None:
    topology = load_topology("backbone")
    up = ("up", "--yes", "--bundle", str(shell.bundle))
    killed = shell.run(*up, module="tests.provisioning.recorded_provision", KILL_AT=where)
    assert killed.returncode == -signal.SIGKILL
    assert shell.ok(*up)
    found = census(endpoint, topology.regions)
    assert all(count == 1 for (_, kind, _), count in found.items() if kind != "interface")
    assert Operator(endpoint, topology, "backbone").up().aws.changing() == []


def test_an_interrupted_run_stops_and_says_what_to_do(shell: Shell, endpoint: str) -> None:
    up = ("up", "--yes", "--bundle", str(shell.bundle))
    where = "CreateSubnet eu-central-1 1"
    stopped = shell.run(*up, module="tests.provisioning.recorded_provision", KILL_AT=where, KILL_WITH="SIGINT")
    assert stopped.returncode == 130, stopped.stderr
    assert "interrupted: what was made stays; run the command again to go on" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not [call for call in shell.calls() if call["operation"] == "RunInstances"]
    assert shell.ok(*up)


def test_another_deployment_is_never_mistaken_for_this_one(shell: Shell, endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text((ROOT / "provisioning/topologies/egress.toml").read_text())
    shell.ok("up", "--yes", "--bundle", str(shell.bundle), "-t", str(file))
    standing = census(endpoint, REGIONS)
    told = shell.ok("down", "--yes")
    assert "backbone: nothing is left by tag in ap-northeast-1, ap-southeast-1, eu-central-1" in told
    assert "another deployment stands: desk in ap-northeast-1, ap-southeast-1; `provision down --name desk`" in told
    assert census(endpoint, REGIONS) == standing
    file.unlink()
    assert "desk: nothing is left" in shell.ok("down", "--yes", "-t", str(file))
    assert Operator(endpoint, load_topology("egress"), "desk").left() == []


def test_an_expired_deployment_is_told_and_reaped(shell: Shell, endpoint: str) -> None:
    empty = census(endpoint, load_topology("backbone").regions)
    up = ("up", "--yes", "--bundle", str(shell.bundle))
    shell.ok(*up, "--expires", "2126-12-31")
    standing = census(endpoint, load_topology("backbone").regions)
    assert "stays until 2127-01-01T00:00:00+00:00, nothing removed" in shell.ok("reap")
    assert census(endpoint, load_topology("backbone").regions) == standing
    shell.ok(*up, "--expires", "2026-01-31")
    assert "expired: it was to end 2026-02-01" in shell.ok("status")
    assert "expired: it was to end 2026-02-01" in shell.ok("plan")
    assert "expired and removed" in shell.ok("reap")
    assert census(endpoint, load_topology("backbone").regions) == empty
    assert conforming(shell.ok("reap", "--json"), "provision-reap") == {"expires": None, "removed": []}
    assert "has no expiry" in shell.ok("reap")


def stop_tags(endpoint: str) -> set[str]:
    """What the standing hosts read in their metadata about their end."""
    told = set()
    for region in load_topology("backbone").regions:
        filters = [{"Name": "instance-state-name", "Values": ["running"]}]
        for reservation in client(endpoint, "ec2", region).describe_instances(Filters=filters)["Reservations"]:
            for host in reservation["Instances"]:
                told |= {tag["Value"] for tag in host["Tags"] if tag["Key"] == "latency:stop-after"}
    return told


def test_hosts_that_stop_themselves_are_told_of_and_follow_a_later_expiry(shell: Shell, endpoint: str) -> None:
    up = ("up", "--yes", "--bundle", str(shell.bundle))
    assert "--stop-at-expiry: there is no expiry; give --expires too" in shell.run(*up, "--stop-at-expiry").stderr
    past = shell.run(*up, "--expires", "2026-01-31", "--stop-at-expiry")
    assert past.returncode == 2
    assert "--expires: 2026-02-01T00:00:00+00:00 is past, and hosts power themselves off" in past.stderr
    assert census(endpoint, load_topology("backbone").regions) == {}

    end = ("--expires", "2126-12-31T09:00:00+09:00", "--stop-at-expiry")
    assert "hosts power themselves off after 2126-12-31T09:00:00+09:00; volumes" in shell.ok("plan", *end)
    shell.ok(*up, *end)
    assert stop_tags(endpoint) == {"2126-12-31T00:00:00+00:00"}
    # Whoever looks later need not know what was wished.
    assert "hosts power themselves off after 2126-12-31T00:00:00+00:00" in shell.ok("status")

    later = shell.run(*up, "--expires", "2127-06-30", "--stop-at-expiry")
    assert "created" not in later.stderr, "no host is replaced for another end"
    assert stop_tags(endpoint) == {"2127-07-01T00:00:00+00:00"}
    shell.ok(*up, "--expires", "2127-06-30")
    assert stop_tags(endpoint) == {"never"}
    assert "power themselves off" not in shell.ok("status")


def test_the_trial_needs_no_account(shell: Shell) -> None:
    done = shell.run("provision", "plan", module="tests.provisioning.trial", AWS_PROFILE="nobody")
    assert done.returncode == 0, done.stderr
    assert "to create" in done.stdout


def test_after_a_failure_what_stands_and_both_ways_on_are_told(shell: Shell) -> None:
    arguments = ("up", "--yes", "--bundle", str(shell.bundle))
    refusal = {"FAIL_AT": "RunInstances VcpuLimitExceeded"}
    done = shell.run(*arguments, module="tests.provisioning.recorded_provision", **refusal)
    assert done.returncode == 6, done.stderr
    lines = done.stderr.splitlines()
    assert any("resources stand, 0 of them hosts: about 0.0000 USD an hour" in line for line in lines), lines
    assert lines[-2] == f"error: to go on: provision {' '.join(arguments)}"
    assert lines[-1] == "error: to take it away: provision down --name backbone"


def test_what_no_host_can_be_made_of_is_told_before_anything_is_changed(shell: Shell) -> None:
    wish = ("--image", "ami-0123456789abcdef0")
    done = shell.run("up", "--yes", "--bundle", "none", *wish, module="tests.provisioning.recorded_provision")
    assert done.returncode == 6, done.stderr
    assert not [call for call in shell.calls() if call["changes"]]
    lines = done.stderr.splitlines()
    assert "InvalidAMIID.NotFound" in lines[0]
    assert lines[-2:] == [
        "error: nothing stands",
        "error: to go on: provision up --yes --bundle none --image ami-0123456789abcdef0",
    ]
    planned = shell.run("plan", *wish)
    assert planned.returncode == 6
    assert "InvalidAMIID.NotFound" in planned.stderr


def test_what_the_operator_did_wrong_is_told(shell: Shell) -> None:
    for arguments, code, text in [
        (("plan", "-t", "backbon"), 2, "error: --topology: 'backbon' is not built in; use backbone, egress, full"),
        (("plan", "-n", "Not A Name"), 2, "is not a deployment name"),
        (("up",), 2, "error: --yes: is missing; without a terminal to ask on, changes need --yes"),
        (("up", "--yes", "--bundle", "/no/such/file"), 2, "--bundle: /no/such/file"),
        (("cost", "--instance-type", "receiver=m5.large"), 6, "no price for m5.large in eu-central-1"),
        (("ssh", "receiver"), 6, "host/forwarder: does not stand in deployment backbone; run `provision up`"),
        (("ssh", "nobody"), 6, "nobody: no such host or role; name one of forwarder, receiver"),
        (("plan", "--profile", "nobody"), 6, "The config profile (nobody) could not be found"),
        (("up", "--yes", "--ssh-key", "/no/such.pub", "--ssh-from", "203.0.113.7/32"), 2, "--ssh-key: /no/such.pub"),
    ]:
        done = shell.run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert text in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_an_endpoint_that_is_not_there_is_told(shell: Shell) -> None:
    done = shell.run("plan", module="tests.provisioning.no_network")
    assert done.returncode == 6, done.stderr
    assert "credentials: get_caller_identity in ap-northeast-1: UnreachableEndpoint" in done.stderr
    assert "check the network" in done.stderr
