"""The tree that every host boots from: stock Debian 12 with what a cloud image has, made once and cached.

The cache key is a hash of the recipe, so a changed recipe makes a new tree beside the old one. The tree has no
``python3-venv``: Debian's cloud images have none either, and the install script must do without.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.lab.paths import CACHE

__all__ = ["APT", "base_tree", "cached", "debian"]

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "python3", "ca-certificates", "procps", "chrony", "curl", "openssl"),
    *("iproute2", "nftables", "wireguard-tools", "wireguard-go", "ethtool", "iputils-ping", "tcpdump", "mtr-tiny"),
    *("prometheus", "prometheus-alertmanager"),
)
MASKED = (
    *("getty.target", "console-getty.service", "systemd-logind.service", "systemd-networkd.service"),
    *("systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer"),
)
"""Units that slow the boot, touch the network from the outside, or need hardware that a host has not."""

DISABLED = ("prometheus.service", "prometheus-alertmanager.service", "chrony.service")
"""Units that a test enables on the host that needs them."""

EMPTIED = ("etc/machine-id", "etc/resolv.conf")
REMOVED = ("etc/hostname", "var/lib/dbus/machine-id")
"""What makes a tree one particular machine; /etc/hostname would even beat ``--hostname``."""

APT = ('Acquire::Check-Valid-Until "false"', 'APT::Install-Recommends "false"')
"""A mirror that is a snapshot in time carries release files that have expired."""


def base_tree() -> Path:
    """Return the base tree, making it at first use (half a minute; needs a Debian mirror).

    Raises:
        subprocess.CalledProcessError: mmdebstrap failed; its last words are on standard error.
    """
    return cached("base", [SUITE, PACKAGES, MASKED, DISABLED, EMPTIED, REMOVED, APT], _make)


def cached(kind: str, recipe: object, make: Callable[[Path], None]) -> Path:
    """Return a directory of the cache, named by its recipe: made at first use, by one run alone, and whole."""
    tree = CACHE / f"{kind}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            partial = tree.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(tree)
    return tree


def debian(tree: Path, packages: Iterable[str], masked: Iterable[str] = (), suite: str = SUITE) -> None:
    """Make a tree of packages that is no particular machine yet, with units masked."""
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"),
            *(f"--aptopt={option}" for option in APT),
            *(suite, str(tree)),
        ],
        check=True,
    )
    for name in REMOVED:
        (tree / name).unlink(missing_ok=True)
    for unit in masked:
        link = tree / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (tree / "var/log/journal").mkdir(exist_ok=True)


def _make(tree: Path) -> None:
    debian(tree, PACKAGES, MASKED)
    for name in EMPTIED:
        (tree / name).unlink(missing_ok=True)
        (tree / name).touch()
    subprocess.run(["systemctl", f"--root={tree}", "--quiet", "disable", *DISABLED], check=True)
