"""Which hosts there are, what each is for, and where its software lies."""

from pathlib import Path
from typing import Literal

import msgspec

from daemons.errors import ConfigError
from daemons.sections import Section
from daemons.service.settings.config import load

__all__ = ["HostEntry", "Inventory", "load_inventory"]

_INSTALLED = "/opt/backbone-latency/current/bin"


class HostEntry(Section, frozen=True):
    """``[[host]]``: a host by the name that it has in the ssh configuration.

    Attributes:
        name: of the host.
        role: what it does in the experiments.
        programs: where latency-receiver and the others lie on it.
        config: its daemon's configuration file, on it; by default ``/etc/latency/ROLE.toml``.
        managed: its daemons run as units of systemd, installed by ``systemd/install``: the receiver's unit makes room
            for a run and comes back after it, the forwarder's goes on. Else the experiment starts the daemons itself.
        workspace: where runs are kept on it while they last.
        address: how the internet sees it, where that is known.
    """

    name: str
    role: Literal["forwarder", "receiver", "probe", "nat", "proxy", "monitor"]
    programs: str = _INSTALLED
    config: str = ""
    managed: bool = True
    workspace: str = "/var/lib/latency/experiments"
    address: str = ""

    @property
    def config_file(self) -> str:
        """The daemon's configuration file on the host."""
        return self.config or f"/etc/latency/{self.role}.toml"


class Inventory(Section, frozen=True):
    """All hosts, and the ssh configuration by which they are reached.

    Attributes:
        ssh_config: an OpenSSH configuration file with a ``Host`` for each; host keys are always checked.
        host: the hosts.
    """

    ssh_config: str
    host: tuple[HostEntry, ...]

    def of_role(self, role: str, name: str | None = None) -> HostEntry:
        """Give the host of a role, or the named one.

        Raises:
            ConfigError: there is none, or there are several and none is named.
        """
        found = [host for host in self.host if host.role == role and name in (None, host.name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{host.name} ({host.role})" for host in self.host) or "none"
        why = f"{name!r} is no {role}" if name else f"{len(found)} hosts are {role}s"
        raise ConfigError(f"--{role}", why, f"there are {names}")

    def named(self, name: str) -> HostEntry:
        """Give the host of that name.

        Raises:
            ConfigError: there is none.
        """
        for host in self.host:
            if host.name == name:
                return host
        raise ConfigError("host", f"no host {name!r}", "there are " + ", ".join(host.name for host in self.host))


def load_inventory(file: Path) -> Inventory:
    """Read a file of hosts; the ssh configuration's path is relative to it.

    Raises:
        ConfigError: anything in it is unknown, missing or malformed.
    """
    inventory = load(Inventory, file, {})
    config = file.parent / Path(inventory.ssh_config).expanduser()
    if not config.is_file():
        raise ConfigError("ssh_config", f"{config} is not a file", "name an OpenSSH configuration file")
    for index, host in enumerate(inventory.host):
        if [other.name for other in inventory.host].count(host.name) > 1:
            raise ConfigError(f"host[{index}].name", f"{host.name!r} is used twice", "give every host its own name")
    return msgspec.structs.replace(inventory, ssh_config=str(config))
