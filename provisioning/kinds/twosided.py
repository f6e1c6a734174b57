"""What one region asks for and another accepts: VPC peerings, and peerings of transit gateways.

Both regions know it by one id, each has states and tags of its own, and the accepter's may not know the id for a while.
What is accepted before the request has arrived is refused like what was accepted already, so arrival is waited for.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from provisioning.model import Difference, Ec2Kind, Found, Node, View, tags_of

__all__ = ["TwoSidedKind"]


class TwoSidedKind(Ec2Kind):
    """A kind whose nodes' specs name an ``accepter_region``; it is found in the requester's region."""

    accepting: ClassVar[str]
    """The call that accepts."""
    requesting: ClassVar[tuple[str, ...]]
    """States before the request has arrived."""
    asked: ClassVar[str]
    """The state of what waits for acceptance."""
    standing: ClassVar[str]
    """The state of what carries packets."""
    accepted_already: ClassVar[str]
    """What the call answers when another operator was faster, or the answer to this very call was lost."""
    within_seconds: ClassVar[float]
    pause_seconds: ClassVar[float]

    def described(self, view: View, key: str, region: str, identity: str) -> Mapping[str, Any]:
        """What a region knows of it; empty while the id is not known."""
        raise NotImplementedError

    def living(self, view: View, key: str, region: str, identity: str) -> str:
        """Its state in a region; empty while the id is not known.

        Raises:
            ProvisionError: it is dead.
        """
        raise NotImplementedError

    def requested(self, view: View, key: str, region: str, identity: str) -> str:
        """Wait until a region knows of the request; return the state it is in there.

        Raises:
            PendingError: it takes too long.
            ProvisionError: it is dead.
        """

        def beyond() -> str | None:
            state = self.living(view, key, region, identity)
            return None if state in ("", *self.requesting) else state

        return view.cloud.wait(key, f"requested in {region}", beyond, self.within_seconds, self.pause_seconds)

    def accept(self, view: View, node: Node, found: Found) -> None:
        """Accept it in the other region, and wait until both know: a route made while one does not is refused.

        Raises:
            PendingError: it takes too long.
            ProvisionError: it is dead.
        """
        there = node.spec.accepter_region
        if self.requested(view, node.key, there, found.id) == self.asked:
            already, which = (self.accepted_already,), {self.id_key: found.id}
            view.cloud.call(there, "ec2", self.accepting, node.key, tolerate=already, **which)
        for region in (node.region, there):
            view.cloud.wait(
                node.key,
                f"{self.standing} in {region}",
                lambda region=region: self.living(view, node.key, region, found.id) == self.standing or None,  # type: ignore[misc]
                self.within_seconds,
                self.pause_seconds,
            )

    def tagged_there(self, view: View, node: Node, identity: str, there: Mapping[str, Any]) -> Iterator[Difference]:
        """Have the accepter's side carry the tags too: those of the requester's are not seen there.

        Args:
            view: what is known.
            node: what shall stand.
            identity: its id.
            there: what the accepter's region knows of it.
        """
        have, want, region = tags_of(there), view.deployment.tags(node.key), node.spec.accepter_region
        wrong = [{"Key": name, "Value": value} for name, value in want.items() if have.get(name) != value]

        def tag() -> None:
            view.cloud.call(region, "ec2", "create_tags", node.key, Resources=[identity], Tags=wrong)

        if wrong:
            yield Difference(f"tag the side in {region}", tag)
