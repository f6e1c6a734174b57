"""What surrounds instances: Elastic IPs, key pairs, placement groups, and the volumes and interfaces they bring."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import AwsError
from provisioning.model import (
    SPEC_TAG,
    Difference,
    Ec2Kind,
    Found,
    Node,
    View,
    tag_differences,
    tags_of,
)
from provisioning.names import resource_name

__all__ = [
    "AddressKind",
    "AddressSpec",
    "InterfaceKind",
    "KeyPairKind",
    "KeyPairSpec",
    "PlacementGroupKind",
    "PlacementGroupSpec",
    "VolumeKind",
]


@dataclass(frozen=True, slots=True)
class KeyPairSpec:
    public_key: str


class KeyPairKind(Ec2Kind):
    name: ClassVar[str] = "key-pair"
    describe: ClassVar[str] = "describe_key_pairs"
    list_key: ClassVar[str] = "KeyPairs"
    id_key: ClassVar[str] = "KeyName"

    def create(self, view: View, node: Node) -> None:
        view.ec2(
            node,
            "import_key_pair",
            tolerate=("InvalidKeyPair.Duplicate",),
            KeyName=resource_name(view.deployment.name),
            PublicKeyMaterial=node.spec.public_key.strip().encode(),
            TagSpecifications=view.deployment.tag_specification(node.key, "key-pair", **_key_digest(node.spec)),
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found, found.facts["KeyPairId"])
        if tags_of(found.facts).get(SPEC_TAG) != _key_digest(node.spec)[SPEC_TAG]:
            yield Difference("another public key", replace=True)

    def delete(self, view: View, found: Found) -> None:
        view.ec2(found, "delete_key_pair", KeyName=found.id)


def _key_digest(spec: KeyPairSpec) -> dict[str, str]:
    return {SPEC_TAG: hashlib.sha256(spec.public_key.strip().encode()).hexdigest()[:32]}


@dataclass(frozen=True, slots=True)
class PlacementGroupSpec:
    strategy: str


class PlacementGroupKind(Ec2Kind):
    """Groups that give their instances a PTP hardware clock, or have them near to each other."""

    name: ClassVar[str] = "placement-group"
    describe: ClassVar[str] = "describe_placement_groups"
    list_key: ClassVar[str] = "PlacementGroups"
    id_key: ClassVar[str] = "GroupName"

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        return item.get("State") not in ("deleting", "deleted")

    def create(self, view: View, node: Node) -> None:
        view.make(
            node,
            "create_placement_group",
            "placement-group",
            tolerate=("InvalidPlacementGroup.Duplicate",),
            GroupName=resource_name(view.deployment.name, node.key.partition("/")[2]),
            Strategy=node.spec.strategy,
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found, found.facts["GroupId"])
        if found.facts.get("Strategy") != node.spec.strategy:
            yield Difference(f"strategy is {found.facts.get('Strategy')}", replace=True)

    def delete(self, view: View, found: Found) -> None:
        view.ec2(found, "delete_placement_group", tolerate=("InvalidPlacementGroup.Unknown",), GroupName=found.id)


@dataclass(frozen=True, slots=True)
class AddressSpec:
    """``host`` is empty where others must know the address before the host stands, which then takes it itself."""

    host: str


class AddressKind(Ec2Kind):
    """Elastic IPs: never taken away from anything without saying so, never given away silently."""

    name: ClassVar[str] = "elastic-ip"
    describe: ClassVar[str] = "describe_addresses"
    list_key: ClassVar[str] = "Addresses"
    id_key: ClassVar[str] = "AllocationId"

    def rank(self, found: Found) -> tuple[Any, ...]:
        return found.key, not found.facts.get("AssociationId"), found.id

    def create(self, view: View, node: Node) -> None:
        view.make(node, "allocate_address", "elastic-ip", Domain="vpc")

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        if node.spec.host:
            yield from self.associated(view, node, found, node.spec.host, view.id(node.spec.host))

    def associated(self, view: View, node: Node, found: Found, host: str, wanted: str) -> Iterator[Difference]:
        """What is between an address and the host of a key and an id."""
        it = "" if node.spec.host else f"{node.key} "
        holder = found.facts.get("InstanceId") or found.facts.get("NetworkInterfaceId")
        if holder and holder != wanted:
            yield Difference(f"take {it}back from {holder}", lambda: _disassociate(view, found))
        if holder != wanted:
            yield Difference(f"associate {it}with {host}", lambda: self._associate(view, node, found, wanted))

    def delete(self, view: View, found: Found) -> None:
        _disassociate(view, found)
        view.ec2(found, "release_address", AllocationId=found.id)

    def _associate(self, view: View, node: Node, found: Found, instance: str) -> None:
        view.ec2(node, "associate_address", AllocationId=found.id, InstanceId=instance, AllowReassociation=False)


def _disassociate(view: View, found: Found) -> None:
    # Terminating the instance dissolves the association a little later by itself: NotFound means done.
    if association := found.facts.get("AssociationId"):
        view.ec2(found, "disassociate_address", tolerate=("InvalidAssociationID.NotFound",), AssociationId=association)


class LeftoverKind(Ec2Kind):
    """Volumes and network interfaces: made and deleted with their instances, looked for so that none is left."""

    removal: ClassVar[str]

    def create(self, view: View, node: Node) -> None:
        raise AssertionError(f"{self.name} is made by run_instances")

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from ()

    def delete(self, view: View, found: Found) -> None:
        try:
            view.ec2(found, self.removal, **{self.id_key: found.id})
        except AwsError as error:
            # Still attached to an instance that is going: it goes with it, and the next look tells.
            if error.code not in ("VolumeInUse", "InvalidNetworkInterface.InUse", "InvalidParameterValue"):
                raise


class VolumeKind(LeftoverKind):
    name: ClassVar[str] = "volume"
    describe: ClassVar[str] = "describe_volumes"
    list_key: ClassVar[str] = "Volumes"
    id_key: ClassVar[str] = "VolumeId"
    removal: ClassVar[str] = "delete_volume"


class InterfaceKind(LeftoverKind):
    name: ClassVar[str] = "network-interface"
    describe: ClassVar[str] = "describe_network_interfaces"
    list_key: ClassVar[str] = "NetworkInterfaces"
    id_key: ClassVar[str] = "NetworkInterfaceId"
    removal: ClassVar[str] = "delete_network_interface"
