"""Read what is, compare with what shall be, and change the one into the other, from any state in between.

Nothing is remembered between runs. Each run reads the account by tags, acts on the differences, and reads again
until there are none; so a run that was killed anywhere is completed by the next one, and a run that ends without an
error has seen the state it claims.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from provisioning.errors import AwsError, PendingError, ProvisionError, RemainsError
from provisioning.kinds.accelerator import AcceleratorKind, LeftoverGroupKind, ListenerKind
from provisioning.kinds.compute import (
    AddressKind,
    InterfaceKind,
    KeyPairKind,
    PlacementGroupKind,
    VolumeKind,
)
from provisioning.kinds.identity import IdentityKind
from provisioning.kinds.instance import InstanceKind
from provisioning.kinds.network import GatewayKind, RouteTableKind, SubnetKind, VpcKind
from provisioning.kinds.peering import PeeringKind
from provisioning.kinds.security import SecurityGroupKind
from provisioning.kinds.storage import BucketKind, ObjectKind
from provisioning.kinds.transit import TransitAttachmentKind, TransitGatewayKind, TransitPeeringKind, TransitTableKind
from provisioning.model import Found, Kind, Node, View
from provisioning.removal import Left, Removal
from provisioning.steps import Event, Step
from provisioning.survey import survey

__all__ = ["KINDS", "Engine"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        VpcKind(),
        SubnetKind(),
        GatewayKind(),
        RouteTableKind(),
        PeeringKind(),
        TransitGatewayKind(),
        TransitAttachmentKind(),
        TransitPeeringKind(),
        TransitTableKind(),
        SecurityGroupKind(),
        KeyPairKind(),
        PlacementGroupKind(),
        InstanceKind(),
        AddressKind(),
        BucketKind(),
        ObjectKind(),
        IdentityKind(),
        VolumeKind(),
        InterfaceKind(),
        AcceleratorKind(),
        ListenerKind(),
        LeftoverGroupKind(),
    )
}

_ROUNDS = 8
_WORKERS = 16
_LISTED_WITHIN_SECONDS = 10.0
"""A list may lack what was made so long ago, and tell of what was taken away so long ago (EC2 API, "Eventual
consistency", which names no time: it is assumed). A look that comes sooner after the run began may miss what a run that
was killed just before has made; a run that ends sooner after a removal leaves a next one to build on what is gone."""
_OPTIONAL_KINDS = {"volume", "network-interface", "accelerator-group"}
"""They come and go with their instances, or with what leads to them, so only ``down`` looks for them."""

T = TypeVar("T")
R = TypeVar("R")


class Engine:
    """Brings a deployment into being, keeps it as its topology says, and takes it away.

    Args:
        view: the deployment, with the nodes that shall exist (none for :meth:`remove`).
        report: is told each event, from several threads.
    """

    def __init__(self, view: View, report: Callable[[Event], None]) -> None:
        self.view = view
        self._report = report

    def read(self, *, everything: bool = False) -> None:
        """Look wherever the deployment stands and sort what is there: one resource for each node, the rest is surplus.

        Args:
            everything: look for the kinds too that no node asks for.
        """
        self._survey()
        resources = self._look(everything)
        for pause in (1.0, 2.0, 4.0):
            # A VPC that its own parts are seen to stand in exists, whatever the list of VPCs says yet, and so does a
            # bucket with objects: deleting the parts as strangers on the word of a late answer would be a disaster.
            if not self._orphans(resources):
                break
            self.view.cloud.clock.sleep(pause)
            resources = self._look(everything)
        self.view.deployment = self.view.deployment.adopting(resources)
        self.view.found, self.view.surplus = {}, []
        # A VPC that somebody made and could not see is empty: it never takes the place of one that holds something.
        held = {found.facts["VpcId"] for found in resources if found.kind != "vpc" and "VpcId" in found.facts}
        for kind in KINDS.values():  # VPCs come first: the others are judged by the VPC they stand in
            of_kind = (item for item in resources if item.kind == kind.name)
            for found in sorted(of_kind, key=lambda item: item.kind == "vpc" and item.id not in held):
                node = self.view.nodes.get(found.key)
                if node is None or found.key in self.view.found or not self._fits(node, found):
                    self.view.surplus.append(found)
                else:
                    self.view.found[found.key] = found

    def plan(self) -> list[Step]:
        """The differences between what was read and what shall be; changes nothing."""
        steps = [Step("remove", found.key, found.region, (found.id,)) for found in self._removable_surplus()]
        for node in self.view.nodes.values():
            found = self.view.found.get(node.key)
            if found is None:
                steps.append(Step("create", node.key, node.region))
                continue
            differences = list(KINDS[node.kind].differences(self.view, node, found))
            texts = tuple(difference.text for difference in differences)
            if any(difference.replace for difference in differences):
                steps.append(Step("replace", node.key, node.region, texts))
            elif any(difference.mend is None for difference in differences):
                steps.append(Step("blocked", node.key, node.region, texts))
            elif differences:
                steps.append(Step("change", node.key, node.region, texts))
        return steps

    def apply(self) -> None:
        """Act until a fresh look shows no difference.

        Raises:
            ProvisionError: something cannot be changed, was refused, or does not settle.
        """
        steps: list[Step] = []
        began = self.view.cloud.clock.monotonic()
        changed = False
        for attempt in range(_ROUNDS):
            self.read()
            steps = self.plan()
            if not steps:
                if changed and self._settle(began):
                    continue
                return
            changed = True
            if blocked := [step for step in steps if step.verb == "blocked"]:
                raise ProvisionError(f"{blocked[0].key} in {blocked[0].region}: {'; '.join(blocked[0].texts)}")
            if attempt:
                self.view.cloud.clock.sleep(attempt)
            replaced = [self.view.found.pop(step.key) for step in steps if step.verb == "replace"]
            if cleared := [*self._removable_surplus(), *replaced]:
                self._clear(cleared)
                began = self.view.cloud.clock.monotonic()
            self._converge()
        still = "; ".join(f"{step.verb} {step.key} {', '.join(step.texts)}" for step in steps)
        raise PendingError(f"{self.view.deployment.name}: does not settle, still to do: {still}; run the command again")

    def remove(self) -> None:
        """Delete everything that carries the deployment's tags, then look again at every region.

        Raises:
            RemainsError: something is left.
        """
        began = self.view.cloud.clock.monotonic()
        removal = self._removal()
        refused: dict[tuple[str, str], Left] = {}
        left: list[Found] = []
        for attempt in range(_ROUNDS):
            self.read(everything=True)
            left = [*self.view.found.values(), *self.view.surplus]
            # What is refused whenever it is tried stays: nothing else is there any more that could be in its way.
            if not left and self._settle(began):
                continue
            if not left or refused.keys() == {(found.kind, found.id) for found in left}:
                break
            if attempt:
                self.view.cloud.clock.sleep(2.0 * attempt)
            refused = {(item.found.kind, item.found.id): item for item in removal.delete(left)}
            began = self.view.cloud.clock.monotonic()
        if left:
            raise _remains(self.view.deployment.name, left, refused)

    def standing(self) -> list[Found]:
        """Everything that carries the deployment's tags; empty only after looks so far apart that nothing is hidden."""
        began = self.view.cloud.clock.monotonic()
        while True:
            self.read(everything=True)
            found = [*self.view.found.values(), *self.view.surplus]
            if found or not self._settle(began):
                return found

    def _settle(self, began: float) -> bool:
        """Wait until what was made before ``began`` is in every list, and what was taken away is in none.

        Returns:
            False where that is so already.
        """
        left = began + _LISTED_WITHIN_SECONDS - self.view.cloud.clock.monotonic()
        if left <= 0:
            return False
        self.view.cloud.clock.sleep(left)
        return True

    def _survey(self) -> None:
        view = self.view
        needed = frozenset(node.region for node in view.nodes.values())
        told = survey(view.cloud, view.home, needed, self._parallel)
        own = told.regions.get(view.deployment.name, ())
        view.regions = tuple(sorted({*needed, *own}))
        view.seen, view.unseen = told.seen, told.unseen
        view.others = {name: where for name, where in told.standing.items() if name != view.deployment.name}

    def _look(self, everything: bool) -> list[Found]:
        wanted = {node.kind for node in self.view.nodes.values()}
        jobs = [
            (kind, region)
            for kind in KINDS.values()
            for region in ((self.view.home,) if kind.home_only else self.view.regions)
            if everything or kind.name in wanted or kind.name not in _OPTIONAL_KINDS
        ]

        def look(job: tuple[Kind, str]) -> list[Found]:
            kind, region = job
            return kind.find(self.view, region)

        found = [item for items in self._parallel(look, jobs) for item in items]
        self._report(Event("read", "", "", f"{len(found)} resources"))
        return found

    def _orphans(self, resources: Iterable[Found]) -> list[Found]:
        wholes = {found.id for found in resources if found.kind in ("vpc", "bucket")}
        return [
            found
            for found in resources
            if (whole := found.facts.get("VpcId") or found.facts.get("Bucket")) is not None and whole not in wholes
        ]

    def _fits(self, node: Node, found: Found) -> bool:
        """Whether a resource can serve as the node: not if it stands in the VPC of a duplicate."""
        if found.region != node.region and not KINDS[node.kind].home_only:
            return False
        if not KINDS[node.kind].fits(self.view, node, found):
            return False
        home = getattr(node.spec, "vpc", None)
        if node.kind == "instance":
            home = self.view.nodes[node.spec.subnet].spec.vpc
        if home is not None and "VpcId" in found.facts:
            return bool(found.facts["VpcId"] == self.view.id(home))
        if node.kind == "internet-gateway":
            attached = [item["VpcId"] for item in found.facts.get("Attachments", [])]
            return not attached or attached == [self.view.id(node.spec.vpc)]
        if node.kind == "object":
            return bool(found.facts["Bucket"] == self.view.id(node.spec.bucket))
        if node.kind == "peering":
            ends = (found.facts["RequesterVpcInfo"]["VpcId"], found.facts["AccepterVpcInfo"]["VpcId"])
            return ends == (self.view.id(node.spec.requester), self.view.id(node.spec.accepter))
        return True

    def _removable_surplus(self) -> list[Found]:
        """What comes and goes with something else is not removed on its own."""
        return [found for found in self.view.surplus if found.kind not in _OPTIONAL_KINDS]

    def _candidates(self, node: Node) -> list[Found]:
        found = KINDS[node.kind].find(self.view, node.region, node.key)
        return [item for item in found if self._fits(node, item)]

    def _converge(self) -> None:
        """Bring every node into being, each as soon as what it needs stands."""
        waiting = dict(self.view.nodes)
        standing: set[str] = set()
        errors: list[BaseException] = []
        with ThreadPoolExecutor(max_workers=2 * len({node.region for node in waiting.values()})) as pool:
            running: dict[Future[None], str] = {}
            try:
                while (waiting and not errors) or running:
                    ready = [node for node in waiting.values() if not errors and standing.issuperset(node.needs)]
                    for node in ready:
                        running[pool.submit(self._stand, node)] = waiting.pop(node.key).key
                    assert running, f"nodes need each other: {sorted(waiting)}"
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        key = running.pop(future)
                        if error := future.exception():
                            errors.append(error)
                        standing.add(key)
            except BaseException:
                self.view.cloud.stopping.set()
                raise
        _raise_first(errors)

    def _stand(self, node: Node) -> None:
        kind, view = KINDS[node.kind], self.view
        found = view.found.get(node.key)
        if found is None:
            found = view.cloud.create_once(node.key, lambda: self._candidates(node), lambda: kind.create(view, node))
            view.found[node.key] = found
            self._report(Event("created", node.key, node.region, found.id))
        mended = False
        for difference in kind.differences(view, node, found):
            if difference.mend is None:
                # Only a fresh look can decide whether to replace; the next round takes it.
                continue
            difference.mend()
            mended = True
            self._report(Event("changed", node.key, node.region, difference.text))
        if mended:
            view.found[node.key] = view.cloud.wait(
                node.key, "visible", lambda: next(iter(self._candidates(node)), None), 60.0
            )

    def _clear(self, resources: Sequence[Found]) -> None:
        """Delete what is to make room; what does not go ends the run.

        What stands in the way may be the deployment's own, made by a run that was killed and not listed until now.
        """
        tried: set[tuple[str, str]] = set()
        while left := self._removal().delete(resources):
            tried |= {(found.kind, found.id) for found in resources}
            self.read()
            fresh = [found for found in self._removable_surplus() if (found.kind, found.id) not in tried]
            if not fresh:
                _raise_first([_with_note(item) for item in left])
            resources = [*fresh, *(item.found for item in left)]

    def _removal(self) -> Removal:
        def removed(found: Found) -> None:
            self._report(Event("removed", found.key, found.region, found.id))

        return Removal(self.view, KINDS, self._parallel, removed)

    def _parallel(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                wait(futures)
            except BaseException:
                self.view.cloud.stopping.set()
                raise
        _raise_first([error for future in futures if (error := future.exception())])
        return [future.result() for future in futures]


def _remains(name: str, left: Sequence[Found], refused: Mapping[tuple[str, str], Left]) -> RemainsError:
    """What is left, each with the reason."""
    ids = ", ".join(f"{found.key} {found.id}" for found in left)
    error = RemainsError(f"{name}: left are {ids}; remove what is in their way, then run `provision down` again")
    for found in left:
        item = refused.get((found.kind, found.id))
        error.add_note(str(item) if item else f"{found.id}: {found.key} in {found.region}: still listed")
    return error


def _with_note(left: Left) -> ProvisionError:
    if left.why:
        left.error.add_note(f"{left.found.id} is {left.why}")
    return left.error


def _raise_first(errors: Sequence[BaseException]) -> None:
    """Raise what ended the work; the other errors are told as notes."""
    if not errors:
        return
    ranked = sorted(errors, key=lambda error: isinstance(error, Exception))
    causes = {_cause(ranked[0])}
    for other in ranked[1:]:
        if _cause(other) not in causes:
            causes.add(_cause(other))
            ranked[0].add_note(str(other))
    raise ranked[0]


def _cause(error: BaseException) -> str:
    return error.cause if isinstance(error, AwsError) else str(error)
