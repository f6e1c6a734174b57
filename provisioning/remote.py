"""Logging in to hosts: the right jump, host keys known beforehand, and new software by it."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from provisioning.console import host_report
from provisioning.errors import DeployError, ProvisionError
from provisioning.images import login_user
from provisioning.model import View
from provisioning.topology import Host, Topology

__all__ = ["Remote", "choose", "ssh_config"]

_ORDER = ("monitor", "nat", "proxy", "receiver", "probe", "forwarder")
"""Receivers take a new version first: they understand the older forwarder's link, not always the other way round."""


def choose(topology: Topology, role_or_host: str) -> Host:
    """The host of that name, or the only one of that role.

    Raises:
        ProvisionError: none, or several of that role.
    """
    named = [host for host in topology.host if host.name == role_or_host]
    found = named or [host for host in topology.host if host.role == role_or_host]
    if len(found) != 1:
        names = ", ".join(host.name for host in topology.host)
        why = "no such host or role" if not found else "several hosts of that role"
        raise ProvisionError(f"{role_or_host}: {why}; name one of {names}")
    return found[0]


def ssh_config(view: View, topology: Topology, known_hosts: Path, identity: str = "") -> str:
    """An ssh configuration for all hosts, and their keys in ``known_hosts``.

    Host keys come from each host's own console through the AWS API, so the first connection is as safe as the
    hundredth. A private host is reached by way of the host that it leaves by.

    Raises:
        ProvisionError: no access was asked for, a host does not stand, or told no key yet.
    """
    # First of all: who mistook the name shall not read of keys.
    for host in topology.host:
        if f"host/{host.name}" not in view.found:
            name = view.deployment.name
            raise ProvisionError(f"host/{host.name}: does not stand in deployment {name}; run `provision up` first")
    let_in = topology.access.ssh_from or any(found.kind == "key-pair" for found in view.surplus)
    if not let_in:
        raise ProvisionError("ssh: no access was asked for; run up with --ssh-from ADDRESS/32 --ssh-key FILE.pub first")
    blocks, keys = [], []
    for host in topology.host:
        found = view.found[f"host/{host.name}"]
        alias = f"latency-{view.deployment.name}-{host.name}"
        told = host_report(view, found).host_keys
        if not told:
            raise ProvisionError(
                f"host/{host.name}: {found.id} told no SSH host key on its console yet; wait a minute and retry"
            )
        keys += [f"{alias} {key}" for key in sorted(told)]
        address = found.facts.get("PublicIpAddress") if host.public != "none" else host.address
        if not address:
            raise ProvisionError(f"host/{host.name}: {found.id} has no public address; run `provision up`")
        blocks.append(
            "\n".join(
                [
                    f"Host {host.name}",
                    f"  HostName {address}",
                    f"  User {login_user(host.image)}",
                    f"  HostKeyAlias {alias}",
                    *([f"  ProxyJump {topology.gateways[host.name]}"] if host.name in topology.gateways else []),
                ]
            )
        )
    common = [
        "Host *",
        f'  UserKnownHostsFile "{known_hosts}"',
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  UpdateHostKeys no",
        "  ConnectTimeout 15",
        "  ServerAliveInterval 15",
        *([f'  IdentityFile "{identity}"', "  IdentitiesOnly yes"] if identity else []),
    ]
    known_hosts.write_text("\n".join(keys) + "\n", encoding="utf-8")
    return "\n\n".join([*blocks, "\n".join(common)]) + "\n"


class Remote:
    """The hosts of a deployment, as logged in to."""

    def __init__(self, config: Path) -> None:
        self._config = config

    @classmethod
    @contextmanager
    def connect(cls, view: View, topology: Topology, identity: str = "") -> "Iterator[Remote]":
        """Make the configuration in a directory of our own, and remove it at the end.

        Raises:
            ProvisionError: see :func:`ssh_config`; or there is no ssh on this machine.
        """
        if shutil.which("ssh") is None:
            raise ProvisionError("ssh: not found on this machine; install the OpenSSH client")
        with tempfile.TemporaryDirectory(prefix="provision-") as directory:
            config = Path(directory) / "config"
            text = ssh_config(view, topology, Path(directory) / "known_hosts", identity)
            config.write_text(text, encoding="utf-8")
            yield cls(config)

    def shell(self, host: Host, command: Sequence[str]) -> int:
        """Run a command, or an interactive shell, with this terminal; returns its exit code."""
        tail = [shlex.join(command)] if command else []
        return subprocess.run(["ssh", "-F", str(self._config), host.name, *tail], check=False).returncode  # noqa: S603, S607

    def run(self, host: Host, command: str, content: bytes = b"") -> str:
        """Run a command with the given input and return what it said.

        Raises:
            ProvisionError: it failed.
        """
        done = subprocess.run(  # noqa: S603
            ["ssh", "-F", str(self._config), "-o", "BatchMode=yes", host.name, command],  # noqa: S607
            input=content,
            capture_output=True,
            check=False,
        )
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if done.returncode:
            last = (said.splitlines() or ["no output"])[-1]
            raise ProvisionError(f"host/{host.name}: `{command}` failed with {done.returncode}: {last}")
        return said

    def deploy(self, hosts: Sequence[Host], bundle: bytes, report: Callable[[Host, str], None]) -> None:
        """Install a bundle on each host in turn; when one does not become healthy, all go back to what they had.

        Raises:
            DeployError: a host did not become healthy; says whether every host is back.
        """
        done: list[Host] = []
        for host in sorted(hosts, key=lambda host: (_ORDER.index(host.role), host.name)):
            try:
                self.run(host, "umask 077 && cat > /tmp/latency-bundle.tar.gz", bundle)
                self.run(host, "sudo /usr/local/lib/latency/bootstrap deploy /tmp/latency-bundle.tar.gz")
                self.run(host, "rm /tmp/latency-bundle.tar.gz")
            except ProvisionError as failure:
                problems = self._roll_back(done, report)
                raise DeployError(f"{failure}; {problems or 'the hosts done before it were put back'}") from failure
            done.append(host)
            report(host, "healthy")

    def _roll_back(self, hosts: Sequence[Host], report: Callable[[Host, str], None]) -> str:
        problems = []
        for host in reversed(hosts):
            try:
                self.run(host, "sudo /usr/local/lib/latency/bootstrap rollback")
                report(host, "put back")
            except ProvisionError as error:
                problems.append(f"not put back: {error}")
        return "; ".join(problems)
