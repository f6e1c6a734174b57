"""The lab: sites with their networks, links between them, and hosts, all taken away at the end.

A site is one private network: a bridge in a namespace of its own, which is also the site's router. Sites reach each
other over wide-area links alone, and nothing reaches the outer machine's own network.
"""

import ipaddress
import itertools
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.base import base_tree
from tests.lab.guest import Guest
from tests.lab.host import Host
from tests.lab.inventory import Inventory, abandoned
from tests.lab.machine import Machine
from tests.lab.namespace import Namespace
from tests.lab.paths import CHECKOUT, RUNS
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink

__all__ = ["Lab", "Site"]

CAP_SYS_TIME = 25
BRIDGE = "lan"
LINK_ADDRESSES = ipaddress.IPv4Network("100.64.0.0/16")
"""Where the links' own addresses are from (RFC 6598 shared space), so that sites may use any private network."""


@dataclass(frozen=True, slots=True)
class Site:
    """One private network and its router."""

    name: str
    network: ipaddress.IPv4Network
    router: Namespace

    @property
    def gateway(self) -> str:
        """The router's address in the site."""
        return str(self.network[1])


class Lab:
    """A set of sites, links and hosts; a context manager that leaves nothing behind.

    Raises:
        PermissionError: not root, or able to set the clock of the outer machine.
    """

    def __init__(self) -> None:
        refuse_the_clock()
        for inventory in abandoned():
            inventory.clean()
        directory = RUNS / f"{os.getpid()}-{secrets.token_hex(3)}"
        directory.mkdir(parents=True)
        # In memory: hosts' disks are fast, and taken away in one step instead of file by file.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "backbone-latency-lab", str(directory)], check=True)
        self._inventory = Inventory(directory)
        self._name = f"lab{directory.name}"
        self._link_networks = LINK_ADDRESSES.subnets(new_prefix=30)
        self._links: list[WideAreaLink] = []
        self._servers: list[subprocess.Popen[str]] = []
        self._guests: list[Guest] = []
        self._numbers = itertools.count(1)
        self.sites: dict[str, Site] = {}
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything away."""
        for host in self.hosts.values():
            if host.machine.running:
                host.machine.cut_power()
        for guest in self._guests:
            guest.close()
        for link in self._links:
            link.close()
        for server in self._servers:
            server.kill()
            server.communicate()
        self._inventory.clean()

    def site(self, name: str, network: str) -> Site:
        """Make a site; its router has the network's first address."""
        block = ipaddress.IPv4Network(network)
        router = self.router(f"site-{name}")
        router.ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
        router.ip("addr", "add", f"{block[1]}/{block.prefixlen}", "dev", BRIDGE)
        router.ip("link", "set", BRIDGE, "up")
        site = self.sites[name] = Site(name, block, router)
        return site

    def link(self, one: Site, other: Site, there: Shape, back: Shape | None = None) -> WideAreaLink:
        """Join two sites by a wide-area link.

        Args:
            one: the site that direction 0 leads away from.
            other: the site that direction 0 leads to.
            there: what the link does in direction 0.
            back: what it does in direction 1; the same by default.
        """
        link = self.join((one.router, other.router), (other.name, one.name), there, back)
        one.router.ip("route", "add", str(other.network), "dev", other.name)
        other.router.ip("route", "add", str(one.network), "dev", one.name)
        return link

    def join(
        self, ends: tuple[Namespace, Namespace], devices: tuple[str, str], there: Shape, back: Shape | None = None
    ) -> WideAreaLink:
        """Join two routers by a wide-area link; no route leads to it yet.

        Args:
            ends: direction 0 leads from the first to the second.
            devices: the name of the link's interface at each.
            there: what the link does in direction 0.
            back: what it does in direction 1; the same by default.
        """
        block = next(self._link_networks)
        addresses = (str(block[1]), str(block[2]))
        link = WideAreaLink(self._inventory, ends, devices, addresses, (there, back or there))
        self._links.append(link)
        return link

    def router(self, name: str) -> Namespace:
        """Make a router of its own, with nothing on it."""
        router = Namespace(self._inventory, f"{self._name}-{name}")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        return router

    def wire(self, ends: tuple[Namespace, Namespace], devices: tuple[str, str], mtu: int = 1500) -> tuple[str, str]:
        """Join two routers by a cable, without any delay; return their addresses on it."""
        block = next(self._link_networks)
        (one, other), (near, far) = ends, devices
        peer = ("peer", "name", far, "mtu", str(mtu), "netns", other.name)
        one.ip("link", "add", near, "mtu", str(mtu), "type", "veth", *peer)
        for router, device, address in ((one, near, block[1]), (other, far, block[2])):
            router.ip("addr", "add", f"{address}/{block.prefixlen}", "dev", device)
            router.ip("link", "set", device, "up")
        return str(block[1]), str(block[2])

    def serve(self, command: list[str]) -> None:
        """Run a server until the lab ends; returns when it has written ``ready``."""
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        self._inventory.add_process(process.pid)
        self._servers.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def time_server(self, site: Site, *, offset_seconds: float = 0.0, stratum: int = 2) -> str:
        """Let a site's router serve time, right or wrong; return its address."""
        arguments = [site.router.name, site.gateway, str(offset_seconds), str(stratum)]
        self.serve([sys.executable, "-m", "tests.lab.time_server", *arguments])
        return site.gateway

    def host(
        self, name: str, addresses: Mapping[Site, str], *, layers: tuple[Path, ...] = (), boot: bool = True
    ) -> Host:
        """Make a host, and boot it.

        Args:
            name: its host name, known to every host booted later.
            addresses: its address in each of its sites; ``eth0`` and the default route are in the first.
            layers: read-only trees laid over the base tree, the uppermost first.
            boot: whether to boot it now; a test may first put files in place.
        """
        network = Namespace(self._inventory, f"{self._name}-host-{name}")
        for number, (site, address) in enumerate(addresses.items()):
            device, port = f"eth{number}", f"p{next(self._numbers)}"
            site.router.ip(*("link", "add", port, "type", "veth", "peer", "name", device, "netns", network.name))
            site.router.ip("link", "set", port, "master", BRIDGE, "up")
            network.ip("addr", "add", f"{address}/{site.network.prefixlen}", "dev", device)
            network.ip("link", "set", device, "up")
            if number == 0:
                network.ip("route", "add", "default", "via", site.gateway)
        machine = Machine(self._inventory, name, network, (*layers, base_tree()))
        host = self.hosts[name] = Host(machine, {site.name: address for site, address in addresses.items()})
        known = "".join(f"{other.address} {other.name}\n" for other in self.hosts.values())
        host.write("/etc/hosts", f"127.0.0.1 localhost\n{known}")
        if boot:
            machine.boot()
        return host

    def guest(self, host: Host, site: Site, address: str) -> Guest:
        """Boot a kernel with a clock of its own, which can be set; it has a shell instead of systemd.

        Args:
            host: made and not booted: its tree becomes the guest's.
            site: where the guest stands.
            address: its address there, which no host has.
        """
        place = f"{address}/{site.network.prefixlen}"
        guest = Guest(self._inventory, host.machine, site.router, BRIDGE, place, site.gateway)
        self._guests.append(guest)
        return guest


def refuse_the_clock() -> None:
    """Raise PermissionError unless this process is root without the right to set the clock."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    if os.geteuid() != 0:
        raise PermissionError("the lab boots machines: run it as root, by `make lab`")
    if effective & (1 << CAP_SYS_TIME):
        raise PermissionError(
            "the lab may set this machine's clock (CAP_SYS_TIME): a slip inside a host would move it for everyone; "
            "run `make lab`, which drops that right"
        )
