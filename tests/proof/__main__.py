"""`make aws-proof`: the cheapest deployment is built on a real account, measured, removed, and proven to be gone.

It costs money, so it runs only when it is told an amount to spend, and says first what it may cost at most.
"""

import argparse
import datetime as dt
import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemons.errors import LatencyError
from provisioning.cloud import Cloud
from provisioning.loading import BUILT_IN, adjusted, load_topology
from provisioning.topology import Topology
from tests.proof.cap import Cap, spend_cap
from tests.proof.comparison import differences
from tests.proof.inventory import Standing, inventory
from tests.proof.recording import read

CHECKOUT = Path(__file__).parents[2]
OWN_ADDRESS = "https://checkip.amazonaws.com"
WAIT_SECONDS = 900
STEP_SECONDS = {"plan": 180, "up": 1800, "status": 180, "measure": 300, "down": 1500}
DOWNS = 3
"""`down` is repeated: what stays costs."""


def say(text: str) -> None:
    """Tell the person at the terminal, before the next step's own words."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Proof:
    """One run: its deployment, and the steps that failed.

    Args:
        folder: for the recording and the measurement.
        topology: what is built.
        cloud: the account, for the looks before and after.
        ssh_from: from where the measurement logs in.
        bundle: a software bundle's file; empty to build one from this checkout.
    """

    folder: Path
    topology: str
    cloud: Cloud
    ssh_from: str
    bundle: str = ""
    name: str = field(default_factory=lambda: f"proof-{secrets.token_hex(3)}")
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shape = load_topology(self.topology)
        self.account = self.cloud.account(self.shape.regions[0])
        self.record = self.folder / "calls.jsonl"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.folder / "key"], check=True)

    def look(self) -> set[Standing]:
        """Everything in the account's regions that a deployment could leave."""
        return inventory(self.cloud, self.shape.regions)

    def build_and_measure(self, measure: Sequence[str]) -> None:
        """From `plan` to a measurement; the first step that fails is the last."""
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=sum(STEP_SECONDS.values()))
        wishes = [
            *("--cpu-credits", "standard", "--ssh-from", f"{self.ssh_from}/32", "--ssh-key", f"{self.folder}/key.pub"),
            *("--expires", end.isoformat(timespec="seconds"), "--stop-at-expiry"),
        ]
        bundle = ["--bundle", self.bundle] if self.bundle else []
        steps = {
            "plan": self._provision("plan", *wishes),
            "up": self._provision("up", "--yes", "--wait", str(WAIT_SECONDS), *bundle, *wishes),
            "status": self._provision("status"),
            "measure": measure,
        }
        for step, command in steps.items():
            if not self.run(step, command):
                return

    def remove(self) -> None:
        """`down`, again where it failed."""
        for _ in range(DOWNS):
            if self.run("down", self._provision("down", "--yes")):
                self.failed = [step for step in self.failed if step != "down"]
                return

    def run(self, step: str, command: Sequence[str]) -> bool:
        """Run a step with this terminal; whether it succeeded in its time."""
        say(f"\n== {step}: {' '.join(command)}")
        secret = json.dumps({self.ssh_from: "198.51.100.254", os.environ.get("USER", ""): "operator"})
        environment = {"PROOF_RECORD": str(self.record), "PROOF_ACCOUNT": self.account, "PROOF_SECRETS": secret}
        try:
            done = subprocess.run(
                command, env={**os.environ, **environment}, cwd=CHECKOUT, timeout=STEP_SECONDS[step], check=False
            )
        except subprocess.TimeoutExpired:
            say(f"== {step}: not done after {STEP_SECONDS[step]} s")
            self.failed.append(step)
            return False
        if done.returncode:
            say(f"== {step}: exit code {done.returncode}")
            self.failed.append(step)
        return done.returncode == 0

    def _provision(self, *arguments: str) -> list[str]:
        named = ("--topology", self.topology, "--name", self.name)
        return [sys.executable, "-m", "tests.proof.provision", *arguments, *named]


def cheapest(names: Sequence[str] = BUILT_IN) -> tuple[str, Cap]:
    """The topology that costs least, and what a proof with it costs at most."""
    caps = {name: spend_cap(_calm(load_topology(name)), _longest_seconds()) for name in names}
    name = min(caps, key=lambda name: caps[name].total)
    return name, caps[name]


def _calm(topology: Topology) -> Topology:
    return adjusted(topology, types={}, cpu_credits="standard")


def _longest_seconds() -> float:
    """From the first host to the end of the last `down`, if every step takes all its time."""
    return sum(STEP_SECONDS.values()) + (DOWNS - 1) * STEP_SECONDS["down"]


def own_address() -> str:
    """The address by which this machine reaches AWS."""
    with urllib.request.urlopen(OWN_ADDRESS, timeout=10) as answer:
        return str(answer.read().decode().strip())


def compare(record: Path, topology: str) -> None:
    """Tell in what the recorded account differs from the emulator, which plays the same topology now."""
    emulated = record.with_name("emulated.jsonl")
    # In a process of its own: the emulator's credentials and endpoint are settings of the process.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "tests.proof.emulated", topology, str(emulated)]
    subprocess.run(command, env=environment, cwd=CHECKOUT, check=True)
    with record.open(encoding="utf-8") as real, emulated.open(encoding="utf-8") as ours:
        unlike = differences(read(real), read(ours))
    for line in unlike:
        say(f"unlike the emulator: {line}")
    say(f"{len(unlike)} differences from the emulator that the tests run on")


def conclude(proof: Proof, before: set[Standing], after: set[Standing]) -> int:
    """Say what came out; the exit code."""
    say(f"\n== what AWS answered, without ids of accounts, addresses and keys: {proof.record}")
    if proof.record.exists():
        compare(proof.record, proof.topology)
    left = sorted(after - before)
    for region, kind, name in left:
        say(f"not there before: {kind} {name} {region}".rstrip())
    if left:
        down = f"provision down --topology {proof.topology} --name {proof.name}"
        say(f"something is left, or somebody else made it meanwhile; to remove what is the deployment's: {down}")
    else:
        say("nothing is left: every kind of resource in every region of it stands as it stood before")
    if proof.failed:
        say(f"failed: {', '.join(proof.failed)}")
    return 1 if left or proof.failed else 0


def measurement(proof: Proof) -> list[str]:
    """A minute's race on the hosts, as anybody would run it."""
    on = ["--deployment", proof.name, "--topology", proof.topology, "--identity", str(proof.folder / "key")]
    verb = ["run", "--duration", "60s", "--no-compare", "--output", str(proof.folder / "measurement")]
    return [sys.executable, "-m", "experiments.main", *verb, *on]


def main(arguments: Sequence[str], measure: Callable[[Proof], Sequence[str]] = measurement) -> int:
    """Say what it may cost, and run if that may be spent; the exit code."""
    options = _options(arguments)
    name, cap = cheapest()
    say("\n".join(cap.lines(name)))
    if options.spend_usd is None:
        say(f"nothing was done. To spend that much on your account: make aws-proof SPEND_USD={cap.total:.2f}")
        return 2
    if options.spend_usd < cap.total:
        say(f"nothing was done: {options.spend_usd:.2f} USD is less than it may cost")
        return 2
    folder = Path(options.output or tempfile.mkdtemp(prefix="aws-proof-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        cloud = Cloud.connect(None)
        proof = Proof(folder, name, cloud, options.ssh_from or own_address(), options.bundle)
        say(f"account {proof.account}, deployment {proof.name}, everything goes into {folder}")
        before = proof.look()
    except (LatencyError, OSError) as error:
        say(f"error: {error}; nothing was built")
        return 6
    try:
        proof.build_and_measure(measure(proof))
    finally:
        proof.remove()
        (folder / "key").unlink()
    return conclude(proof, before, proof.look())


def _dollars(text: str) -> float:
    """Read an amount; of NaN nothing is too much."""
    amount = float(text)
    if not 0 <= amount < float("inf"):
        raise ValueError(f"{text} is no amount")
    return amount


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make aws-proof", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spend-usd", type=_dollars, help="what may be spent; without it nothing is done")
    parser.add_argument("--output", metavar="FOLDER", help="for the recording and the measurement")
    parser.add_argument(
        "--ssh-from", metavar="ADDRESS", help=f"where the measurement logs in from; asked of {OWN_ADDRESS}"
    )
    parser.add_argument(
        "--bundle", default="", metavar="FILE", help="software bundle; built from the checkout by default"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
