"""The tree that cloud hosts boot from: what Debian's own EC2 image has, so that what it lacks is missed here too.

The packages are those of the image's recipe (salsa.debian.org/cloud-team/debian-cloud-images, config_space/12: classes
SYSTEM_BOOT, CLOUD, EC2, EXTRAS, TIME_SYSTEMD), without those that neither boot nor network need. Above all there is
no nft, no wg, no chrony and no pip.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from tests.lab.base import APT, SUITE, base_tree
from tests.lab.paths import CACHE

__all__ = ["cloud_tree", "wireguard_layer"]

PACKAGES = (
    *("systemd", "systemd-sysv", "libpam-systemd", "dbus", "udev", "kmod", "zstd", "init", "netbase", "procps"),
    *("systemd-resolved", "systemd-timesyncd", "libnss-myhostname", "netplan.io", "iproute2", "iptables"),
    *("iputils-ping", "openssh-server", "cloud-init", "ca-certificates", "curl", "ethtool", "tcpdump", "sudo"),
    *("linux-image-cloud-amd64", "initramfs-tools"),
)
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("getty@tty1.service", "console-getty.service"),
)
"""Units that a test has no use for, and that take time on an emulated processor."""

FILES = {
    "etc/cloud/cloud.cfg.d/90_datasource.cfg": "datasource_list: [ Ec2, None ]\n",
    "etc/cloud/cloud.cfg.d/91_lab.cfg": "apt_preserve_sources_list: true\ndisable_ec2_metadata: false\n",
    "etc/systemd/timesyncd.conf.d/01_debian_cloud.conf": "[Time]\nFallbackNTP=169.254.169.123 fd00:ec2::123\n",
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 0\n",
    "etc/machine-id": "uninitialized\n",
}
"""The image's own configuration files, and the disk that a machine of the lab has."""

REMOVED = ("etc/hostname", "var/lib/dbus/machine-id")
ENABLED = ("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service", "ssh.service")


def cloud_tree() -> Path:
    """Return the tree, making it at first use (a minute; needs a Debian mirror)."""
    recipe = json.dumps([SUITE, PACKAGES, MASKED, FILES, REMOVED, ENABLED, APT])
    tree = CACHE / f"cloud-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with _alone():
        if not tree.exists():
            _make(tree)
    return tree


def wireguard_layer() -> Path:
    """Return a layer with the user-space WireGuard, which plays the part of the kernel's own, lacking here.

    It is the base tree's, of the same suite: a layer that has nothing else, so that the image's lacks stay.
    """
    base = base_tree()
    layer = CACHE / f"wireguard-{base.name}"
    with _alone():
        if not layer.exists():
            partial = layer.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "opt/lab/usr/bin").mkdir(parents=True)
            for name in ("wireguard-go", "wg"):
                shutil.copy2(base / "usr/bin" / name, partial / "opt/lab/usr/bin" / name)
            partial.rename(layer)
    return layer


class _alone:  # noqa: N801  # used like a function
    """Keep a second run from making the same."""

    def __enter__(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self._lock = (CACHE / "cloud.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _make(tree: Path) -> None:
    partial = tree.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *(f"--aptopt={option}" for option in APT),
            *(SUITE, str(partial)),
        ],
        check=True,
    )
    for name in REMOVED:
        (partial / name).unlink(missing_ok=True)
    for name, text in FILES.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text(text)
    # As the image's script 20-enable-systemd-resolved does: the list of all interfaces' servers, not the stub.
    (partial / "etc/resolv.conf").unlink(missing_ok=True)
    (partial / "etc/resolv.conf").symlink_to("/run/systemd/resolve/resolv.conf")
    for unit in MASKED:
        link = partial / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    subprocess.run(["systemctl", f"--root={partial}", "--quiet", "enable", *ENABLED], check=True)
    for key in (partial / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (partial / "var/log/journal").mkdir(exist_ok=True)
    partial.rename(tree)
