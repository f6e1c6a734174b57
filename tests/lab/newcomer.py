"""A machine of somebody who has just cloned the project: minimal Debian, and what the README assumes."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab.base import APT, cached, debian
from tests.lab.paths import CHECKOUT

__all__ = ["obey"]

PACKAGES = ("python3", "python3-venv", "make")
HOME = "home/newcomer"
_RUN = """
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/changes,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount --rbind /sys "$1/root/sys"
cp -rT "$3" "$1/root"
printf '127.0.0.1 localhost\\n::1 localhost\\n' > "$1/root/etc/hosts"
chown -R "$4" "$1/root/home/newcomer"
exec chroot --userspec="$4" "$1/root" sh -ec "cd ~/checkout; $5"
"""
"""In a mount and pid namespace of its own, so that nothing runs or is mounted after it, whatever happens. On a disk, as
a machine's own files are: what is written to a tmpfs stays in memory. What localhost is, Debian's installer writes and
no package."""


def obey(scratch: Path, suite: str, *commands: str, root: bool) -> str:
    """Run commands one after the other in a copy of this checkout on a new machine.

    Args:
        scratch: an empty folder.
        suite: the name of Debian's release.
        commands: of a shell.
        root: as whom.

    Returns:
        All that they wrote.

    Raises:
        AssertionError: one of them failed; it says what all of them wrote.
    """
    tree = cached("newcomer", [suite, PACKAGES, APT], lambda made: debian(made, PACKAGES, suite=suite))
    brought, machine = scratch / "brought", scratch / "machine"
    settings = package_index()
    for value in (*settings.values(), "/etc/resolv.conf"):
        bring(value, brought)
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        target = brought / HOME / "checkout" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, target, follow_symlinks=False)
    for part in ("changes", "work", "root"):
        (machine / part).mkdir(parents=True)
    try:
        return _obeyed(machine, tree, brought, commands, suite, settings, "0:0" if root else "1000:1000")
    finally:
        # A gigabyte, that pytest would keep. Never what was mounted on: there nothing is of ours.
        shutil.rmtree(machine / "changes")
        shutil.rmtree(machine / "work")


def _obeyed(
    machine: Path, tree: Path, brought: Path, commands: tuple[str, ...], suite: str, settings: dict[str, str], user: str
) -> str:
    ran = subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _RUN, "sh"),
            *(str(machine), str(tree), str(brought), user, "; ".join(commands)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**settings, "HOME": f"/{HOME}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    )
    assert ran.returncode == 0, f"exit code {ran.returncode} of {shlex.join(commands)} on {suite}:\n{ran.stdout}"
    return ran.stdout


def package_index() -> dict[str, str]:
    """Return this machine's way to a package index as environment variables: pip's settings, and proxies."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = {}
    for line in listed.splitlines():
        name, _sign, value = line.partition("=")
        settings["PIP_" + name.rpartition(".")[2].upper().replace("-", "_")] = value.strip("'\"")
    return proxies | settings


def bring(place: str, brought: Path) -> None:
    """Take a file or a folder of this machine along, to where it is; anything else is none of ours."""
    if not place.startswith("/") or not (source := Path(place)).exists():
        return
    target = brought / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)
