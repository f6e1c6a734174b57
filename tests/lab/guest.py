"""A machine with a kernel of its own, and so with a clock that can be set: User Mode Linux, for what containers share.

It boots in two seconds from the same trees as hosts (hostfs), needs no virtualisation, and stamps packets as any Linux
does. A shell takes the place of systemd; nothing but the network joins it to hosts.
"""

import itertools
import os
import select
import subprocess
import time

from tests.lab.inventory import Inventory
from tests.lab.machine import Machine
from tests.lab.namespace import Namespace
from tests.processes import DEADLINE_SECONDS

__all__ = ["Guest"]

MEMORY = "384M"
BOOT_SECONDS = DEADLINE_SECONDS
SCRIPT, OUTPUT = "/srv/lab-script", "/srv/lab-output"
INIT = "/srv/lab-init"
INIT_SCRIPT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
ip link set lo up
ip addr add {address} dev vec0
ip link set vec0 up
ip route add default via {gateway}
stty -echo
echo '## ready'
while read -r number; do
  sh -eu {script} > {output} 2>&1 < /dev/null
  echo "## $number $?"
done
"""


STEP = """
import ctypes
timex = (ctypes.c_long * 26)()
timex[0], timex[9] = 0x0100, {seconds}
if ctypes.CDLL(None).adjtimex(timex) < 0:
    raise SystemExit("the clock was not stepped")
"""
"""ADJ_SETOFFSET (adjtimex(2)): the kernel adds, so that nothing is lost between reading and setting."""


class Guest:
    """A User Mode Linux with one interface.

    Args:
        inventory: where it is written down.
        machine: lends its tree; is never booted itself.
        switch: the namespace whose bridge it is joined to.
        bridge: the bridge's name.
        address: its own, with the prefix length.
        gateway: its default route.
    """

    def __init__(
        self, inventory: Inventory, machine: Machine, switch: Namespace, bridge: str, address: str, gateway: str
    ) -> None:
        self.root = machine.root
        self._numbers = itertools.count(1)
        self._said = b""
        port = f"tap-{machine.name}"
        switch.ip("tuntap", "add", port, "mode", "tap")
        switch.ip("link", "set", port, "master", bridge, "up")
        init = self.root / INIT.lstrip("/")
        init.write_text(INIT_SCRIPT.format(address=address, gateway=gateway, script=SCRIPT, output=OUTPUT))
        init.chmod(0o755)
        command = [
            # Its kernel runs each of its programs in a process of ours: in a namespace of their own, all end with it.
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("ip", "netns", "exec", switch.name, "linux.uml", f"mem={MEMORY}", "quiet", "panic=-1", f"init={INIT}"),
            *("rootfstype=hostfs", f"rootflags={self.root}", "rw", "con=null", "con0=fd:0,fd:1"),
            *(f"vec0:transport=tap,ifname={port},depth=128", f"umid={inventory.directory.name}-{machine.name}"),
            f"uml_dir={inventory.directory}",
        ]
        # A session of its own, for a kernel that panics signals its whole process group.
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        inventory.add_process(self._process.pid)
        self._wait_for(b"## ready", BOOT_SECONDS)

    def shell(self, script: str, *, seconds: float = DEADLINE_SECONDS) -> str:
        """Run a shell script as root of the guest, and return what it wrote.

        Raises:
            AssertionError: it failed; the message holds all it said.
        """
        number = next(self._numbers)
        (self.root / SCRIPT.lstrip("/")).write_text(script)
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % number)
        self._process.stdin.flush()
        code = int(self._wait_for(b"## %d " % number, seconds))
        output = (self.root / OUTPUT.lstrip("/")).read_text()
        assert code == 0, f"{script}: exit code {code}\n{output}"
        return output

    def take_time(self, server: str) -> None:
        """Set the guest's wall clock to a server's: a kernel that boots on a busy machine can be off by 100 ms."""
        self.shell(f"chronyd -q 'server {server} iburst'")

    def step_clock(self, seconds: int, before: str = "", after: str = "") -> None:
        """Step the guest's wall clock by exactly so much, forward or back.

        Args:
            seconds: how much.
            before: what the shell does right before.
            after: what it does right after.
        """
        self.shell(f"{before}\npython3 -c '{STEP.format(seconds=seconds)}'\n{after}")

    def close(self) -> None:
        """Cut the power."""
        self._process.kill()
        self._process.communicate()

    def _wait_for(self, word: bytes, seconds: float) -> bytes:
        """Read the console until a line starts with a word; return the rest of that line."""
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        while True:
            *lines, rest = self._said.split(b"\n")
            for line in lines:
                if line.startswith(word):
                    self._said = rest
                    return line.removeprefix(word).strip()
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                raise TimeoutError(f"the guest did not say {word!r} within {seconds:g} s, but:\n{self._said.decode()}")
            self._said += chunk
