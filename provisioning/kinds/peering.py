"""VPC peering connections across regions.

The states are those of the VPC peering guide ("VPC peering connection lifecycle"). The dead ones stay visible for
hours and are ignored: a deployment built again right after ``down`` must not mistake a deleted peering for its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import ProvisionError
from provisioning.kinds.twosided import TwoSidedKind
from provisioning.model import Difference, Found, Node, View, tag_differences

__all__ = ["PeeringKind", "PeeringSpec"]

_ALIVE = ("initiating-request", "pending-acceptance", "provisioning", "active")
_WITHIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class PeeringSpec:
    requester: str
    accepter: str
    accepter_region: str
    multipath: bool = False


class PeeringKind(TwoSidedKind):
    name: ClassVar[str] = "peering"
    describe: ClassVar[str] = "describe_vpc_peering_connections"
    list_key: ClassVar[str] = "VpcPeeringConnections"
    id_key: ClassVar[str] = "VpcPeeringConnectionId"
    accepting: ClassVar[str] = "accept_vpc_peering_connection"
    requesting: ClassVar[tuple[str, ...]] = ("initiating-request",)
    asked: ClassVar[str] = "pending-acceptance"
    standing: ClassVar[str] = "active"
    accepted_already: ClassVar[str] = "InvalidStateTransition"
    within_seconds: ClassVar[float] = _WITHIN_SECONDS
    pause_seconds: ClassVar[float] = 0.5

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        return item["Status"]["Code"] in _ALIVE and item["RequesterVpcInfo"].get("Region", region) == region

    def rank(self, found: Found) -> tuple[Any, ...]:
        return found.key, found.facts["Status"]["Code"] != "active", found.id

    def create(self, view: View, node: Node) -> None:
        answer = view.make(
            node,
            "create_vpc_peering_connection",
            "vpc-peering-connection",
            VpcId=view.id(node.spec.requester),
            PeerVpcId=view.id(node.spec.accepter),
            PeerRegion=node.spec.accepter_region,
        )
        self.requested(view, node.key, node.region, answer["VpcPeeringConnection"][self.id_key])

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        ends = (found.facts["RequesterVpcInfo"].get("VpcId"), found.facts["AccepterVpcInfo"].get("VpcId"))
        if ends != (view.id(node.spec.requester), view.id(node.spec.accepter)):
            yield Difference(f"joins {ends[0]} and {ends[1]}", replace=True)
            return
        if found.facts["Status"]["Code"] != "active":
            yield Difference(
                f"accept in {node.spec.accepter_region}, now {found.facts['Status']['Code']}",
                lambda: self.accept(view, node, found),
            )
        there = self.described(view, node.key, node.spec.accepter_region, found.id)
        yield from self._multipath(view, node, found, there)
        yield from self.tagged_there(view, node, found.id, there)

    def delete(self, view: View, found: Found) -> None:
        view.ec2(
            found,
            "delete_vpc_peering_connection",
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

    def _multipath(self, view: View, node: Node, found: Found, there: Mapping[str, Any]) -> Iterator[Difference]:
        """Have both sides allow multipath resilience, or neither: each allows it in its own region.

        It takes effect when both do, and is pending until then (EC2 API, ModifyVpcPeeringConnectionOptions).
        """
        want = node.spec.multipath
        sides = (("Requester", node.region, found.facts), ("Accepter", node.spec.accepter_region, there))
        unlike = False
        for side, region, facts in sides:
            options = (facts.get(f"{side}VpcInfo") or {}).get("PeeringOptions") or {}
            if bool(options.get("AllowMultipathResilience")) != want:
                unlike = True
                yield Difference(
                    f"{'allow' if want else 'end'} multipath resilience in {region}",
                    lambda side=side, region=region: self._allow(view, node, found, side, region),  # type: ignore[misc]
                )
        if want and not unlike and found.facts.get("MultipathResilienceStatus") == "pending":
            yield Difference("wait until multipath resilience is enabled", lambda: self._enabled(view, node, found.id))

    def _allow(self, view: View, node: Node, found: Found, side: str, region: str) -> None:
        options: dict[str, Any] = {"AllowMultipathResilience": node.spec.multipath}
        if node.spec.multipath:
            options["MultipathResilienceMode"] = "always-on"
        view.cloud.call(
            region,
            "ec2",
            "modify_vpc_peering_connection_options",
            node.key,
            VpcPeeringConnectionId=found.id,
            **{f"{side}PeeringConnectionOptions": options},
        )

    def _enabled(self, view: View, node: Node, identity: str) -> None:
        """Wait until the change of both sides is through."""

        def settled() -> bool | None:
            item = self.described(view, node.key, node.region, identity)
            return None if item.get("MultipathResilienceStatus") == "pending" else True

        view.cloud.wait(node.key, "enabled for multipath resilience", settled, _WITHIN_SECONDS)

    def described(self, view: View, key: str, region: str, identity: str) -> Mapping[str, Any]:
        # The filter, unlike the id parameter, answers an id that is not known yet with an empty list.
        items = view.cloud.pages(
            region,
            "ec2",
            "describe_vpc_peering_connections",
            "VpcPeeringConnections",
            key,
            Filters=[{"Name": "vpc-peering-connection-id", "Values": [identity]}],
        )
        return next((item for item in items if item["VpcPeeringConnectionId"] == identity), {})

    def living(self, view: View, key: str, region: str, identity: str) -> str:
        status = self.described(view, key, region, identity).get("Status")
        if status and status["Code"] not in _ALIVE:
            raise ProvisionError(
                f"{key}: {identity} in {region} is {status['Code']}: {status.get('Message', 'no reason given')}; "
                "the address blocks must not overlap and both VPCs must exist: correct the topology and run again"
            )
        return str(status["Code"]) if status else ""

    def _gone(self, view: View, found: Found, region: str) -> bool | None:
        item = self.described(view, found.key, region, found.id)
        return True if not item or item["Status"]["Code"] not in (*_ALIVE, "deleting") else None
