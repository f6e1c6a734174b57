"""A run on other hosts: the receiver's host measures by itself, as ``experiment run`` there, and we fetch the results.

Where the daemons are units of systemd (:attr:`HostEntry.managed`), the run is a transient unit that conflicts with the
receiver's: systemd stops the receiver and its socket before the run and starts them after it, whatever becomes of us.
Elsewhere the run, and a forwarder beside it, are on a leash (:mod:`experiments.hosts.leash`).
"""

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from rich.console import Console

from daemons.decoding import UNDECODABLE
from daemons.service.console.screen import sentence
from daemons.service.distribution import installed_version
from experiments.errors import InputError
from experiments.hosts.inventory import HostEntry, Inventory
from experiments.hosts.leashed import Leashed, leash, leashed
from experiments.hosts.shell import HostError, Shell, SshShell, fetch_folder, must, run
from experiments.runs.manifest import FILE, Manifest

__all__ = ["RemoteRun", "unit_command"]

UNIT = "latency-experiment"
_SUDO = ("sudo", "-n")
_START_SECONDS = 30.0


class RemoteRun:
    """One run on the hosts of an inventory.

    Args:
        inventory: the hosts.
        receiver: the one that measures.
        arguments: of ``experiment run`` there, without those for configuration and output.
        folder: where the results go on this machine.
        console: for progress.
    """

    def __init__(
        self, inventory: Inventory, receiver: HostEntry, arguments: Sequence[str], folder: Path, console: Console
    ) -> None:
        self._config = Path(inventory.ssh_config)
        self._receiver = receiver
        self._forwarders = [host for host in inventory.host if host.role == "forwarder"]
        self._arguments = list(arguments)
        self._folder = folder
        self._console = console
        self._told = asyncio.Event()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        self._remote = f"{receiver.workspace}/{name}"

    async def run(self) -> tuple[Manifest, int]:
        """Measure, fetch, and clean up there; returns the manifest of the run, and how it ended.

        Raises:
            HostError: a host cannot be reached or does not do what it should; says what is left there.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told.set)
        shell = self._shell(self._receiver)
        for host in (self._receiver, *self._forwarders):
            await self._look(host)
        async with AsyncExitStack() as stack:
            for host in self._forwarders:
                if not host.managed:
                    await self._start_forwarder(stack, host)
            code = await self._measure(shell)
        sudo = _SUDO if self._receiver.managed else ()
        self._say(f"fetching {self._receiver.name}:{self._remote}")
        await fetch_folder(shell, self._remote, self._folder, prefix=sudo)
        manifest = _manifest(self._folder / FILE)
        # Only what has arrived here whole is removed there.
        await must(shell, [*sudo, "rm", "-rf", self._remote])
        return manifest, code

    def _shell(self, host: HostEntry) -> Shell:
        return SshShell(self._config, host.name)

    async def _look(self, host: HostEntry) -> None:
        """See that a host answers, has the software, and is ready."""
        shell = self._shell(host)
        program = f"{host.programs}/latency-{host.role}"
        said = (await must(shell, [program, "--version"])).decode().strip()
        ours = installed_version()
        differs = "" if said.endswith(ours) else f"; this machine has {ours}, so the two may not agree"
        self._say(f"ok   host {host.name}: {said}{differs}")
        if host.managed and host.role == "forwarder":
            state = await run(shell, ["systemctl", "is-active", "latency-forwarder.service"])
            if state.code:
                why = f"latency-forwarder.service is {state.output.decode().strip() or 'not there'}"
                raise HostError(host.name, why, "see `journalctl -u latency-forwarder` there")

    async def _start_forwarder(self, stack: AsyncExitStack, host: HostEntry) -> None:
        command = [f"{host.programs}/latency-forwarder", "--config", host.config_file]
        program = await stack.enter_async_context(leashed(self._shell(host), [*leash(host.programs), *command]))
        if not await program.said('"ready": true', _START_SECONDS):
            words = " | ".join(program.lines[-3:]) or "nothing"
            raise HostError(host.name, f"latency-forwarder does not serve; it said {words}", "mend its configuration")
        self._say(f"ok   host {host.name}: latency-forwarder started for this run")

    async def _measure(self, shell: Shell) -> int:
        host = self._receiver
        command = [
            *(f"{host.programs}/experiment", "run", "--no-compare"),
            *("--config", host.config_file, "--output", self._remote, *self._arguments),
        ]
        if host.managed:
            command = unit_command(command)
        else:
            await must(shell, ["mkdir", "-p", host.workspace])
            command = [*leash(host.programs), *command]
        async with leashed(shell, command) as program:
            code = await self._follow(shell, program)
        if code and not self._told.is_set():
            self._say(f"host {host.name}: the run ended with code {code}")
        return code

    async def _follow(self, shell: Shell, program: Leashed) -> int:
        """Show what the run says until it ends, or end it when told."""
        ended = asyncio.get_running_loop().create_task(program.ended())
        told = asyncio.get_running_loop().create_task(self._told.wait())
        shown = 0
        try:
            while True:
                await asyncio.wait({ended, told}, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                lines = program.lines[shown:]
                shown += len(lines)
                for line in lines:
                    self._say(f"{self._receiver.name}: {line}")
                if ended.done():
                    return ended.result()
                if told.done():
                    self._say("ending the run there: what was measured is kept")
                    if self._receiver.managed:
                        await must(shell, [*_SUDO, "systemctl", "stop", f"{UNIT}.service"], timeout_seconds=120)
                        return await ended
                    return await program.let_go()
        finally:
            for task in (ended, told):
                task.cancel()
            with contextlib.suppress(HostError):
                await asyncio.gather(ended, told, return_exceptions=True)

    def _say(self, text: str) -> None:
        sentence(self._console, text, indent=5)


def unit_command(command: Sequence[str]) -> list[str]:
    """Give the command that runs another as a unit in the place of the receiver's.

    The receiver's unit and socket are stopped first and started again at the end, by systemd itself: also when the run
    fails, is stopped, or nobody is connected any more.
    """
    properties = [
        "User=latency",
        "Group=latency",
        "UMask=0027",
        "StateDirectory=latency/experiments",
        "LoadCredential=link.key:/etc/latency/link.key",
        "Conflicts=latency-receiver.socket latency-receiver.service",
        "After=latency-receiver.socket latency-receiver.service",
        "KillMode=mixed",
        "TimeoutStopSec=60",
        "ExecStopPost=+/bin/systemctl --no-block start latency-receiver.socket latency-receiver.service",
    ]
    options = [word for one in properties for word in ("-p", one)]
    return [*_SUDO, "systemd-run", f"--unit={UNIT}", "--collect", "--quiet", "--pipe", "--wait", *options, *command]


def _manifest(file: Path) -> Manifest:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (OSError, *UNDECODABLE) as error:
        raise InputError(file, None, f"no record of the run: {error}", "see what the run said above") from error
