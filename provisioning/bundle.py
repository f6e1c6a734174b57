"""The software bundle: the project's wheel, the pinned wheels it needs, and ``systemd/``, in one archive.

Hosts install from it without a package index, so a host needs no way to one, and installs tomorrow what was tested
today.
"""

import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from provisioning.errors import ProvisionError

__all__ = ["archive", "build", "checked", "pins"]

_PYTHON = "3.11"
"""Debian 12's interpreter."""
_PLATFORMS = ("manylinux_2_36_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""What its glibc 2.36 accepts."""


def build(checkout: Path) -> bytes:
    """Make the bundle from a checkout of the project.

    Raises:
        ProvisionError: it is not a checkout, or pip fails, or a wheel is not the one that was pinned.
    """
    if not (checkout / "systemd" / "install").exists() or not (checkout / "constraints.txt").exists():
        raise ProvisionError(
            f"{checkout}: not a checkout of the project; run provision from one, or give --bundle FILE"
        )
    versions, hashes = pins((checkout / "constraints.txt").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Path(scratch) / "wheels"
        constraints = Path(scratch) / "versions.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(checkout))
        (own,) = wheels.glob("*.whl")
        platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
        _pip(
            *("download", "--only-binary=:all:", "--python-version", _PYTHON, "--implementation", "cp"),
            *platforms,
            *("--constraint", str(constraints), "--dest", str(wheels), str(own)),
        )
        for wheel in wheels.glob("*.whl"):
            if wheel.name != own.name:
                checked(wheel.name, wheel.read_bytes(), hashes)
        files = {f"wheelhouse/{wheel.name}": wheel for wheel in wheels.glob("*.whl")}
        systemd = checkout / "systemd"
        files |= {
            f"systemd/{path.relative_to(systemd)}": path
            for path in systemd.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        return archive(files)


def pins(constraints: str) -> tuple[dict[str, str], set[str]]:
    """Read a hashed requirements file: version by name, and all hashes that a pinned file may have."""
    versions = dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", constraints, re.MULTILINE))
    return versions, set(re.findall(r"--hash=sha256:([0-9a-f]{64})", constraints))


def checked(name: str, content: bytes, hashes: set[str]) -> None:
    """Refuse a wheel that is not pinned.

    Raises:
        ProvisionError: its digest is not among the hashes.
    """
    if hashlib.sha256(content).hexdigest() not in hashes:
        raise ProvisionError(
            f"{name}: its hash is not in constraints.txt; run `make constraints`, review it and try again"
        )


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


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ProvisionError(f"bundle: pip {arguments[0]}: {last}; see the message, or give --bundle FILE")
