"""The tree that cloud hosts boot from: what Debian's own EC2 image has, so that what it lacks is missed here too.

The packages are those of the image's recipe (salsa.debian.org/cloud-team/debian-cloud-images, config_space/12: classes
SYSTEM_BOOT, CLOUD, EC2, EXTRAS, TIME_SYSTEMD), without those that neither boot nor network need. Above all there is
no nft, no wg, no chrony and no pip.
"""

import shutil
import subprocess
from pathlib import Path

from tests.lab.base import APT, REMOVED, SUITE, base_tree, cached, debian

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

ENABLED = ("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service", "ssh.service")


def cloud_tree() -> Path:
    """Return the tree, making it at first use (a minute; needs a Debian mirror)."""
    return cached("cloud", [SUITE, PACKAGES, MASKED, FILES, REMOVED, ENABLED, APT], _make)


def wireguard_layer() -> Path:
    """Return a layer with the user-space WireGuard, which plays the part of the kernel's own, lacking here.

    It is the base tree's, of the same suite: a layer that has nothing else, so that the image's lacks stay.
    """
    base = base_tree()

    def make(layer: Path) -> None:
        place = layer / "opt/lab/usr/bin"
        place.mkdir(parents=True)
        for name in ("wireguard-go", "wg"):
            shutil.copy2(base / "usr/bin" / name, place / name)

    return cached("wireguard", base.name, make)


def _make(tree: Path) -> None:
    debian(tree, PACKAGES, MASKED)
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    # As the image's script 20-enable-systemd-resolved does: the list of all interfaces' servers, not the stub.
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").symlink_to("/run/systemd/resolve/resolv.conf")
    subprocess.run(["systemctl", f"--root={tree}", "--quiet", "enable", *ENABLED], check=True)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
