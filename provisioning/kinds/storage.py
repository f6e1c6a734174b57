"""The deployment's private bucket and the objects in it: the software bundle and the link key.

Hosts fetch them with their own role's credentials, so nothing secret stands in user data and nothing expires between
``up`` and a host's first boot.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import ProvisionError
from provisioning.model import DEPLOYMENT_TAG, Difference, Found, Kind, Node, View

__all__ = ["BucketKind", "BucketSpec", "ObjectKind", "ObjectSpec", "bucket_name"]


def bucket_name(deployment: str, account: str) -> str:
    """The bucket's name; the account's id keeps it apart from everyone else's in S3's single name space."""
    return f"latency-{deployment}-{account}"


@dataclass(frozen=True, slots=True)
class BucketSpec:
    name: str


class BucketKind(Kind):
    name: ClassVar[str] = "bucket"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        name = bucket_name(view.deployment.name, view.account)
        here = ("NoSuchBucket", "404")
        answer = view.cloud.call(region, "s3", "head_bucket", "bucket", tolerate=here, Bucket=name)
        if not answer:
            return []
        answer = view.cloud.call(
            region, "s3", "get_bucket_tagging", "bucket", tolerate=("NoSuchTagSet", *here), Bucket=name
        )
        tags = answer.get("TagSet", [])
        owner = next((tag["Value"] for tag in tags if tag["Key"] == DEPLOYMENT_TAG), view.deployment.name)
        if owner != view.deployment.name:
            raise ProvisionError(f"bucket: {name} is tagged as deployment {owner!r}'s; use another --name")
        block = view.cloud.call(
            region,
            "s3",
            "get_public_access_block",
            "bucket",
            tolerate=("NoSuchPublicAccessBlockConfiguration", *here),
            Bucket=name,
        )
        facts = {"Tags": tags, "Block": block.get("PublicAccessBlockConfiguration", {})}
        return [Found("bucket", self.name, region, name, facts)]

    def create(self, view: View, node: Node) -> None:
        where = {} if node.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": node.region}}
        view.cloud.call(
            node.region,
            "s3",
            "create_bucket",
            node.key,
            tolerate=("BucketAlreadyOwnedByYou",),
            Bucket=node.spec.name,
            **where,
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        have = {tag["Key"]: tag["Value"] for tag in found.facts["Tags"]}
        if have != view.deployment.tags(node.key):
            yield Difference("tag", lambda: self._tag(view, node))
        wanted = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        if found.facts["Block"] != wanted:
            yield Difference("block public access", lambda: self._block(view, node, wanted))

    def delete(self, view: View, found: Found) -> None:
        for item in _objects(view, found.region, found.id):
            view.cloud.call(found.region, "s3", "delete_object", "bucket", Bucket=found.id, Key=item["Key"])
        view.cloud.call(found.region, "s3", "delete_bucket", "bucket", Bucket=found.id)

    def _tag(self, view: View, node: Node) -> None:
        view.cloud.call(
            node.region,
            "s3",
            "put_bucket_tagging",
            node.key,
            Bucket=node.spec.name,
            Tagging={"TagSet": view.deployment.tag_list(node.key)},
        )

    def _block(self, view: View, node: Node, wanted: dict[str, bool]) -> None:
        view.cloud.call(
            node.region,
            "s3",
            "put_public_access_block",
            node.key,
            Bucket=node.spec.name,
            PublicAccessBlockConfiguration=wanted,
        )


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """An object that is made once: ``content`` is asked for only when it is missing.

    A bundle is replaced by ``deploy``, a key never: neither is compared with what ``up`` would put there now.
    """

    bucket: str
    name: str
    content: Callable[[], bytes]


class ObjectKind(Kind):
    name: ClassVar[str] = "object"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        bucket = bucket_name(view.deployment.name, view.account)
        found = [
            Found(
                f"object/{item['Key']}",
                self.name,
                region,
                f"{bucket}/{item['Key']}",
                {"Bucket": bucket, "Key": item["Key"]},
            )
            for item in _objects(view, region, bucket)
        ]
        return [item for item in found if key in (None, item.key)]

    def create(self, view: View, node: Node) -> None:
        # Of two operators who make a link key at once the first wins: a host may have fetched it already.
        put_object(view, node.key, node.spec.bucket, node.spec.name, node.spec.content(), IfNoneMatch="*")

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from ()

    def delete(self, view: View, found: Found) -> None:
        view.cloud.call(
            found.region, "s3", "delete_object", found.key, Bucket=found.facts["Bucket"], Key=found.facts["Key"]
        )


def put_object(view: View, about: str, bucket: str, name: str, content: bytes, **conditions: str) -> None:
    """Write an object, encrypted, with its digest beside it for the reader to check."""
    view.cloud.call(
        view.home,
        "s3",
        "put_object",
        about,
        tolerate=("PreconditionFailed",) if conditions else (),
        Bucket=bucket,
        Key=name,
        Body=content,
        ServerSideEncryption="AES256",
        Metadata={"sha256": hashlib.sha256(content).hexdigest()},
        **conditions,
    )


def _objects(view: View, region: str, bucket: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = view.cloud.call(
            region, "s3", "list_objects_v2", "bucket", tolerate=("NoSuchBucket", "404"), Bucket=bucket, **more
        )
        items += answer.get("Contents", [])
        if not answer.get("IsTruncated"):
            return items
        more = {"ContinuationToken": answer["NextContinuationToken"]}
