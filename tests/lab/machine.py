"""One booted machine: systemd as PID 1 in a container of its own cgroup and network namespace.

What a machine writes survives a reboot and is visible from outside below :attr:`Machine.root`.
"""

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.lab.deadline import wait_until
from tests.lab.inventory import Inventory
from tests.lab.namespace import Namespace
from tests.processes import DEADLINE_SECONDS

__all__ = ["Machine"]

BOOT_SECONDS = DEADLINE_SECONDS
POWER_OFF_SECONDS = DEADLINE_SECONDS
SIGNAL_POWER_OFF = signal.SIGRTMIN + 4
"""What tells systemd as PID 1 to power off (systemd(1))."""

CAPABILITIES = "CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON"
"""For nft and interfaces, and so that systemd's IPAddressDeny= is enforced instead of silently ignored."""

SYSTEM_CALLS = "bpf adjtimex clock_adjtime"
"""Reading the clock's state without the right to set it; bpf for the same reason as above."""

CGROUP_ROOTS = tuple(
    path for path in map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")) if path.exists()
) or (Path("/sys/fs/cgroup"),)


class Machine:
    """A machine that can be booted, powered off and robbed of its power.

    Args:
        inventory: where everything that it needs is written down.
        name: its host name.
        network: the network namespace it lives in.
        layers: read-only trees below its own, the uppermost first.
    """

    def __init__(self, inventory: Inventory, name: str, network: Namespace, layers: tuple[Path, ...]) -> None:
        self.name = name
        self._inventory = inventory
        self.network = network
        self._directory = inventory.directory / name
        self.root = self._directory / "root"
        self.changes = self._directory / "changes"
        """What the machine has written, as a tree: usable as a layer of other machines once it is off."""
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None
        self._cgroups = tuple(
            top / "backbone-latency-lab" / f"{inventory.directory.name}-{name}" for top in CGROUP_ROOTS
        )
        work = self._directory / "work"
        for directory in (self.root, self.changes, work):
            directory.mkdir(parents=True)
        for cgroup in self._cgroups:
            inventory.add("cgroup", str(cgroup))
        inventory.add("mount", str(self.root))
        lower = ":".join(map(str, layers))
        subprocess.run(
            [
                *("mount", "-t", "overlay", "overlay", str(self.root)),
                *("-o", f"lowerdir={lower},upperdir={self.changes},workdir={work}"),
            ],
            check=True,
        )

    @property
    def running(self) -> bool:
        """Whether the machine is booted."""
        return self._process is not None and self._process.poll() is None

    def boot(self) -> float:
        """Boot, and return after how many seconds multi-user.target was reached.

        Raises:
            TimeoutError: it did not come up; the message holds the console's last words.
        """
        assert not self.running
        self._leader = None
        begin = time.monotonic()
        # A cgroup of its own: machines that shared one would see each other's units (see docs/lab.md).
        for cgroup in self._cgroups:
            cgroup.mkdir(parents=True, exist_ok=True)
        joining = "".join(f"echo $$ > {cgroup}/cgroup.procs; " for cgroup in self._cgroups)
        console = self._directory / "console.log"
        notify = self._directory / "notify.sock"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, console.open("ab") as log:
            channel.bind(str(notify))
            self._process = subprocess.Popen(
                ["/bin/sh", "-ec", joining + 'exec "$@"', "sh", *self._command()],
                env={**os.environ, "NOTIFY_SOCKET": str(notify), "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._inventory.add_process(self._process.pid)
            self._await_ready(channel, console)
        return time.monotonic() - begin

    def power_off(self) -> float:
        """Shut down in order, and return how many seconds that took."""
        assert self._process is not None
        begin = time.monotonic()
        if self.running:
            os.kill(self.leader, SIGNAL_POWER_OFF)
        self._process.wait(timeout=POWER_OFF_SECONDS)
        return time.monotonic() - begin

    def freeze(self) -> Path:
        """Turn a machine that is off into a layer for others, without what makes it this one; it cannot boot again."""
        assert not self.running
        subprocess.run(["umount", str(self.root)], check=True)
        self._inventory.remove("mount", str(self.root))
        for name in ("etc/machine-id", "etc/hosts"):
            (self.changes / name).unlink(missing_ok=True)
        shutil.rmtree(self.changes / "var/log/journal", ignore_errors=True)
        return self.changes

    def cut_power(self) -> None:
        """End everything at once: nothing is flushed, stopped or told."""
        assert self._process is not None
        if self.running and self._leader is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
        self._process.kill()
        self._process.wait(timeout=POWER_OFF_SECONDS)
        for cgroup in self._cgroups:
            wait_until(f"{self.name}: no process left", lambda cgroup=cgroup: _killed(cgroup))  # type: ignore[misc]

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs a command in all the machine's namespaces.

        Such a command has the outer machine's capabilities and no system call filter: for systemctl, journalctl,
        systemd-run and mount alone.
        """
        assert self.running, f"{self.name} is off"
        return ["nsenter", "--target", str(self.leader), "--all", *command]

    @property
    def leader(self) -> int:
        """The container's PID 1, as the outer machine numbers it."""
        assert self._leader is not None, f"{self.name} has no first process yet"
        return self._leader

    def _command(self) -> list[str]:
        return [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--notify-ready=yes", "--link-journal=no"),
            *(f"--machine={self.name}", f"--hostname={self.name}", f"--directory={self.root}"),
            *(f"--network-namespace-path={self.network.path}", "--resolv-conf=off", "--timezone=off"),
            *(f"--capability={CAPABILITIES}", f"--system-call-filter={SYSTEM_CALLS}", "--boot"),
        ]

    def _await_ready(self, channel: socket.socket, console: Path) -> None:
        assert self._process is not None
        channel.settimeout(0.2)
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                message = channel.recv(4096).decode()
            except TimeoutError:
                continue
            for line in message.splitlines():
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self._leader = int(line.partition("=")[2])
                    self._inventory.add_process(self._leader)
                if line == "READY=1":
                    return
        words = console.read_text(errors="replace")[-2000:]
        raise TimeoutError(f"{self.name}: not up after {BOOT_SECONDS:g} s; the console says:\n{words}")


def _killed(cgroup: Path) -> bool:
    """Kill what is still there; whether nothing was. A machine that never came up has told no first process."""
    left: list[int] = []
    for place, _folders, _files in os.walk(cgroup):
        try:
            left += map(int, Path(place, "cgroup.procs").read_text().split())
        except OSError as error:
            # The kernel, or the systemd whose it was, has removed it meanwhile.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left
