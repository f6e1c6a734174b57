"""Instances: made with a client token, moved to another zone without capacity, replaced when they cannot be changed."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.console import host_report
from provisioning.errors import CapacityError, ProvisionError
from provisioning.images import image_id, root_device
from provisioning.kinds.compute import AddressKind
from provisioning.kinds.network import SubnetKind
from provisioning.model import SPEC_TAG, Difference, Ec2Kind, Found, Node, View, tag, tag_differences, tags_of
from provisioning.publicaccess import block_of, closed_to, faces_the_internet

__all__ = ["InstanceKind", "InstanceSpec", "Outside", "outside_address"]

Outside = tuple[tuple[str, str], ...]
"""Keys of nodes whose addresses AWS chooses, with the addresses."""

PEER_KEY_TAG = "latency:peer-key"
_BOOT_SECONDS = 300.0
_TOKENS = 20
"""How many instances of one and the same request may have been terminated while their tokens live."""
_TERMINATE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """A host; the first of its private ``addresses`` is the interface's primary one.

    ``bucket`` is the key of a node, ``key_pair`` and ``placement_group`` are too, or empty.

    ``tunnel_peer`` is the key of the node at the other end of a WireGuard tunnel: each end makes its own private key
    and tells the public half on its console, and learns the other's from a tag of its own.

    ``user_data`` goes by the bucket's name, and so does ``boot_files``, the digest of what that puts on the host: alike
    for operators whose compressors differ. Both go by the addresses of the nodes in ``outside`` too, which AWS chooses
    and which stand before the host does. ``elastic`` is the key of such an address that the host takes itself.
    """

    name: str
    subnet: str
    addresses: tuple[str, ...]
    firewall: str
    identity: str
    type: str
    credit_mode: str
    image: str
    volume_gib: int
    public: bool
    routes_for_others: bool
    bucket: str
    user_data: Callable[[str, "Outside"], str]
    boot_files: Callable[[str, "Outside"], str]
    outside: tuple[str, ...] = ()
    elastic: str = ""
    key_pair: str = ""
    key_digest: str = ""
    placement_group: str = ""
    tunnel_peer: str = ""

    def digest(self, bucket: str, outside: "Outside") -> str:
        """A short name of everything that cannot be changed in a host that exists."""
        parts = (
            # A deployment that stands goes by the digest that one address always had.
            self.addresses[0] if len(self.addresses) == 1 else self.addresses,
            self.type,
            self.credit_mode,
            self.image,
            self.volume_gib,
            self.public,
            self.boot_files(bucket, outside),
            self.key_digest,
            self.placement_group,
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class InstanceKind(Ec2Kind):
    name: ClassVar[str] = "instance"
    describe: ClassVar[str] = "describe_instances"
    list_key: ClassVar[str] = "Reservations"
    id_key: ClassVar[str] = "InstanceId"

    def items(self, view: View, region: str, key: str | None) -> list[dict[str, Any]]:
        return [item for reservation in super().items(view, region, key) for item in reservation["Instances"]]

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        return item["State"]["Name"] not in ("shutting-down", "terminated")

    def create(self, view: View, node: Node) -> None:
        if faces_the_internet(view, node) and (
            told := closed_to(view, node, block_of(view.cloud, node.region, node.key))
        ):
            raise ProvisionError(told)
        # One launch into a subnet at a time: a move takes the subnet away, and must not from under another launch.
        with view.launching(node.spec.subnet):
            instance = self._launch_somewhere(view, node)
            view.launched[node.key] = node.spec.subnet
        self._running(view, node, instance)

    def _launch_somewhere(self, view: View, node: Node) -> str:
        """Launch where there is capacity; a subnet without other hosts is moved to find it."""
        subnet = view.nodes[node.spec.subnet]
        kind = SubnetKind()
        tried = [view.found[subnet.key].facts["AvailabilityZone"]]
        while True:
            try:
                return self._launch(view, node)
            except CapacityError as error:
                if beside := [key for key, other in view.nodes.items() if _beside(other) == subnet.key]:
                    raise error.after(
                        tried, f"{', '.join(beside)} stands beside its subnet for a transit gateway; name another zone"
                    ) from error
                if others := self._others_in(view, node, subnet):
                    raise error.after(tried, f"{', '.join(others)} stands in its subnet, which stays") from error
                zones = [zone for zone in kind.zones(view, subnet) if zone not in tried]
                if not zones:
                    raise error.after(tried, "the region has no other zone for it") from error
                if not self._move(view, subnet, kind, zones[0]):
                    raise error.after(tried, "something stands in its subnet, which stays") from error
                tried.append(zones[0])

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        # Its disk and its interface have the tags of its launch, and change them with it.
        volumes = (item["Ebs"]["VolumeId"] for item in found.facts.get("BlockDeviceMappings", []) if "Ebs" in item)
        interfaces = (item["NetworkInterfaceId"] for item in found.facts.get("NetworkInterfaces", []))
        yield from tag_differences(view, node, found, found.id, *volumes, *interfaces)
        if unlike := self._unlike(view, node.spec, found):
            yield Difference(unlike, replace=True)
        else:
            yield from self._mendable(view, node, found)

    def _unlike(self, view: View, spec: InstanceSpec, found: Found) -> str:
        """What only another instance can be."""
        facts = found.facts
        if facts.get("SubnetId") != view.id(spec.subnet):
            return "stands in another subnet"
        if facts["InstanceType"] != spec.type:
            return f"type is {facts['InstanceType']}, not {spec.type}"
        if spec.bucket not in view.found:
            return "its bucket is gone, and hosts boot from it by its name"
        if gone := [key for key in spec.outside if key not in view.found]:
            return f"{gone[0]} is gone, and its configuration names that address"
        if tags_of(facts).get(SPEC_TAG) != spec.digest(view.id(spec.bucket), _outside(view, spec)):
            return "image, volume, address, key, credit mode or boot configuration changed"
        return ""

    def _mendable(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        spec: InstanceSpec = node.spec
        facts = found.facts
        state = facts["State"]["Name"]
        if state in ("stopped", "stopping"):
            yield Difference(f"start, now {state}", lambda: self._start(view, node, found))
        elif state == "pending":
            yield Difference("wait until it runs", lambda: self._running(view, node, found.id))
        if spec.elastic:
            address = view.found[spec.elastic]
            yield from AddressKind().associated(view, view.nodes[spec.elastic], address, node.key, found.id)
        if profile := self._lost_profile(view, spec, found):
            yield Difference(
                f"give it the profile of {spec.identity}, made anew since",
                lambda: self._associate(view, found, profile),
            )
        groups = sorted(group["GroupId"] for group in facts.get("SecurityGroups", []))
        if groups != [view.id(spec.firewall)]:
            yield Difference(
                f"security groups are {', '.join(groups) or 'none'}",
                lambda: self._modify(view, node, found, Groups=[view.id(spec.firewall)]),
            )
        if facts.get("SourceDestCheck", True) == spec.routes_for_others:
            yield Difference(
                f"turn the source/destination check {'off' if spec.routes_for_others else 'on'}",
                lambda: self._modify(view, node, found, SourceDestCheck={"Value": not spec.routes_for_others}),
            )
        if spec.tunnel_peer in view.found:
            key = host_report(view, view.found[spec.tunnel_peer]).wireguard_key
            if key and tags_of(facts).get(PEER_KEY_TAG) != key:
                yield Difference(
                    f"tell the WireGuard key of {spec.tunnel_peer}",
                    lambda: tag(view, node.region, found, {PEER_KEY_TAG: key}),
                )
        if facts.get("MetadataOptions", {}).get("HttpTokens") != "required":
            yield Difference("require IMDSv2", lambda: self._imds(view, node, found))

    def _lost_profile(self, view: View, spec: InstanceSpec, found: Found) -> str:
        """The profile that the host should have and has not; empty where it has, or where that cannot be told yet.

        A host is bound to the profile that it was launched with, not to its name: made anew under the same name, the
        profile gives it nothing, and no listing shows it but by the id (IAM guide, "Using instance profiles").
        """
        identity = view.found.get(spec.identity)
        wanted = identity.facts["profile_id"] if identity else ""
        has = found.facts.get("IamInstanceProfile", {}).get("Id", "")
        return identity.id if identity and wanted and has != wanted else ""

    def _associate(self, view: View, found: Found, profile: str) -> None:
        associations = view.cloud.pages(
            found.region,
            "ec2",
            "describe_iam_instance_profile_associations",
            "IamInstanceProfileAssociations",
            found.key,
            Filters=[{"Name": "instance-id", "Values": [found.id]}],
        )
        own = [item for item in associations if item["InstanceId"] == found.id]
        standing = [item["AssociationId"] for item in own if item["State"] in ("associating", "associated")]
        if standing:
            operation, which = "replace_iam_instance_profile_association", {"AssociationId": standing[0]}
        else:
            operation, which = "associate_iam_instance_profile", {"InstanceId": found.id}
        view.ec2(
            found,
            operation,
            # Somebody was faster, or the answer to this very call was lost: the next look tells.
            tolerate=("InvalidAssociationID.NotFound", "IncorrectState"),
            IamInstanceProfile={"Name": profile},
            **which,
        )

    def delete(self, view: View, found: Found) -> None:
        view.ec2(found, "terminate_instances", InstanceIds=[found.id])
        view.cloud.wait(
            found.key,
            "terminated",
            lambda: self._state(view, found.key, found.region, found.id) in (None, "terminated") or None,
            _TERMINATE_SECONDS,
            pause=1.0,
        )

    def _launch(self, view: View, node: Node) -> str:
        """Ask for the instance, and wait until it can be seen; its id."""
        dead = ""
        for attempt in range(_TOKENS):
            request = self._request(view, node)
            request["ClientToken"] = _token(view, node, request, attempt)
            # A token lives longer than the instance that it made: where that was terminated by hand, or ended while it
            # started, EC2 answers with the dead one, or (since 2025) says that it is dead. A further attempt is a
            # further token.
            answer = view.ec2(node, "run_instances", tolerate=("IdempotentInstanceTerminated",), **request)
            if not answer:
                continue
            instance = str(answer["Instances"][0]["InstanceId"])
            state = view.cloud.wait(
                node.key,
                "visible",
                lambda: self._state(view, node.key, node.region, instance),  # noqa: B023  # called before it changes
                _BOOT_SECONDS,
            )
            if state not in ("shutting-down", "terminated"):
                return instance
            dead = f" ({instance}, {self._why_ended(view, node.key, node.region, instance)})"
        raise ProvisionError(
            f"{node.key}: AWS answers with terminated instances only{dead}; correct what ends them and run again"
        )

    def _request(self, view: View, node: Node) -> dict[str, Any]:
        spec: InstanceSpec = node.spec
        image = image_id(view.cloud, node.region, spec.image)
        outside = _outside(view, spec)
        digest = spec.digest(view.id(spec.bucket), outside)
        request: dict[str, Any] = {
            "ImageId": image,
            "InstanceType": spec.type,
            "MinCount": 1,
            "MaxCount": 1,
            # Top-level subnet and address exclude NetworkInterfaces, which alone can ask for a public address.
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "SubnetId": view.id(spec.subnet),
                    **_private(spec.addresses),
                    "Groups": [view.id(spec.firewall)],
                    "AssociatePublicIpAddress": spec.public,
                    "DeleteOnTermination": True,
                }
            ],
            "BlockDeviceMappings": [
                {
                    "DeviceName": root_device(view.cloud, node.region, image, node.key),
                    "Ebs": {
                        "VolumeSize": spec.volume_gib,
                        "VolumeType": "gp3",
                        "Encrypted": True,
                        "DeleteOnTermination": True,
                    },
                }
            ],
            "MetadataOptions": {
                "HttpTokens": "required",
                "HttpEndpoint": "enabled",
                "HttpPutResponseHopLimit": 1,
                "InstanceMetadataTags": "enabled",
            },
            "IamInstanceProfile": {"Name": view.id(spec.identity)},
            # A host that ends itself at its expiry keeps what it measured; `down` or `reap` takes it away.
            "InstanceInitiatedShutdownBehavior": "stop",
            "UserData": spec.user_data(view.id(spec.bucket), outside),
            "TagSpecifications": view.deployment.tag_specification(
                node.key, "instance", "volume", "network-interface", **{SPEC_TAG: digest}
            ),
        }
        if spec.credit_mode:
            request["CreditSpecification"] = {"CpuCredits": spec.credit_mode}
        if spec.key_pair:
            request["KeyName"] = view.id(spec.key_pair)
        if spec.placement_group:
            request["Placement"] = {"GroupName": view.id(spec.placement_group)}
        return request

    def _others_in(self, view: View, node: Node, subnet: Node) -> list[str]:
        standing = (
            found.key
            for found in view.found.values()
            if found.kind == self.name and found.facts.get("SubnetId") == view.id(subnet.key)
        )
        launched = (key for key, where in view.launched.items() if where == subnet.key)
        return sorted({*standing, *launched} - {node.key})

    def _move(self, view: View, subnet: Node, kind: SubnetKind, zone: str) -> bool:
        """Make the subnet anew in another zone: the address is fixed, so the host cannot go without its subnet.

        Returns:
            False if AWS keeps the subnet for something in it, such as a host whose launch was not answered.
        """
        answer = view.ec2(subnet, "delete_subnet", tolerate=("DependencyViolation",), SubnetId=view.id(subnet.key))
        if not answer:
            return False
        view.ended.add(view.found.pop(subnet.key).id)
        view.found[subnet.key] = view.cloud.create_once(
            subnet.key,
            lambda: kind.find(view, subnet.region, subnet.key),
            lambda: kind.create_in(view, subnet, zone),
        )
        for key, node in view.nodes.items():
            if node.kind == "route-table" and subnet.key in node.spec.subnets:
                table = view.found[key]
                view.cloud.call(
                    subnet.region,
                    "ec2",
                    "associate_route_table",
                    key,
                    RouteTableId=table.id,
                    SubnetId=view.id(subnet.key),
                )
        return True

    def _state(self, view: View, key: str, region: str, instance: str) -> str | None:
        facts = self._facts(view, key, region, instance)
        return str(facts["State"]["Name"]) if facts else None

    def _why_ended(self, view: View, key: str, region: str, instance: str) -> str:
        """AWS's reason for the state of an instance (EC2 API, "StateReason"); of several it tells the last."""
        facts = self._facts(view, key, region, instance)
        reason = facts.get("StateReason", {}).get("Message") or facts.get("StateTransitionReason")
        return reason or "AWS tells no reason"

    def _facts(self, view: View, key: str, region: str, instance: str) -> Mapping[str, Any]:
        answer = view.cloud.pages(
            region,
            "ec2",
            "describe_instances",
            "Reservations",
            key,
            Filters=[{"Name": "instance-id", "Values": [instance]}],
        )
        return next((item for reservation in answer for item in reservation["Instances"]), {})

    def _running(self, view: View, node: Node, instance: str) -> None:
        def probe() -> bool | None:
            state = self._state(view, node.key, node.region, instance)
            if state in ("shutting-down", "terminated"):
                raise ProvisionError(
                    f"{node.key}: {instance} in {node.region} ended while starting: "
                    f"{self._why_ended(view, node.key, node.region, instance)}; often a volume quota or an encryption "
                    "key that these credentials may not use: correct that and run again"
                )
            return True if state == "running" else None

        view.cloud.wait(node.key, "running", probe, _BOOT_SECONDS, pause=1.0)

    def _start(self, view: View, node: Node, found: Found) -> None:
        view.cloud.wait(
            node.key,
            "stopped",
            lambda: self._state(view, node.key, node.region, found.id) != "stopping" or None,
            _BOOT_SECONDS,
        )
        view.ec2(node, "start_instances", InstanceIds=[found.id])
        self._running(view, node, found.id)

    def _modify(self, view: View, node: Node, found: Found, **attribute: Any) -> None:
        view.ec2(node, "modify_instance_attribute", InstanceId=found.id, **attribute)

    def _imds(self, view: View, node: Node, found: Found) -> None:
        view.ec2(
            node, "modify_instance_metadata_options", InstanceId=found.id, HttpTokens="required", HttpEndpoint="enabled"
        )


def _outside(view: View, spec: InstanceSpec) -> Outside:
    return tuple((key, outside_address(view.found[key])) for key in spec.outside)


def outside_address(found: Found) -> str:
    """The address of an Elastic IP or an accelerator; of the latter's two the first."""
    if found.kind == "accelerator":
        return str(found.facts["IpSets"][0]["IpAddresses"][0])
    return str(found.facts["PublicIp"])


def _private(addresses: tuple[str, ...]) -> dict[str, Any]:
    """The interface's private addresses: one has a field, several a list (EC2 API, RunInstances)."""
    if len(addresses) == 1:
        return {"PrivateIpAddress": addresses[0]}
    return {
        "PrivateIpAddresses": [
            {"PrivateIpAddress": address, "Primary": number == 0} for number, address in enumerate(addresses)
        ]
    }


def _beside(node: Node) -> str:
    return str(node.spec.beside) if node.kind == "subnet" else ""


def _token(view: View, node: Node, request: Mapping[str, Any], attempt: int) -> str:
    """A client token that is the same for the same request of the same deployment, and only then."""
    told = json.dumps([view.deployment.name, node.key, request, attempt], sort_keys=True)
    return base64.b32encode(hashlib.sha256(told.encode()).digest()).decode().rstrip("=").lower()
