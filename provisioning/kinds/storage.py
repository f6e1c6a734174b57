"""The deployment's private bucket and the objects in it: the software bundle and the link key.

Hosts fetch them with their own role's credentials, so nothing secret stands in user data and nothing expires between
``up`` and a host's first boot.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import ProvisionError
from provisioning.model import DEPLOYMENT_TAG, Difference, Found, Kind, Node, View, tags_of

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
        tags = _bucket_tags(view, region, name)
        owner = tags.get(DEPLOYMENT_TAG, view.deployment.name)
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
        facts = {
            "Tags": [{"Key": k, "Value": v} for k, v in tags.items()],
            "Block": block.get("PublicAccessBlockConfiguration", {}),
        }
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
        have, want = tags_of(found.facts), view.deployment.tags(node.key)
        if {**have, **want} != have:
            yield Difference("tag", lambda: self._tag(view, node))
        wanted = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        if found.facts["Block"] != wanted:
            yield Difference("block public access", lambda: self._block(view, node, wanted))

    def delete(self, view: View, found: Found) -> None:
        _delete_versions(view, found, found.id)
        view.cloud.call(found.region, "s3", "delete_bucket", "bucket", Bucket=found.id)

    def _tag(self, view: View, node: Node) -> None:
        # The call replaces all tags: those of others, and AWS's own, are put back with ours.
        tags = {**_bucket_tags(view, node.region, node.spec.name), **view.deployment.tags(node.key)}
        view.cloud.call(
            node.region,
            "s3",
            "put_bucket_tagging",
            node.key,
            Bucket=node.spec.name,
            Tagging={"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]},
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
        _delete_versions(view, found, found.facts["Bucket"], found.facts["Key"])


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


def _bucket_tags(view: View, region: str, bucket: str) -> dict[str, str]:
    none = ("NoSuchTagSet", "NoSuchBucket", "404")
    return tags_of(view.cloud.call(region, "s3", "get_bucket_tagging", "bucket", tolerate=none, Bucket=bucket))


def _delete_versions(view: View, found: Found, bucket: str, key: str = "") -> None:
    """Delete every version and every delete marker of one object, or of all.

    Whoever owns the account may have switched versioning on, by hand or by a program: what is merely deleted then stays
    as a version, a link's key too. Without versioning the one version is called ``null``.
    """
    more: dict[str, str] = {"Prefix": key} if key else {}
    while True:
        answer = view.cloud.call(
            found.region, "s3", "list_object_versions", found.key, tolerate=("NoSuchBucket",), Bucket=bucket, **more
        )
        for item in (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())):
            if key in ("", item["Key"]):
                which = {"Key": item["Key"], "VersionId": item["VersionId"]}
                view.cloud.call(
                    found.region, "s3", "delete_object", found.key, tolerate=("NoSuchVersion",), Bucket=bucket, **which
                )
        if not answer.get("IsTruncated"):
            return
        more |= {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer.get("NextVersionIdMarker", "")}


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
