"""Packages of the distribution for hosts that have no mirror: a layer with a repository of their own in a folder."""

import hashlib
import subprocess
from pathlib import Path

from tests.lab.base import APT, SUITE, cached

__all__ = ["packages_layer"]

_PLACE = "opt/lab/apt"
_FETCH = (
    'chroot "$1" apt-get --quiet --yes --download-only --no-install-recommends install {names}'
    ' && cp "$1"/var/cache/apt/archives/*.deb {to}/'
)


def packages_layer(*names: str) -> Path:
    """Return a layer by which `apt-get install` finds these packages, with whatever a small system lacks for them.

    They are fetched from the mirror that the trees are made from, at first use (half a minute).
    """

    def make(layer: Path) -> None:
        place = layer / _PLACE
        place.mkdir(parents=True)
        fetch = _FETCH.format(names=" ".join(names), to=place)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--customize-hook={fetch}", "--format=null"]
        subprocess.run([*command, *(f"--aptopt={option}" for option in APT), SUITE, "/dev/null"], check=True)
        (place / "Packages").write_text("\n".join(map(_entry, sorted(place.glob("*.deb")))))
        sources = layer / "etc/apt/sources.list"
        sources.parent.mkdir(parents=True)
        sources.write_text(f"deb [trusted=yes] file:/{_PLACE} ./\n")

    return cached("packages", [SUITE, APT, _FETCH, names], make)


def _entry(package: Path) -> str:
    """Describe a package as an index does (deb-control(5), and the Debian repository format)."""
    content = package.read_bytes()
    control = subprocess.run(["dpkg-deb", "--field", str(package)], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(content).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n"
