"""A real OpenSSH server on loopback, with keys of its own, that stands for other hosts."""

import contextlib
import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import until
from tests.programs import free_port
from tests.tools import required

__all__ = ["Sshd", "sshd"]


@dataclass(frozen=True)
class Sshd:
    """A server that runs.

    Attributes:
        folder: with its files.
        config: an ssh configuration by which every host name leads to it.
        known_hosts: its host key.
    """

    folder: Path
    config: Path
    known_hosts: Path


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Run a server for the length of a block; whoever runs the test may log in, with a key made for it."""
    folder.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nLogLevel ERROR\n"
    )
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    config = folder / "ssh_config"
    config.write_text(
        f"Host *\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
    )
    if os.getuid() == 0:
        # Compiled into Debian's sshd; the unit of the package makes it at boot.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    program = required("sshd")
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log) as process,
    ):
        try:
            probe = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "anyhost", "true"]
            until(lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0, "sshd answers")
            yield Sshd(folder, config, known_hosts)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
