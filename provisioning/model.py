"""The engine's vocabulary: nodes that shall be, resources found, and the differences between them.

Nothing is stored outside AWS: a resource is recognised by two tags, the deployment's name and the key of the node it
stands for.
"""

import abc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from provisioning.tags import merged

if TYPE_CHECKING:
    # What is known of a topology without asking AWS needs no library to ask with.
    from provisioning.cloud import Cloud

__all__ = ["Deployment", "Difference", "Ec2Kind", "Found", "Kind", "Node", "View", "tag_filters", "tags_of"]

DEPLOYMENT_TAG = "latency:deployment"
KEY_TAG = "latency:key"
SPEC_TAG = "latency:spec"
STOP_AFTER_TAG = "latency:stop-after"
FURTHER_TAG = "latency:tags"
"""Which of a resource's tags are the deployment's further ones: their keys, between equals signs, which none has."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A name, and the tags that everything in it carries.

    ``stop_after`` is the moment (RFC 3339) after which hosts power themselves off, or ``never``; empty along with
    ``expires``. ``further`` are the operator's own tags, such as an organisation demands.
    """

    name: str
    owner: str = ""
    expires: str = ""
    stop_after: str = ""
    further: Mapping[str, str] = field(default_factory=dict)

    def adopting(self, resources: "Iterable[Found]") -> "Deployment":
        """The same with the further tags that stand already: a run that is not told them again keeps to them.

        Where resources differ, for a run that was to change a tag was killed, the bucket's word counts.

        Raises:
            ConfigError: together they are too many.
        """
        standing: dict[str, str] = {}
        for found in sorted(resources, key=lambda item: (item.kind != "bucket", item.kind, item.region, item.id)):
            tags = tags_of(found.facts)
            for name in tags.get(FURTHER_TAG, "").split("="):
                if name in tags:
                    standing.setdefault(name, tags[name])
        return replace(self, further=merged(standing, self.further))

    def tags(self, key: str, **extra: str) -> dict[str, str]:
        """The tags of the resource that stands for a node."""
        tags = {"Name": f"{self.name}/{key}", DEPLOYMENT_TAG: self.name, KEY_TAG: key, **extra}
        if self.owner:
            tags["latency:owner"] = self.owner
        if self.expires:
            tags["latency:expires"] = self.expires
        if self.stop_after:
            tags[STOP_AFTER_TAG] = self.stop_after
        if self.further:
            tags |= {**self.further, FURTHER_TAG: "=".join(sorted(self.further))}
        return tags

    def tag_list(self, key: str, **extra: str) -> list[dict[str, str]]:
        """The same, as AWS wants them."""
        return [{"Key": name, "Value": value} for name, value in self.tags(key, **extra).items()]

    def tag_specification(self, key: str, *resource_types: str, **extra: str) -> list[dict[str, Any]]:
        """Tags to be put on in the very call that makes the resources: nothing of ours is ever untagged."""
        return [{"ResourceType": kind, "Tags": self.tag_list(key, **extra)} for kind in resource_types]


@dataclass(frozen=True, slots=True)
class Node:
    """Something that shall exist.

    ``spec`` is the kind's own description; it names other nodes by key. ``needs`` are the keys that must stand first.
    """

    key: str
    kind: str
    region: str
    spec: Any
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Something that exists and carries the deployment's tags; ``facts`` is what AWS told about it."""

    key: str
    kind: str
    region: str
    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a resource is not as its node says.

    ``mend`` makes it so. ``replace`` means that only a new resource can be so; neither means that ``up`` cannot help.
    """

    text: str
    mend: Callable[[], None] | None = None
    replace: bool = False


@dataclass
class View:
    """What is known while a deployment is read or changed.

    ``home`` is the region through which the account itself is asked. Each look finds out the ``regions`` where the
    deployment stands or shall stand, those that were ``seen`` and those that nobody lets us look at (``unseen``), and
    where ``others`` stand. ``found`` holds at most one resource for each key; ``surplus`` the duplicates and what no
    node asks for.
    """

    cloud: "Cloud"
    deployment: Deployment
    home: str
    account: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    surplus: list[Found] = field(default_factory=list)
    regions: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    launched: dict[str, str] = field(default_factory=dict)
    """Hosts that this run launched, and into which subnet: they count before a look has found them."""
    ended: set[str] = field(default_factory=set)
    """Ids of what this run took away: a list may tell of it for a while yet, and no id is given twice."""
    _launching: dict[str, Lock] = field(default_factory=dict)

    def launching(self, subnet: str) -> Lock:
        """What whoever launches into a subnet holds meanwhile."""
        return self._launching.setdefault(subnet, Lock())

    def ec2(
        self, about: Node | Found, operation: str, *, tolerate: Collection[str] = (), **params: Any
    ) -> dict[str, Any]:
        """Make a call of EC2 for a resource, in its region; see :meth:`~provisioning.cloud.Cloud.call`."""
        return self.cloud.call(about.region, "ec2", operation, about.key, tolerate=tolerate, **params)

    def make(
        self, node: Node, operation: str, resource_type: str, *, tolerate: Collection[str] = (), **params: Any
    ) -> dict[str, Any]:
        """Make the call that makes a node's resource, tagged: ``resource_type`` is EC2's name for what tags are for."""
        tags = self.deployment.tag_specification(node.key, resource_type)
        return self.ec2(node, operation, tolerate=tolerate, TagSpecifications=tags, **params)

    def id(self, key: str) -> str:
        """The id of the resource that stands for a node; a placeholder while there is none (only in plans)."""
        return self.found[key].id if key in self.found else f"({key})"


class Kind(abc.ABC):
    """How one kind of resource is found, made, compared, mended and deleted.

    ``home_only`` kinds (IAM, S3) are the account's, in no VPC, and are looked for once, by way of the home region.
    """

    name: ClassVar[str]
    home_only: ClassVar[bool] = False

    @abc.abstractmethod
    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        """All live resources of the deployment, or of one key; of several under one key the one to keep comes first."""

    @abc.abstractmethod
    def create(self, view: View, node: Node) -> None:
        """Make the resource with one call, tagged. Whatever needs further calls is a difference."""

    @abc.abstractmethod
    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        """Compare; mends may rely on everything the node needs being there."""

    @abc.abstractmethod
    def delete(self, view: View, found: Found) -> None:
        """Delete; what is gone already counts as deleted."""

    def fits(self, view: View, node: Node, found: Found) -> bool:
        """Whether it belongs to the whole that stands for the deployment, and not to a duplicate of that."""
        return True


class Ec2Kind(Kind):
    """A kind that EC2 lists by tags; a subclass names the call, the answer's list and the field that holds the id."""

    describe: ClassVar[str]
    list_key: ClassVar[str]
    id_key: ClassVar[str]

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        found = [
            Found(tags_of(item)[KEY_TAG], self.name, region, item[self.id_key], item)
            for item in self.items(view, region, key)
            if _ours(view, item, key) and self.alive(item, region) and item[self.id_key] not in view.ended
        ]
        return sorted(found, key=self.rank)

    def items(self, view: View, region: str, key: str | None) -> list[dict[str, Any]]:
        """What EC2 lists for the tags."""
        return view.cloud.pages(
            region, "ec2", self.describe, self.list_key, key or self.name, Filters=tag_filters(view, key)
        )

    def alive(self, item: Mapping[str, Any], region: str) -> bool:
        """Whether it still counts: EC2 lists some things long after they are gone."""
        return True

    def rank(self, found: Found) -> tuple[Any, ...]:
        """Which of several under one key is kept: the lowest id, which every observer sees alike."""
        return found.key, found.id


def tag_filters(view: View, key: str | None) -> list[dict[str, Any]]:
    """EC2 filters that select the deployment's resources, or those of one key."""
    filters: list[dict[str, Any]] = [{"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [view.deployment.name]}]
    if key is not None:
        filters.append({"Name": f"tag:{KEY_TAG}", "Values": [key]})
    return filters


def tags_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """An answer's tag list as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in facts.get("Tags") or facts.get("TagSet") or []}


def _ours(view: View, facts: Mapping[str, Any], key: str | None) -> bool:
    """Whether a resource carries the deployment's tags (and the key's): filters are checked again, not trusted."""
    tags = tags_of(facts)
    return tags.get(DEPLOYMENT_TAG) == view.deployment.name and KEY_TAG in tags and key in (None, tags[KEY_TAG])


def tag_differences(view: View, node: Node, found: Found, *ids: str) -> Iterator[Difference]:
    """The deployment's tags that are missing or changed; mended on ``ids``, which are the resource's own by default."""
    have, want = tags_of(found.facts), view.deployment.tags(node.key)
    wrong = {name: value for name, value in want.items() if have.get(name) != value}
    if wrong:
        yield Difference(
            "tag " + ", ".join(f"{name}={value}" for name, value in sorted(wrong.items())),
            lambda: tag(view, node.region, found, wrong, *ids),
        )


def tag(view: View, region: str, found: Found, tags: Mapping[str, str], *ids: str) -> None:
    """Put tags on an EC2 resource, or on those with the given ids, in one call."""
    pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
    view.cloud.call(region, "ec2", "create_tags", found.key, Resources=list(ids or [found.id]), Tags=pairs)
