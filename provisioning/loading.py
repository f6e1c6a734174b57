"""Where a topology comes from: the built-in ones, a TOML file, and the command line's wishes laid over either."""

import ipaddress
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from daemons.errors import ConfigError
from daemons.service.settings.config import load
from provisioning.names import BUILT_IN
from provisioning.topology import Access, Host, Site, Topology, Transit
from provisioning.validation import RESERVED_ADDRESSES, check

__all__ = ["BUILT_IN", "adjusted", "default_name", "deployment_name", "load_topology"]

_GATEWAY_PREFIX = 26
"""Of the block that a site's transit gateway gets: a /28 for each of four zones."""
_DEPLOYMENT = re.compile(r"[a-z](?:[a-z0-9-]{0,22}[a-z0-9])?")


def load_topology(name_or_file: str, overrides: Mapping[str, Any] | None = None) -> Topology:
    """Read a built-in topology or a TOML file, and check it.

    Args:
        name_or_file: one of :data:`BUILT_IN`, or the path of a file.
        overrides: a mapping shaped like the file, laid over it.

    Returns:
        A topology that can be built.

    Raises:
        ConfigError: no such topology, or :func:`check` refuses it.
    """
    own = _file(name_or_file)
    if own is None:
        with resources.as_file(resources.files("provisioning") / "topologies" / f"{name_or_file}.toml") as file:
            topology = load(Topology, file, overrides or {})
    else:
        topology = load(Topology, own, overrides or {})
    check(topology)
    return topology


def _file(name_or_file: str) -> Path | None:
    if name_or_file in BUILT_IN:
        return None
    if "/" in name_or_file or name_or_file.endswith(".toml"):
        return Path(name_or_file)
    raise ConfigError(
        "--topology", f"{name_or_file!r} is not built in", f"use {', '.join(BUILT_IN)} or a .toml file's path"
    )


def adjusted(
    topology: Topology,
    *,
    types: Mapping[str, str],
    image: str = "",
    volume_gib: int = 0,
    precision_time: bool = False,
    placement: Mapping[str, str] | None = None,
    cpu_credits: str = "",
    monitor: bool = False,
    overlay: str = "",
    access: Access | None = None,
    owner: str = "",
    expires: str = "",
    stop_at_expiry: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Topology:
    """Lay the command line's wishes over a topology and check the result.

    Args:
        topology: the base.
        types: instance type by role or by host name.
        image: an image for every host.
        volume_gib: the root volume's size for every host; 0 keeps the topology's.
        precision_time: put every host into a precision-time placement group.
        placement: strategy of placement groups by role or by host name; ``none`` takes a host out of its group.
        cpu_credits: ``standard`` or ``unlimited`` for every burstable host; empty keeps the roles' own modes.
        monitor: add a monitor host in the public subnet that reaches the most hosts, beside a receiver if it can.
        overlay: the overlay's kind; ``transit`` brings the transit gateways with it where the topology has none
            between the overlay's sites. Empty keeps the topology's.
        access: who may log in; None keeps the topology's.
        owner: the owner tag.
        expires: the expiry tag, RFC 3339.
        stop_at_expiry: hosts power themselves off when it is past.
        tags: further tags of everything.

    Raises:
        ConfigError: an unknown role or host in ``types`` or ``placement``, or the result is not valid.
    """
    placement = placement or {}
    _check_named(topology, types, placement)
    hosts = list(topology.host)
    if monitor and not topology.monitors:
        hosts.append(_monitor(topology))
    hosts = [
        msgspec.structs.replace(
            host,
            type=types.get(host.name, types.get(host.role, host.type)),
            image=image or host.image,
            volume_gib=volume_gib or host.volume_gib,
            precision_time=precision_time or host.precision_time,
            placement=_placement(placement.get(host.name, placement.get(host.role, host.placement))),
            cpu_credits=cpu_credits or host.cpu_credits,
        )
        for host in hosts
    ]
    if overlay and topology.overlay is None:
        raise ConfigError("--overlay", "the topology has no overlay", "use egress, full or proxy")
    changed = msgspec.structs.replace(
        topology,
        host=tuple(hosts),
        overlay=msgspec.structs.replace(topology.overlay, kind=overlay)
        if overlay and topology.overlay
        else topology.overlay,
        access=access or topology.access,
        owner=owner or topology.owner,
        expires=expires or topology.expires,
        stop_at_expiry=stop_at_expiry or topology.stop_at_expiry,
        tags={**topology.tags, **(tags or {})},
    )
    if overlay == "transit":
        changed = _with_gateways(changed)
    changed = msgspec.convert(msgspec.to_builtins(changed), Topology)
    check(changed)
    return changed


def _check_named(topology: Topology, types: Mapping[str, str], placement: Mapping[str, str]) -> None:
    known = {host.name for host in topology.host} | {host.role for host in topology.host} | {"monitor"}
    for option, names in (("--instance-type", types), ("--placement", placement)):
        for name in names:
            if name not in known:
                raise ConfigError(option, f"{name!r} is neither a host nor a role", f"use {', '.join(sorted(known))}")
    for strategy in placement.values():
        if strategy not in ("cluster", "none"):
            raise ConfigError("--placement", f"{strategy!r} is no strategy", "write cluster, or none")


def _placement(strategy: str) -> Literal["", "cluster"]:
    return "cluster" if strategy == "cluster" else ""


def _with_gateways(topology: Topology) -> Topology:
    """Join the overlay's sites by transit gateways; each gets the last block of its site for them."""
    assert topology.overlay is not None
    sites = tuple(topology.named_host(name).site for name in (topology.overlay.client, topology.overlay.gateway))
    if sites[1] in {other.name for _, other in topology.transits(sites[0])}:
        return topology

    def with_block(site: Site) -> Site:
        if site.transit or site.name not in sites:
            return site
        last = ipaddress.IPv4Network(site.cidr).broadcast_address
        return msgspec.structs.replace(site, transit=str(ipaddress.IPv4Network((last, _GATEWAY_PREFIX), strict=False)))

    transit = (*topology.transit, Transit(*sites))
    return msgspec.structs.replace(topology, transit=transit, site=tuple(map(with_block, topology.site)))


def _monitor(topology: Topology) -> Host:
    """A monitor beside one of the hosts that the internet may reach, in the site that reaches the most others."""
    candidates = [host for host in topology.host if topology.subnet_of(host).public]
    if not candidates:
        raise ConfigError("--monitor", "no host stands in a public subnet", "add a public subnet with a host")
    beside = max(
        candidates,
        key=lambda host: (
            sum(topology.peered(host.site, other.site) for other in topology.host),
            host.role == "receiver",
        ),
    )
    taken = {host.address for host in topology.host if host.site == beside.site}
    # What is next to the host looks related to it in logs; any other free address will do as well.
    wished = str(ipaddress.IPv4Address(beside.address) + 20)
    block = ipaddress.IPv4Network(topology.subnet_of(beside).cidr)
    free = [str(address) for address in list(block.hosts())[RESERVED_ADDRESSES - 1 :] if str(address) not in taken]
    if not free:
        raise ConfigError("--monitor", f"{block} has no free address", "use a larger subnet")
    return Host(
        name="monitor",
        role="monitor",
        site=beside.site,
        subnet=beside.subnet,
        address=wished if wished in free else free[-1],
        public="assigned",
        type="t3.small",
    )


def default_name(name_or_file: str) -> str:
    """The name of a deployment that was given none: its topology's, so that one is never mistaken for another.

    Args:
        name_or_file: as for :func:`load_topology`; a file need not be there any more.

    Raises:
        ConfigError: no such topology, or a file whose name is not one for a deployment.
    """
    file = _file(name_or_file)
    stem = name_or_file if file is None else file.stem
    if not _DEPLOYMENT.fullmatch(stem):
        raise ConfigError(
            "--name",
            f"is missing, and the file's name {stem!r} cannot stand for it",
            "give one of up to 24 of a-z, 0-9 and -, letter first",
        )
    return stem


def deployment_name(text: str) -> str:
    """Check a deployment's name, which becomes part of tags and of names in the account.

    Raises:
        ConfigError: not 1 to 24 lower-case letters, digits and inner hyphens, beginning with a letter.
    """
    if not _DEPLOYMENT.fullmatch(text):
        raise ConfigError(
            "--name", f"{text!r} is not a deployment name", "use up to 24 of a-z, 0-9 and -, letter first"
        )
    return text
