"""What an administrator, or provision, brings to a host: the checkout's ``systemd`` directory and a wheelhouse."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.lab.paths import CHECKOUT

__all__ = ["INSTALL", "make_bundle"]

PLACE = Path("srv/backbone-latency")
INSTALL = (f"/{PLACE}/systemd/install", "--wheelhouse", f"/{PLACE}/wheelhouse")
"""The command line that installs the bundle on a host that has it as a layer."""

SYSTEM_PYTHON = "/usr/bin/python3"


def make_bundle(layer: Path, version: str = "", extras: tuple[str, ...] = ()) -> Path:
    """Make a bundle of the checkout, as a layer for hosts; needs a package index.

    Args:
        layer: an empty directory, which becomes the layer.
        version: the version it claims to be; the checkout's own by default.
        extras: whose libraries come with it.
    """
    place = layer / PLACE
    sources = layer.with_name(f"{layer.name}-sources")
    hidden = shutil.ignore_patterns(".*", "dist", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(CHECKOUT, sources, ignore=hidden, symlinks=True)
    if version:
        project = sources / "pyproject.toml"
        text, changed = re.subn(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text())
        assert changed == 1
        project.write_text(text)
    # The interpreter is the one that the hosts have, which decides the binary wheels.
    command = [SYSTEM_PYTHON, str(sources / "systemd/wheelhouse"), "--output", str(place / "wheelhouse")]
    command += [word for extra in extras for word in ("--extra", extra)]
    subprocess.run(command, check=True)
    shutil.copytree(sources / "systemd", place / "systemd", symlinks=True)
    return layer
