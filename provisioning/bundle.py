"""The software bundle: a wheelhouse with the project's own wheel, ``systemd/`` and ``prometheus/``, in one archive.

Hosts install from it without a package index, so a host needs no way to one, and installs tomorrow what was tested
today. ``systemd/wheelhouse`` makes the wheelhouse and refuses wheels that are not pinned.
"""

import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from daemons.service.shipped import shipped
from provisioning.errors import ProvisionError
from provisioning.ownwheel import own_wheel

__all__ = ["archive", "build"]

_PLATFORM = "manylinux_2_28_x86_64"
"""What glibc 2.28 and newer accept, so all our images do, and all our dependencies publish."""


def build(checkout: Path | None, pythons: Sequence[str], extras: Sequence[str] = ()) -> bytes:
    """Make the bundle for hosts of these Python versions.

    Args:
        checkout: of the project; None to make it of the installation that runs.
        pythons: such as ``3.11``.
        extras: of the project, that hosts need.

    Raises:
        ProvisionError: it is not a checkout, the installation was changed, or the wheelhouse cannot be made.
    """
    root = checkout or shipped("systemd").parent
    systemd = root / "systemd"
    if not (systemd / "install").exists() or not (systemd / "wheelhouse").exists():
        raise ProvisionError(f"{root}: not a checkout of the project; run provision from one, or give --bundle FILE")
    with tempfile.TemporaryDirectory(prefix="provision-") as scratch:
        wheels = Path(scratch) / "wheelhouse"
        command = [sys.executable, str(systemd / "wheelhouse"), "--output", str(wheels)]
        command += ["--platform", _PLATFORM]
        if checkout is None:
            name, content = own_wheel()
            own = Path(scratch) / name
            own.write_bytes(content)
            command += ["--wheel", str(own)]
        command += [word for version in pythons for word in ("--python", version)]
        command += [word for extra in extras for word in ("--extra", extra)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own program
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise ProvisionError(f"bundle: {last.removeprefix('error: ')}; correct it, or give --bundle FILE")
        files = {f"wheelhouse/{file.name}": file for file in wheels.iterdir()}
        files |= {
            str(file.relative_to(root)): file
            for directory in ("systemd", "prometheus")
            for file in (root / directory).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }
        return archive(files)


def archive(files: dict[str, Path]) -> bytes:
    """Pack files so that the same files make the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            content = files[name].read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o755 if files[name].stat().st_mode & 0o100 else 0o644
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)
