"""Global Accelerator: an accelerator, its listeners with what they lead to, and what it leaves in a VPC.

The service has one API for the whole world, in us-west-2. An accelerator is disabled before it is deleted, and has no
listeners then; its states are ``IN_PROGRESS`` and ``DEPLOYED`` (Global Accelerator API). It keeps the addresses of
clients by interfaces of its own in the subnets of its endpoints, which wear a group of its own ("Client IP address
preservation"): the interfaces go some time after the endpoints, the group stays and stands in the VPC's way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import AwsError
from provisioning.model import (
    DEPLOYMENT_TAG,
    KEY_TAG,
    Difference,
    Ec2Kind,
    Found,
    Kind,
    Node,
    View,
    tag_filters,
    tags_of,
)
from provisioning.names import resource_name

__all__ = ["AcceleratorKind", "AcceleratorSpec", "LeftoverGroupKind", "ListenerKind", "ListenerSpec"]

_REGION = "us-west-2"
_SERVICE = "globalaccelerator"
_WITHIN_SECONDS = 2400.0
"""A minute is usual; public reports tell of half an hour."""
_PAUSE_SECONDS = 15.0
_GROUP_NAME = "GlobalAccelerator"


@dataclass(frozen=True, slots=True)
class AcceleratorSpec:
    """Nothing but its node's key makes one like another."""


class AcceleratorKind(Kind):
    name: ClassVar[str] = "accelerator"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        found = []
        about = key or self.name
        for item in view.cloud.pages(_REGION, _SERVICE, "list_accelerators", "Accelerators", about):
            told = view.cloud.call(
                _REGION,
                _SERVICE,
                "list_tags_for_resource",
                about,
                tolerate=("AcceleratorNotFoundException",),
                ResourceArn=item["AcceleratorArn"],
            )
            tags = tags_of(told)
            if tags.get(DEPLOYMENT_TAG) == view.deployment.name and key in (None, tags.get(KEY_TAG)):
                facts = {**item, "Tags": told["Tags"]}
                found.append(Found(tags.get(KEY_TAG, ""), self.name, region, item["AcceleratorArn"], facts))
        return sorted(found, key=lambda item: (item.key, item.id))

    def create(self, view: View, node: Node) -> None:
        view.cloud.call(
            _REGION,
            _SERVICE,
            "create_accelerator",
            node.key,
            Name=resource_name(view.deployment.name, node.key.partition("/")[2]),
            IpAddressType="IPV4",
            Enabled=True,
            Tags=view.deployment.tag_list(node.key),
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        have, want = tags_of(found.facts), view.deployment.tags(node.key)
        if wrong := {name: value for name, value in want.items() if have.get(name) != value}:
            yield Difference(
                "tag " + ", ".join(f"{name}={value}" for name, value in sorted(wrong.items())),
                lambda: self._tag(view, found, wrong),
            )
        if not found.facts["Enabled"]:
            yield Difference("enable", lambda: self._switch(view, found, enabled=True))

    def delete(self, view: View, found: Found) -> None:
        self._switch(view, found, enabled=False)
        view.cloud.call(_REGION, _SERVICE, "delete_accelerator", found.key, AcceleratorArn=found.id)

    def _tag(self, view: View, found: Found, tags: Mapping[str, str]) -> None:
        pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
        view.cloud.call(_REGION, _SERVICE, "tag_resource", found.key, ResourceArn=found.id, Tags=pairs)

    def _switch(self, view: View, found: Found, *, enabled: bool) -> None:
        # While one change is under way another is refused.
        deployed(view, found.key, found.id)
        view.cloud.call(
            _REGION,
            _SERVICE,
            "update_accelerator",
            found.key,
            tolerate=("AcceleratorNotFoundException",),
            AcceleratorArn=found.id,
            Enabled=enabled,
        )
        deployed(view, found.key, found.id)


def deployed(view: View, key: str, accelerator: str) -> None:
    """Wait until no change of an accelerator is under way, or it is gone.

    Raises:
        PendingError: it takes too long.
    """

    def there() -> bool | None:
        answer = view.cloud.call(
            _REGION,
            _SERVICE,
            "describe_accelerator",
            key,
            tolerate=("AcceleratorNotFoundException",),
            AcceleratorArn=accelerator,
        )
        return answer.get("Accelerator", {}).get("Status", "DEPLOYED") == "DEPLOYED" or None

    view.cloud.wait(key, "deployed", there, _WITHIN_SECONDS, _PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """A port of an accelerator, which leads to the same port of a host in a region."""

    accelerator: str
    protocol: str
    port: int
    host: str
    host_region: str


class ListenerKind(Kind):
    """A listener with its endpoint groups; neither carries tags, so they are found by their accelerator."""

    name: ClassVar[str] = "listener"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        found = []
        for accelerator in AcceleratorKind().find(view, region):
            for item in self._pages(view, "list_listeners", "Listeners", AcceleratorArn=accelerator.id):
                name = f"{item['Protocol'].lower()}-{item['PortRanges'][0]['FromPort']}"
                own = f"listener/{accelerator.key.partition('/')[2]}/{name}"
                groups = self._pages(view, "list_endpoint_groups", "EndpointGroups", ListenerArn=item["ListenerArn"])
                facts = {**item, "AcceleratorArn": accelerator.id, "Groups": groups}
                if key in (None, own):
                    found.append(Found(own, self.name, region, item["ListenerArn"], facts))
        return sorted(found, key=lambda item: (item.key, item.id))

    def fits(self, view: View, node: Node, found: Found) -> bool:
        return bool(found.facts["AcceleratorArn"] == view.id(node.spec.accelerator))

    def create(self, view: View, node: Node) -> None:
        view.cloud.call(
            _REGION,
            _SERVICE,
            "create_listener",
            node.key,
            AcceleratorArn=view.id(node.spec.accelerator),
            Protocol=node.spec.protocol,
            PortRanges=[{"FromPort": node.spec.port, "ToPort": node.spec.port}],
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        groups = {group["EndpointGroupRegion"]: group for group in found.facts["Groups"]}
        group = groups.get(node.spec.host_region)
        led = [item["EndpointId"] for item in (group or {}).get("EndpointDescriptions", [])]
        if led != [view.id(node.spec.host)]:
            yield Difference(f"lead to {node.spec.host}", lambda: self._lead(view, node, found, group))

    def delete(self, view: View, found: Found) -> None:
        for group in found.facts["Groups"]:
            self._end(view, found.key, "delete_endpoint_group", EndpointGroupArn=group["EndpointGroupArn"])
        self._end(view, found.key, "delete_listener", ListenerArn=found.id)

    def _lead(self, view: View, node: Node, found: Found, group: Mapping[str, Any] | None) -> None:
        # Its health is looked at from addresses that the firewall does not let in; without a healthy endpoint traffic
        # goes to all ("Health checks for endpoints"), and there is one.
        endpoint = {"EndpointId": view.id(node.spec.host), "ClientIPPreservationEnabled": True}
        wanted = {
            "EndpointConfigurations": [endpoint],
            "HealthCheckProtocol": "TCP",
            "HealthCheckPort": node.spec.port,
        }
        deployed(view, node.key, found.facts["AcceleratorArn"])
        if group is None:
            view.cloud.call(
                _REGION,
                _SERVICE,
                "create_endpoint_group",
                node.key,
                tolerate=("EndpointGroupAlreadyExistsException",),
                ListenerArn=found.id,
                EndpointGroupRegion=node.spec.host_region,
                **wanted,
            )
        else:
            arn = group["EndpointGroupArn"]
            view.cloud.call(_REGION, _SERVICE, "update_endpoint_group", node.key, EndpointGroupArn=arn, **wanted)
        deployed(view, node.key, found.facts["AcceleratorArn"])

    def _end(self, view: View, key: str, operation: str, **which: str) -> None:
        view.cloud.call(_REGION, _SERVICE, operation, key, **which)

    def _pages(self, view: View, operation: str, list_key: str, **which: str) -> list[dict[str, Any]]:
        try:
            return view.cloud.pages(_REGION, _SERVICE, operation, list_key, self.name, **which)
        except AwsError as error:
            # It was ended since it was listed.
            if not error.code.endswith("NotFoundException"):
                raise
            return []


class LeftoverGroupKind(Ec2Kind):
    """The group that an accelerator made in our VPC: looked for by `down` alone, which takes it away.

    It has no tags and nothing but its name and its VPC tells what it is; it is tagged before it is removed, for what
    carries no deployment's tag nobody lets us remove.
    """

    name: ClassVar[str] = "accelerator-group"
    describe: ClassVar[str] = "describe_security_groups"
    list_key: ClassVar[str] = "SecurityGroups"
    id_key: ClassVar[str] = "GroupId"

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        named = [{"Name": "group-name", "Values": [_GROUP_NAME]}]
        groups = view.cloud.pages(region, "ec2", self.describe, self.list_key, self.name, Filters=named)
        if not groups:
            return []
        own = view.cloud.pages(region, "ec2", "describe_vpcs", "Vpcs", self.name, Filters=tag_filters(view, None))
        vpcs = {item["VpcId"]: tags_of(item).get(KEY_TAG, "") for item in own}
        sites = {vpc: f"accelerator-group/{key.partition('/')[2]}" for vpc, key in vpcs.items()}
        return [
            Found(sites[item["VpcId"]], self.name, region, item["GroupId"], item)
            for item in groups
            if item["GroupName"] == _GROUP_NAME and item["VpcId"] in vpcs and item["GroupId"] not in view.ended
        ]

    def create(self, view: View, node: Node) -> None:
        raise AssertionError(f"{self.name} is made by Global Accelerator")

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from ()

    def delete(self, view: View, found: Found) -> None:
        view.cloud.wait(
            found.key,
            "free of Global Accelerator's interfaces",
            lambda: None if self._interfaces(view, found) else True,
            _WITHIN_SECONDS,
            _PAUSE_SECONDS,
        )
        tags = view.deployment.tag_list(found.key)
        view.ec2(found, "create_tags", Resources=[found.id], Tags=tags)
        view.ec2(found, "delete_security_group", GroupId=found.id)

    def _interfaces(self, view: View, found: Found) -> list[dict[str, Any]]:
        wearing = [{"Name": "group-id", "Values": [found.id]}]
        items = view.cloud.pages(
            found.region, "ec2", "describe_network_interfaces", "NetworkInterfaces", found.key, Filters=wearing
        )
        return [item for item in items if item.get("InterfaceType") == "global_accelerator_managed"]
