"""VPC peering connections across regions.

The states are those of the VPC peering guide ("VPC peering connection lifecycle"). The dead ones stay visible for
hours and are ignored: a deployment built again right after ``down`` must not mistake a deleted peering for its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import ProvisionError
from provisioning.model import Difference, Ec2Kind, Found, Node, View, tag_differences

__all__ = ["PeeringKind", "PeeringSpec"]

_ALIVE = ("initiating-request", "pending-acceptance", "provisioning", "active")
_WITHIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class PeeringSpec:
    requester: str
    accepter: str
    accepter_region: str


class PeeringKind(Ec2Kind):
    """Found in the requester's region; the accepter's side has its own tags, which are kept too."""

    name: ClassVar[str] = "peering"
    describe: ClassVar[str] = "describe_vpc_peering_connections"
    list_key: ClassVar[str] = "VpcPeeringConnections"
    id_key: ClassVar[str] = "VpcPeeringConnectionId"

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        return item["Status"]["Code"] in _ALIVE and item["RequesterVpcInfo"].get("Region", region) == region

    def rank(self, found: Found) -> tuple[Any, ...]:
        return found.key, found.facts["Status"]["Code"] != "active", found.id

    def create(self, view: View, node: Node) -> None:
        answer = view.cloud.call(
            node.region,
            "ec2",
            "create_vpc_peering_connection",
            node.key,
            VpcId=view.id(node.spec.requester),
            PeerVpcId=view.id(node.spec.accepter),
            PeerRegion=node.spec.accepter_region,
            TagSpecifications=view.deployment.tag_specification(node.key, "vpc-peering-connection"),
        )
        identity = answer["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        view.cloud.wait(
            node.key,
            "requested",
            lambda: self._beyond(view, node.key, node.region, identity, "initiating-request"),
            _WITHIN_SECONDS,
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        ends = (found.facts["RequesterVpcInfo"].get("VpcId"), found.facts["AccepterVpcInfo"].get("VpcId"))
        if ends != (view.id(node.spec.requester), view.id(node.spec.accepter)):
            yield Difference(f"joins {ends[0]} and {ends[1]}", replace=True)
            return
        if found.facts["Status"]["Code"] != "active":
            yield Difference(
                f"accept in {node.spec.accepter_region}, now {found.facts['Status']['Code']}",
                lambda: self._accept(view, node, found),
            )
        there = self._describe(view, node.key, node.spec.accepter_region, found.id)
        want = view.deployment.tags(node.key)
        have = {tag["Key"]: tag["Value"] for tag in (there or {}).get("Tags") or []}
        if any(have.get(name) != value for name, value in want.items()):
            yield Difference(f"tag the side in {node.spec.accepter_region}", lambda: self._tag_there(view, node, found))

    def delete(self, view: View, found: Found) -> None:
        view.cloud.call(
            found.region,
            "ec2",
            "delete_vpc_peering_connection",
            found.key,
            tolerate=("InvalidStateTransition",),
            VpcPeeringConnectionId=found.id,
        )
        for region in {found.region, found.facts["AccepterVpcInfo"].get("Region", found.region)}:
            view.cloud.wait(
                found.key,
                f"deleted in {region}",
                lambda region=region: self._gone(view, found, region),  # type: ignore[misc]
                _WITHIN_SECONDS,
            )

    def _accept(self, view: View, node: Node, found: Found) -> None:
        # The accepter's region may not know the id for a while, and has to be past the request itself: what is accepted
        # before is refused like what was accepted already.
        there = node.spec.accepter_region
        state = view.cloud.wait(
            node.key,
            f"requested in {there}",
            lambda: self._beyond(view, node.key, there, found.id, "initiating-request"),
            _WITHIN_SECONDS,
        )
        if state == "pending-acceptance":
            view.cloud.call(
                there,
                "ec2",
                "accept_vpc_peering_connection",
                node.key,
                tolerate=("InvalidStateTransition",),
                VpcPeeringConnectionId=found.id,
            )
        # A route made while one side is not active yet is refused: both must be.
        for region in (node.region, node.spec.accepter_region):
            view.cloud.wait(
                node.key,
                f"active in {region}",
                lambda region=region: self._active(view, node.key, region, found.id),  # type: ignore[misc]
                _WITHIN_SECONDS,
            )

    def _tag_there(self, view: View, node: Node, found: Found) -> None:
        view.cloud.call(
            node.spec.accepter_region,
            "ec2",
            "create_tags",
            node.key,
            Resources=[found.id],
            Tags=view.deployment.tag_list(node.key),
        )

    def _describe(self, view: View, key: str, region: str, identity: str) -> Mapping[str, Any] | None:
        # The filter, unlike the id parameter, answers an id that is not known yet with an empty list.
        items = view.cloud.pages(
            region,
            "ec2",
            "describe_vpc_peering_connections",
            "VpcPeeringConnections",
            key,
            Filters=[{"Name": "vpc-peering-connection-id", "Values": [identity]}],
        )
        return next((item for item in items if item["VpcPeeringConnectionId"] == identity), None)

    def _beyond(self, view: View, key: str, region: str, identity: str, state: str) -> str | None:
        item = self._describe(view, key, region, identity)
        if item is None or item["Status"]["Code"] == state:
            return None
        status = item["Status"]
        if status["Code"] not in _ALIVE:
            raise ProvisionError(
                f"{key}: {identity} in {region} is {status['Code']}: {status.get('Message', 'no reason given')}; "
                "the address blocks must not overlap and both VPCs must exist: correct the topology and run again"
            )
        return str(status["Code"])

    def _active(self, view: View, key: str, region: str, identity: str) -> bool | None:
        state = self._beyond(view, key, region, identity, "provisioning")
        return True if state == "active" else None

    def _gone(self, view: View, found: Found, region: str) -> bool | None:
        item = self._describe(view, found.key, region, found.id)
        return True if item is None or item["Status"]["Code"] not in (*_ALIVE, "deleting") else None
