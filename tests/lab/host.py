"""What a test does with a booted machine: run commands, drive units, read the journal, break things."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.deadline import wait_until
from tests.lab.machine import Machine
from tests.processes import DEADLINE_SECONDS

__all__ = ["Host"]

FULL = "lab-ballast"


class Host:
    """A booted machine under test.

    Args:
        machine: the machine.
        addresses: its address in each site that it stands in.
    """

    def __init__(self, machine: Machine, addresses: Mapping[str, str]) -> None:
        self.machine = machine
        self.addresses = dict(addresses)
        self.name = machine.name

    @property
    def address(self) -> str:
        """The address in the first site named."""
        return next(iter(self.addresses.values()))

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None, seconds: float = DEADLINE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a service of the host, with the rights that the host's own processes have.

        Args:
            command: the program and its arguments.
            check: raise if it fails.
            stdin: what it reads.
            seconds: how long it may take.

        Raises:
            AssertionError: it failed; the message holds all it said.
        """
        return self._outer(
            "systemd-run", "--quiet", "--wait", "--pipe", *command, check=check, stdin=stdin, seconds=seconds
        )

    def shell(self, script: str, **options: Any) -> str:
        """Run a shell script as :meth:`run` does, and return what it wrote."""
        return self.run("/bin/sh", "-euc", script, **options).stdout

    def systemctl(self, *arguments: str, check: bool = True, seconds: float = DEADLINE_SECONDS) -> str:
        """Run systemctl, and return what it wrote."""
        return self._outer("systemctl", *arguments, check=check, seconds=seconds).stdout

    def property(self, unit: str, name: str) -> str:
        """Return one property of a unit, as ``systemctl show`` has it."""
        return self.systemctl("show", "--property", name, "--value", unit).strip()

    def main_pid(self, unit: str) -> int:
        """Return the main process of a unit, as the host numbers it; 0 when it has none."""
        return int(self.property(unit, "MainPID"))

    def restarts(self, unit: str) -> int:
        """Return how often systemd restarted a unit by itself."""
        return int(self.property(unit, "NRestarts"))

    def wait_for(self, unit: str, state: str = "active", seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until a unit is in a state (``active``, ``inactive``, ``failed``, ``activating``).

        The deadline allows for the longest wait of restart-delay, and for the programs that a unit starts after it.

        Raises:
            TimeoutError: it did not get there; the message ends with the unit's journal.
        """
        try:
            wait_until(f"{self.name}: {unit} {state}", lambda: self.property(unit, "ActiveState") == state, seconds)
        except TimeoutError as error:
            said = "\n".join(str(entry.get("MESSAGE")) for entry in self.journal(unit)[-20:])
            raise TimeoutError(f"{error}\n{said}") from None

    def journal(self, unit: str, *, cursor: str = "") -> list[dict[str, Any]]:
        """Return the journal's entries about a unit, oldest first, also when the host is off.

        Args:
            unit: the unit's full name.
            cursor: only what came after this entry (its ``__CURSOR``).
        """
        if self.machine.running:
            self._outer("journalctl", "--sync")
        arguments = ["--unit", unit, "--output", "json", "--all", "--no-pager", "--quiet"]
        if cursor:
            arguments += ["--after-cursor", cursor]
        directory = self.machine.root / "var/log/journal"
        done = subprocess.run(
            ["journalctl", "--directory", str(directory), *arguments], check=True, capture_output=True, text=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, unit: str) -> list[dict[str, Any]]:
        """Return the structured log lines that a daemon wrote: the journal's messages that are JSON objects."""
        messages = [str(entry.get("MESSAGE", "")) for entry in self.journal(unit)]
        lines = [json.loads(message) for message in messages if message.startswith("{")]
        return [line for line in lines if "event" in line]

    def kill(self, unit: str, signal: str) -> None:
        """Send a signal to a unit's main process."""
        self.systemctl("kill", f"--signal={signal}", "--kill-who=main", unit)

    def fetch(self, url: str) -> str:
        """Get a page with curl from the host itself."""
        return self.run("curl", "--silent", "--show-error", "--fail", "--max-time", f"{DEADLINE_SECONDS:g}", url).stdout

    def follow(self, time_server: str) -> None:
        """Let chrony follow a server, without ever touching the clock (which is the outer machine's).

        The host must be off or chrony not yet started; Debian's unit refuses to start without CAP_SYS_TIME.
        """
        self.write("/etc/default/chrony", 'DAEMON_OPTS="-x"\n')
        self.write("/etc/chrony/chrony.conf", "confdir /etc/chrony/conf.d\ndriftfile /var/lib/chrony/chrony.drift\n")
        self.write("/etc/chrony/conf.d/lab.conf", f"server {time_server} iburst minpoll 0 maxpoll 0\n")
        self.write(
            "/etc/systemd/system/chrony.service.d/lab.conf",
            "[Unit]\nConditionCapability=\n[Service]\nCapabilityBoundingSet=~CAP_SYS_TIME\n",
        )
        self.systemctl("daemon-reload")
        self.systemctl("start", "chrony.service")

    def path(self, path: str) -> Path:
        """Return where a file of the host is seen from outside."""
        return self.machine.root / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file on the host, booted or not."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def mount_small_disk(self, path: str, megabytes: int) -> None:
        """Mount a disk of its own, that can be filled, on a directory; before the unit that uses it is started."""
        self.shell(f"mkdir -p {path}")
        self._outer("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", path)

    def fill(self, path: str) -> None:
        """Write to the disk of a directory until it is full, and make sure that it is."""
        ballast = f"{path}/{FULL}"
        self.shell(f"! cat /dev/zero > {ballast} 2>/dev/null; ! (echo x > {ballast}.more) 2>/dev/null")

    def free(self, path: str) -> None:
        """Take away what :meth:`fill` wrote."""
        self.shell(f"rm -f {path}/{FULL} {path}/{FULL}.more")

    def reboot(self) -> float:
        """Shut down in order, boot again, and return how many seconds the host was away."""
        return self.machine.power_off() + self.machine.boot()

    def crash(self) -> float:
        """Cut the power, boot again, and return how long the boot took."""
        self.machine.cut_power()
        return self.machine.boot()

    def _outer(
        self, *command: str, check: bool = True, stdin: str | None = None, seconds: float = DEADLINE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.machine.inside(*command),
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
        )
        said = f"{self.name}: {' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done
