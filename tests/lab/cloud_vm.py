"""Virtual machines: Debian's stock kernel, and its real cloud-init, which knows EC2 by what the firmware says.

No KVM: qemu translates, and a machine takes a minute to its user data. The disk
outlives a machine's restart, the memory does not.
"""

import contextlib
import gzip
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.lab.cloud_image import cloud_tree
from tests.lab.cloud_network import Instance, Vpc
from tests.lab.deadline import wait_until
from tests.lab.inventory import Inventory

__all__ = ["VirtualMachine", "make_disk", "make_initrd"]

DISK_MEGABYTES = 1400
DRIVERS = ("virtio_pci", "virtio_blk")
INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
for module in /modules/*.ko; do busybox insmod $module; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 500 ]; do busybox usleep 20000; tries=$((tries + 1)); done
busybox mount -t ext4 -o rw,noatime /dev/vda /mnt
busybox umount /proc
busybox mount -o move /dev /mnt/dev
exec busybox switch_root /mnt /sbin/init
"""
KERNEL_OPTIONS = (
    "console=ttyS0 root=/dev/vda rw net.ifnames=0 quiet systemd.show_status=0 mitigations=off random.trust_cpu=on "
    "tsc=reliable no_timer_check"
)
MEMORY_MEGABYTES = 640
CLOUD_CONFIG = """system_info:
  default_user:
    name: admin
    lock_passwd: True
    gecos: Debian
    groups: [adm, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
"""
"""The EC2 image's own default user."""


def make_disk(place: Path, authority: str) -> Path:
    """Return an ext4 file system of the cloud tree that trusts an authority."""
    root, changes, work = (place / name for name in ("root", "changes", "work"))
    for directory in (root, changes, work):
        directory.mkdir(parents=True)
    options = f"lowerdir={cloud_tree()},upperdir={changes},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    try:
        with (root / "etc/ssl/certs/ca-certificates.crt").open("a") as trusted:
            trusted.write(authority)
        (root / "etc/cloud/cloud.cfg.d/01_debian_cloud.cfg").write_text(CLOUD_CONFIG)
        (root / "etc/apt/sources.list").write_text("")
        disk = place / "disk.img"
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", str(root), str(disk), f"{DISK_MEGABYTES}M"],
            check=True,
        )
    finally:
        subprocess.run(["umount", str(root)], check=True)
    return disk


def make_initrd(place: Path) -> Path:
    """Return an initial RAM disk that loads the disk's driver and hands over: the stock one takes longer to unpack."""
    tree = place / "initrd"
    for name in ("bin", "dev", "proc", "mnt", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for number, module in enumerate(_in_loading_order()):
        shutil.copy(module, tree / "modules" / f"{number}-{module.name}")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    command = ["busybox", "cpio", "-o", "-H", "newc"]
    packed = subprocess.run(command, input=names.encode(), cwd=tree, capture_output=True, check=True)
    archive = place / "initrd.gz"
    archive.write_bytes(gzip.compress(packed.stdout))
    return archive


def _in_loading_order() -> list[Path]:
    """The drivers with all that they need before them; modules.dep(5) lists what is needed first last."""
    (directory,) = (cloud_tree() / "lib/modules").iterdir()
    order: list[str] = []
    for line in (directory / "modules.dep").read_text().splitlines():
        module, _colon, needs = line.partition(":")
        if Path(module).name.split(".")[0] in DRIVERS:
            order += [*reversed(needs.split()), module]
    return [directory / name for name in dict.fromkeys(order)]


class VirtualMachine:
    """A machine with an instance's firmware, address and disk.

    Args:
        inventory: where its process is written down.
        place: a directory of its own.
        disk: what its own disk starts as.
        initrd: see :func:`make_initrd`.
        vpc: where it stands.
        instance: whom it plays.
        port: the name of its tap device, new at every boot.
    """

    def __init__(
        self, inventory: Inventory, place: Path, disk: Path, initrd: Path, vpc: Vpc, instance: Instance, port: str
    ) -> None:
        place.mkdir(parents=True)
        self._inventory, self._initrd, self._vpc, self._instance, self._port = inventory, initrd, vpc, instance, port
        self._disk = place / "disk.img"
        subprocess.run(["cp", "--sparse=always", str(disk), str(self._disk)], check=True)
        self.console = place / "console.log"
        self.said_before = 0
        self._process: subprocess.Popen[bytes] | None = None
        router = vpc.site.router
        router.ip("tuntap", "add", "dev", port, "mode", "tap")
        router.ip("link", "set", port, "mtu", "9001", "master", "lan", "up")

    @property
    def running(self) -> bool:
        """Whether its processor runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Switch it on."""
        kernel = next((cloud_tree() / "boot").glob("vmlinuz-*"))
        instance = self._instance
        uuid = f"ec2{instance.id.removeprefix('i-')[:5]}-0000-4000-8000-{instance.id.removeprefix('i-')[-12:]}"
        command = [
            *("ip", "netns", "exec", self._vpc.site.router.name, "qemu-system-x86_64", "-M", "q35"),
            *("-accel", "tcg,thread=multi,tb-size=256", "-m", str(MEMORY_MEGABYTES), "-smp", "1", "-nographic"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio", "-monitor", "none"),
            *("-kernel", str(kernel), "-initrd", str(self._initrd), "-append", KERNEL_OPTIONS),
            # What makes cloud-init and systemd/install believe that this is EC2 (EC2 guide, "Detect ... an instance").
            *("-smbios", "type=0,vendor=Amazon EC2"),
            *("-smbios", f"type=1,manufacturer=Amazon EC2,product=t3.small,serial={uuid},uuid={uuid}"),
            *("-drive", f"file={self._disk},format=raw,if=none,id=d0,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=d0", "-device", "virtio-rng-pci"),
            *("-netdev", f"tap,id=n0,ifname={self._port},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={instance.mac},host_mtu=9001,romfile="),
        ]
        with self.console.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._inventory.add_process(self._process.pid)

    def wait_off(self, seconds: float) -> None:
        """Wait until it switched itself off, as ``reboot`` does here."""
        assert self._process is not None
        self._process.wait(timeout=seconds)

    def wait_for_words(self, words: str, *, since: int = 0, seconds: float = 300) -> float:
        """Wait until words are on its console after a number of bytes; returns how long that took.

        Raises:
            TimeoutError: with the console's end.
        """
        begin = time.monotonic()

        def said() -> bool:
            assert self.running, f"switched off:\n{self.console.read_bytes()[-3000:].decode(errors='replace')}"
            return words.encode() in self.console.read_bytes()[since:]

        try:
            wait_until(f"{self._instance.key}: {words!r}", said, seconds, every=0.5)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.console.read_bytes()[-3000:].decode(errors='replace')}") from None
        return time.monotonic() - begin

    def cut_power(self) -> None:
        """End it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, 9)
            self._process.wait()
