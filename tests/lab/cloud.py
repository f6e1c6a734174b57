"""A deployment that `provision` made on the emulator, brought to life: networks, names, metadata, booted hosts."""

import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.cloud_emulator import Emulator, metadata_tree, serve_metadata
from tests.lab.cloud_image import cloud_tree, wireguard_layer
from tests.lab.cloud_internet import ADDRESSES, API, API_PORT, EDGES, S3, Internet
from tests.lab.cloud_network import Instance, Network, Vpc
from tests.lab.cloud_vm import VirtualMachine, make_disk, make_initrd
from tests.lab.deadline import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.namespace import Namespace
from tests.lab.paths import CHECKOUT

__all__ = ["Cloud", "CloudHost"]

LAYER = {
    # What netplan renders for an interface that the metadata service lists.
    "etc/systemd/network/10-eth0.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseMTU=true\n",
    # cloud-init does not believe that a container is on EC2: this is its stage that runs user data, once.
    "etc/systemd/system/lab-user-data.service": """[Unit]
Wants=network-online.target
After=network-online.target
ConditionPathExists=!/var/lib/lab-user-data
[Service]
Type=oneshot
ExecStart=/usr/local/lib/lab-user-data
[Install]
WantedBy=multi-user.target
""",
    "usr/local/lib/lab-user-data": """#!/bin/sh
set -eu
imds=http://169.254.169.254/latest
token=$(curl -sS --fail -m 10 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token)
curl -sS --fail -m 10 -H "X-aws-ec2-metadata-token: $token" -o /run/user-data $imds/user-data
chmod 700 /run/user-data
/run/user-data
touch /var/lib/lab-user-data
""",
    # The lab's internet has no Debian mirror.
    "etc/apt/sources.list": "",
    "etc/systemd/system/ssh.service.d/lab.conf": "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\n",
    # The kernel has no WireGuard: a user-space one plays the interface that networkd's .netdev asks for.
    "etc/systemd/system/lab-wireguard.service": """[Unit]
ConditionPathExists=/etc/systemd/network/40-lab.netdev
StartLimitIntervalSec=0
[Service]
RuntimeDirectory=wireguard
ExecStart=/usr/local/lib/lab-wireguard
Restart=always
RestartSec=0.2
[Install]
WantedBy=multi-user.target
""",
    # It takes the stand-in that networkd has made, and never makes one: networkd could not make its own of an interface
    # that is there already, would then take the real .netdev, find a tun where it says wireguard, and leave the link
    # alone for ever. TUNSETIFF makes what is not there (linux/if_tun.h); what networkd has made persists.
    "usr/local/lib/lab-wireguard": """#!/usr/bin/python3
import fcntl, os, pathlib, re, struct, subprocess, sys, time
TUNSETIFF, TUNGETIFF = 0x400454CA, 0x800454D2
IFF_TUN, IFF_PERSIST = 0x0001, 0x0800
REQUEST = struct.Struct("16sH22x")
NETDEV = pathlib.Path("/etc/systemd/network/50-latency-tunnel.netdev")

def attached():
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, TUNSETIFF, REQUEST.pack(b"latency0", IFF_TUN))  # packets as wireguard-go expects them
        if REQUEST.unpack(fcntl.ioctl(device, TUNGETIFF, bytes(REQUEST.size)))[1] & IFF_PERSIST:
            return device
    except OSError as error:
        print(f"latency0: {error}", flush=True)  # busy: networkd is just making it
    os.close(device)
    return None

device = None
while device is None:
    time.sleep(0.1)
    if NETDEV.exists() and os.path.exists("/sys/class/net/latency0"):
        device = attached()
os.set_inheritable(device, True)
os.environ["WG_TUN_FD"] = str(device)
wireguard = subprocess.Popen(["/opt/lab/usr/bin/wireguard-go", "-f", "latency0"], close_fds=False)
os.close(device)
while not pathlib.Path("/run/wireguard/latency0.sock").exists():
    if wireguard.poll() is not None:
        sys.exit("wireguard-go has ended with its interface")
    time.sleep(0.02)
given = dict(re.findall(r"^(\\w+)=(.*)$", NETDEV.read_text(), re.M))
subprocess.run(
    ["/opt/lab/usr/bin/wg", "set", "latency0", "listen-port", given["ListenPort"], "private-key",
     given["PrivateKeyFile"], "peer", given["PublicKey"], "allowed-ips", given["AllowedIPs"],
     "endpoint", given["Endpoint"], "persistent-keepalive", given["PersistentKeepalive"]], check=True)
subprocess.run(["ip", "link", "set", "latency0", "mtu", given["MTUBytes"], "up"], check=True)
sys.exit(wireguard.wait())
""",
}
STAND_IN = ("/etc/systemd/network/40-lab.netdev", "[NetDev]\nName=latency0\nKind=tun\n")
"""Read before our own .netdev, this makes networkd make an interface that the user-space WireGuard can play."""

ENABLED = ("lab-user-data.service", "lab-wireguard.service")
CLOUD_INIT = ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final")


class CloudHost(Host):
    """A booted instance."""

    def __init__(self, cloud: "Cloud", vpc: Vpc, instance: Instance, machine: Machine) -> None:
        super().__init__(machine, {vpc.key: instance.address})
        self._cloud = cloud
        self.port = ""
        self.vpc, self.instance = vpc, instance

    def reboot(self) -> float:
        """Shut down in order and boot again; nothing of the network stack outlives it, as with a real machine."""
        down = self.machine.power_off()
        self._cloud.wire(self)
        return down + self.machine.boot()

    def console(self) -> bytes:
        """All that it wrote on its console."""
        return (self.machine.root.parent / "console.log").read_bytes()


class Cloud:
    """The emulator, and a lab that grows what is in it.

    Args:
        topology: a topology file's text.
        options: further options of every `provision` command.
        public_key: what the metadata service gives to instances with a key pair.
    """

    def __init__(self, topology: str, *options: str, public_key: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="latency-cloud-")
        self.place = Path(self._directory.name)
        (self.place / "topology.toml").write_text(topology)
        self._options, self._public_key = options, public_key
        self._ports = itertools.count(1)
        self._metadata: list[Any] = []
        self._names: list[subprocess.Popen[bytes]] = []
        self.hosts: dict[str, CloudHost] = {}
        self.machines: dict[str, VirtualMachine] = {}
        self.consoles: dict[str, Path] = {}
        self.emulator = Emulator(self._console)
        self.lab = Lab()
        self._inventory = self.lab._inventory
        self._internet_site = self.lab.site("internet", "198.18.0.0/24")
        self.internet = Internet(self._inventory, self._internet_site, self.emulator, self.place)
        self.network: Network

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in self.hosts.values():
            if host.machine.running:
                host.machine.cut_power()
        for machine in self.machines.values():
            machine.cut_power()
        for process in self._names:
            process.kill()
            process.wait()
        for server in self._metadata:
            server.shutdown()
            server.server_close()
        self.internet.close()
        self.lab.close()
        self.emulator.close()
        self._directory.cleanup()

    def provision(
        self, *arguments: str, check: bool = True, seconds: float = 600, on_the_internet: bool = False, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run `provision` as an operator does, in a process of its own; on the internet, it can reach hosts."""
        words = ("provision", "--topology", str(self.place / "topology.toml"), *self._options, *arguments)
        if on_the_internet:
            done = self.on_the_internet(*words, seconds=seconds, stdin=stdin)
        else:
            done = self._program(words, self.emulator.endpoint, seconds=seconds, stdin=stdin)
        assert not check or done.returncode == 0, (
            f"provision {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def on_the_internet(self, *words: str, seconds: float = 600, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of our programs where an operator sits: AWS and the hosts' public addresses can be reached."""
        inside = ("ip", "netns", "exec", self._internet_site.router.name)
        return self._program(words, f"http://{ADDRESSES[S3]}:{API_PORT}", inside, seconds=seconds, stdin=stdin)

    def _program(
        self, words: tuple[str, ...], endpoint: str, inside: tuple[str, ...] = (), *, seconds: float, stdin: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "COLUMNS": "200",
        }
        program, *arguments = words
        return subprocess.run(
            [*inside, str(Path(sys.executable).with_name(program)), *arguments],
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            input=stdin,
        )

    def build(self, regions: tuple[str, ...]) -> None:
        """Make the networks of what the account has, with names, addresses and metadata in each."""
        self.network = Network(self.lab, self.emulator, regions, self._internet_site)
        for vpc in self.network.vpcs.values():
            self._serve_names(vpc)
            self._serve_time(vpc)
            self._metadata.append(serve_metadata(vpc.site.router.name, partial(self._tree, vpc)))

    def boot_machines(self) -> None:
        """Boot a virtual machine for each running instance."""
        disk, initrd = make_disk(self.place / "disk", self.internet.authority), make_initrd(self.place)
        for vpc in self.network.vpcs.values():
            for instance in vpc.instances:
                name = instance.key.removeprefix("host/")
                machine = VirtualMachine(
                    self._inventory, self.place / name, disk, initrd, vpc, instance, f"t{next(self._ports)}"
                )
                self.consoles[instance.id] = machine.console
                self.machines[name] = machine
                machine.start()

    def boot(self, *more: Path) -> None:
        """Boot a host for each running instance, with more layers above the image."""
        layer = self._layer()
        for vpc in self.network.vpcs.values():
            for instance in vpc.instances:
                name = instance.key.removeprefix("host/")
                namespace = Namespace(self._inventory, f"{self.lab._name}-host-{name}")
                layers = (*more, layer, wireguard_layer(), cloud_tree())
                machine = Machine(self._inventory, name, namespace, layers)
                self.consoles[instance.id] = machine.root.parent / "console.log"
                host = self.hosts[name] = CloudHost(self, vpc, instance, machine)
                host.write("/etc/machine-id", "")
                if b"latency-overlay.service" in instance.first_boot:
                    host.write(*STAND_IN)
                self._plug(host)
        # Together: a host counts as booted when its first boot's installation is done.
        with ThreadPoolExecutor() as pool:
            for booting in [pool.submit(host.machine.boot) for host in self.hosts.values()]:
                booting.result()

    def wire(self, host: CloudHost) -> None:
        """Give a host that is off a new network namespace, with its interface."""
        name = host.machine.network.name
        # Connections that wait for a last acknowledgement keep a namespace for minutes: its interface would go on
        # claiming the address.
        host.vpc.site.router.ip("link", "delete", host.port)
        subprocess.run(["ip", "netns", "delete", name], check=True)
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        self._plug(host)

    def _plug(self, host: CloudHost) -> None:
        host.port = f"p{next(self._ports)}"
        self.network.plug(host.vpc, host.instance, host.machine.network.name, host.port)

    def report(self, name: str) -> str:
        """The last lines of a host's console about our own work."""
        lines = self.hosts[name].console().decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if "backbone-latency" in line)

    def _console(self, instance: str) -> bytes:
        file = self.consoles.get(instance)
        return file.read_bytes()[-65536:] if file and file.exists() else b""

    def _tree(self, vpc: Vpc, address: str) -> dict[str, bytes] | None:
        ec2 = self.emulator.client("ec2", vpc.region)
        for reservation in ec2.describe_instances()["Reservations"]:
            for facts in reservation["Instances"]:
                if facts.get("PrivateIpAddress") == address and facts["State"]["Name"] == "running":
                    data = next(item.user_data for item in vpc.instances if item.id == facts["InstanceId"])
                    return metadata_tree(facts, data, self._public_key)
        return None

    def _serve_names(self, vpc: Vpc) -> None:
        """AWS's DHCP and resolver of a VPC."""
        names = {**ADDRESSES, API: EDGES[vpc.key]}
        arguments = [f"--address=/{name}/{address}" for name, address in names.items()]
        for number, block in enumerate(vpc.subnets.values()):
            arguments += [
                f"--dhcp-range=set:s{number},{block[0]},static,{block.netmask}",
                f"--dhcp-option=tag:s{number},option:router,{block[1]}",
            ]
        arguments += [f"--dhcp-host={item.mac},{item.address},infinite" for item in vpc.instances]
        arguments += [f"--dhcp-option=option:dns-server,{vpc.resolver}", "--dhcp-option=option:mtu,9001"]
        command = [
            *("ip", "netns", "exec", vpc.site.router.name, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
            *("--no-resolv", "--no-hosts", "--user=root", "--dhcp-authoritative", "--interface=lan"),
            *("--bind-interfaces", "--except-interface=lo", "--pid-file=", "--log-facility=-", "--no-ping"),
            *(f"--dhcp-leasefile={self.place}/{vpc.key}.leases", *arguments),
        ]
        with (self.place / f"{vpc.key}.names.log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log)
        self._inventory.add_process(process.pid)
        self._names.append(process)
        wait_until(f"names in {vpc.key}", lambda: self._resolves(vpc))

    def _serve_time(self, vpc: Vpc) -> None:
        """Amazon Time Sync of a VPC."""
        arguments = [vpc.site.router.name, "169.254.169.123", "0", "2"]
        command = [sys.executable, "-m", "tests.lab.time_server", *arguments]
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
        self._inventory.add_process(process.pid)
        self._names.append(process)

    def _resolves(self, vpc: Vpc) -> bool:
        return f"{vpc.resolver}:53" in vpc.site.router.run("ss", "-Hlun")

    def _layer(self) -> Path:
        """What a container needs instead of a machine's own kernel and cloud-init, and the lab's authority."""
        layer = self.place / "layer"
        for name, text in LAYER.items():
            file = layer / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        units = layer / "etc/systemd/system"
        wanted = units / "multi-user.target.wants"
        wanted.mkdir()
        for name in ENABLED:
            (wanted / name).symlink_to(f"/etc/systemd/system/{name}")
        for name in CLOUD_INIT:
            (units / f"{name}.service").symlink_to("/dev/null")
        trusted = cloud_tree() / "etc/ssl/certs/ca-certificates.crt"
        (layer / "etc/ssl/certs").mkdir(parents=True)
        (layer / "etc/ssl/certs/ca-certificates.crt").write_text(trusted.read_text() + self.internet.authority)
        return layer
