"""Commands on other hosts by OpenSSH, and on this one in the same way."""

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from daemons.errors import LatencyError
from experiments.scratch import scratch_folder

__all__ = ["SSH_FAILED", "Done", "HostError", "LocalShell", "Shell", "SshShell", "fetch_folder", "must", "run"]

SSH_FAILED = 255
"""Exit code of ssh(1) itself, as against that of the command."""


class HostError(LatencyError):
    """A host cannot be reached, or a command on it failed.

    Args:
        host: its name.
        why: what happened.
        remedy: what to do.
        unreachable: whether it was the way to the host that failed.
    """

    def __init__(self, host: str, why: str, remedy: str, *, unreachable: bool = False) -> None:
        super().__init__(f"host {host}: {why}; {remedy}")
        self.host = host
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    output: bytes
    complaint: str

    @property
    def last_words(self) -> str:
        """The end of what it said."""
        said = (self.complaint or self.output.decode("utf-8", "replace")).strip().splitlines()
        return " | ".join(said[-3:]) or "nothing"


class Shell(Protocol):
    """Where commands run."""

    name: str

    def line(self, command: Sequence[str]) -> list[str]:
        """Give the command line on this machine that runs a command there."""


class LocalShell:
    """This machine."""

    name = "this machine"

    def line(self, command: Sequence[str]) -> list[str]:
        return list(command)


class SshShell:
    """Another host.

    Args:
        config: OpenSSH configuration file.
        name: of the host in it.
    """

    def __init__(self, config: Path, name: str) -> None:
        self.name = name
        self._options = ["-F", str(config), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]

    def line(self, command: Sequence[str]) -> list[str]:
        return ["ssh", *self._options, self.name, "--", shlex.join(command)]


async def run(shell: Shell, command: Sequence[str], *, content: bytes = b"", timeout_seconds: float = 60.0) -> Done:
    """Run a command to its end.

    Args:
        shell: where.
        command: and its arguments.
        content: its standard input.
        timeout_seconds: after which it is given up.

    Raises:
        HostError: the host cannot be reached, or the command did not end in time.
    """
    line = shell.line(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise HostError(
            shell.name, f"{line[0]} cannot be run: {error.strerror}", "install it", unreachable=True
        ) from error
    try:
        async with asyncio.timeout(timeout_seconds):
            output, complaint = await process.communicate(content)
    except TimeoutError as error:
        why = f"`{shlex.join(command)}` did not end within {timeout_seconds:g} s"
        raise HostError(shell.name, why, "see what it does there, or give it more time") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    done = Done(process.returncode, output, complaint.decode("utf-8", "replace"))
    if line[0] == "ssh" and done.code == SSH_FAILED:
        raise HostError(
            shell.name,
            f"cannot be logged in to: {done.last_words}",
            "check address, key, and known host key",
            unreachable=True,
        )
    return done


async def must(shell: Shell, command: Sequence[str], *, content: bytes = b"", timeout_seconds: float = 60.0) -> bytes:
    """Run a command that has to succeed; returns what it wrote.

    Raises:
        HostError: it did not.
    """
    done = await run(shell, command, content=content, timeout_seconds=timeout_seconds)
    if done.code:
        why = f"`{shlex.join(command)}` ended with {done.code}: {done.last_words}"
        raise HostError(shell.name, why, "log in and try it there")
    return done.output


async def fetch_folder(shell: Shell, remote: str, local: Path, *, prefix: Sequence[str] = ()) -> None:
    """Copy a folder's content here.

    Args:
        shell: where it lies.
        remote: its path there.
        local: where to put it.
        prefix: words before the command there, such as ``sudo -n``.

    Raises:
        HostError: it cannot be read, or what came is no whole archive.
    """
    line = shell.line([*prefix, "tar", "-C", remote, "-czf", "-", "."])
    with tempfile.TemporaryFile(dir=scratch_folder()) as archive, tempfile.TemporaryFile() as complaint:
        process = await asyncio.create_subprocess_exec(
            *line, stdin=subprocess.DEVNULL, stdout=archive, stderr=complaint, start_new_session=True
        )
        code = await process.wait()
        complaint.seek(0)
        archive.seek(0)
        if code:
            said = " | ".join(complaint.read().decode("utf-8", "replace").strip().splitlines()[-3:])
            raise HostError(shell.name, f"{remote} cannot be fetched: {said}", "it is still there: copy it by hand")
        try:
            with tarfile.open(fileobj=archive) as tar:
                _unpack(tar, local)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise HostError(
                shell.name, f"{remote} cannot be unpacked here: {error}", "it is still there: copy it by hand"
            ) from error


def _unpack(tar: tarfile.TarFile, local: Path) -> None:
    """Unpack what another host has packed, of which nothing may come to lie elsewhere.

    Raises:
        TarError: something would, or is neither file nor folder.
    """
    if hasattr(tarfile, "data_filter"):
        tar.extractall(local, filter="data")
        return
    # Python has had filters since 3.11.4, and Debian 12 has 3.11.2: plain files and folders need none.
    for member in tar:
        inside = not PurePosixPath(member.name).is_absolute() and ".." not in PurePosixPath(member.name).parts
        if not (inside and (member.isreg() or member.isdir())):
            raise tarfile.TarError(f"{member.name!r} is no plain file or folder in it")
        member.mode, member.uid, member.gid = 0o755 if member.isdir() else 0o644, os.getuid(), os.getgid()
        member.uname = member.gname = ""
        tar.extract(member, local)
