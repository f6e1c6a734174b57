"""What the launch of a host would be refused for, found out by describing calls before anything is changed.

AWS looks at the image, the type and the zone only in RunInstances, when networks, buckets and roles stand already.
"""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from provisioning.cloud import Cloud
from provisioning.errors import ProvisionError
from provisioning.images import image_facts, image_id
from provisioning.kinds.network import SubnetKind
from provisioning.model import Node, View
from provisioning.publicaccess import block_of, closed_to, faces_the_internet

__all__ = ["preflight"]

_ARCHITECTURE = "x86_64"
"""What the hosts' software is built for (``bundle``)."""


def preflight(view: View, keys: Collection[str]) -> list[str]:
    """Refuse hosts and subnets that are to be made and cannot be.

    Args:
        view: the deployment's nodes.
        keys: the nodes that are to be made; others are left alone, whatever became of their image since.

    Returns:
        What will stop `up` on its way, after it has made what somebody needs to put that right.

    Raises:
        ProvisionError: the first thing found, with the others as notes.
    """
    nodes = sorted((view.nodes[key] for key in keys if key in view.nodes), key=lambda node: node.region)
    regions = [(region, list(group)) for region, group in groupby(nodes, key=lambda node: node.region)]
    with ThreadPoolExecutor(max_workers=max(1, len(regions))) as pool:
        found = list(pool.map(lambda item: _judged(view, *item), regions))
    problems = list(dict.fromkeys(problem for part, _ in found for problem in part))
    if not problems:
        return [told for _, later in found for told in later]
    error = ProvisionError(problems[0])
    for problem in problems[1:]:
        error.add_note(problem)
    raise error


def _judged(view: View, region: str, nodes: list[Node]) -> tuple[list[str], list[str]]:
    now, later = _closed(view, region, [node for node in nodes if node.kind == "instance"])
    return [*_problems(view, region, nodes), *now], later


def _problems(view: View, region: str, nodes: list[Node]) -> Iterator[str]:
    hosts = [node for node in nodes if node.kind == "instance"]
    types = _types(view.cloud, region, {node.spec.type for node in hosts})
    for name, those in _by(hosts, "type"):
        facts = types.get(name)
        if facts is None:
            yield f"{_keys(those)}: {region} has no instance type {name}; use another --instance-type"
        elif any(_wants_ptp(view, node) for node in those) and facts.get("PhcSupport") != "supported":
            yield f"{_keys(those)}: {name} has no PTP hardware clock in {region}; use a type such as c7i.large"
    for name, those in _by(hosts, "image"):
        try:
            image = image_facts(view.cloud, region, image_id(view.cloud, region, name), _keys(those))
        except ProvisionError as error:
            yield str(error)
        else:
            yield from _unfit(image, those, types)
    for node in nodes:
        # A zone is chosen when the subnet is made, by the types that shall stand in it.
        if node.kind == "subnet" and not node.spec.beside and all(name in types for name in node.spec.types if hosts):
            try:
                SubnetKind().zones(view, node)
            except ProvisionError as error:
                yield str(error)


def _wants_ptp(view: View, node: Node) -> bool:
    group = view.nodes.get(node.spec.placement_group)
    return group is not None and group.spec.strategy == "precision-time"


def _closed(view: View, region: str, hosts: list[Node]) -> tuple[list[str], list[str]]:
    """Hosts that the internet would be closed to: those that cannot be helped now, and those whose VPC is to be made.

    A VPC has to stand before it can be excluded: `up` makes it, and stops before its hosts.
    """
    outside = [node for node in hosts if faces_the_internet(view, node)]
    if not outside:
        return [], []
    block = block_of(view.cloud, region, "hosts")
    now: list[str] = []
    later: list[str] = []
    for node in outside:
        if told := closed_to(view, node, block):
            made = view.nodes[node.spec.subnet].spec.vpc in view.found
            (now if made or not block.excludable else later).append(told)
    return now, later


def _types(cloud: Cloud, region: str, names: set[str]) -> dict[str, dict[str, Any]]:
    """The types of those that the region has: as a filter, for a name that does not exist is an error otherwise."""
    if not names:
        return {}
    wanted = [{"Name": "instance-type", "Values": sorted(names)}]
    found = cloud.pages(region, "ec2", "describe_instance_types", "InstanceTypes", "hosts", Filters=wanted)
    return {item["InstanceType"]: item for item in found}


def _unfit(image: dict[str, Any], hosts: list[Node], types: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Why an image that exists cannot be booted on the types of these hosts."""
    name, state = image["ImageId"], image.get("State", "available")
    architecture = image.get("Architecture", _ARCHITECTURE)
    if state != "available":
        yield f"{_keys(hosts)}: image {name} is {state}; use another --image"
    elif architecture != _ARCHITECTURE:
        yield f"{_keys(hosts)}: image {name} is {architecture}, the software is {_ARCHITECTURE}; use another --image"
    else:
        for kind, those in _by(hosts, "type"):
            fits = types.get(kind, {}).get("ProcessorInfo", {}).get("SupportedArchitectures", [architecture])
            if architecture not in fits:
                yield (
                    f"{_keys(those)}: {kind} is {', '.join(fits)} and image {name} is {architecture}; "
                    "use another --instance-type"
                )
    for size, those in _by(hosts, "volume_gib"):
        if (least := _least_volume_gib(image)) > size:
            yield f"{_keys(those)}: image {name} needs a volume of {least} GiB; use --volume-gib {least}"


def _least_volume_gib(image: dict[str, Any]) -> int:
    root = image.get("RootDeviceName")
    sizes = [
        item.get("Ebs", {}).get("VolumeSize", 0)
        for item in image.get("BlockDeviceMappings", [])
        if item.get("DeviceName") == root
    ]
    return max(sizes, default=0)


def _by(hosts: Iterable[Node], field: str) -> list[tuple[Any, list[Node]]]:
    groups: dict[Any, list[Node]] = {}
    for node in hosts:
        groups.setdefault(getattr(node.spec, field), []).append(node)
    return list(groups.items())


def _keys(nodes: Iterable[Node]) -> str:
    return ", ".join(sorted(node.key for node in nodes))
