"""The deployment's private bucket and the objects in it: the software bundle and the link key.

Hosts fetch them with their own role's credentials, so nothing secret stands in user data and nothing expires between
``up`` and a host's first boot.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from provisioning.errors import PendingError
from provisioning.model import DEPLOYMENT_TAG, Difference, Found, Kind, Node, View, tags_of
from provisioning.topology import ARCHIVE_PREFIX

__all__ = [
    "BucketKind",
    "BucketSpec",
    "ObjectKind",
    "ObjectSpec",
    "bucket_name",
    "bucket_region",
    "names_bucket_of",
    "put_object",
]

_LABEL_CHARACTERS = 15
_LABEL_PREFIX = 6
_RULE = "latency-archive"


def bucket_name(deployment: str, account: str, region: str) -> str:
    """A new name for a deployment's bucket, as no bucket was ever called.

    It is of the account's own part of S3's name space, where nobody else can make a bucket (S3 guide, "Account regional
    namespace naming rules": ``PREFIX-ACCOUNT-REGION-an``, 63 characters at most). The name of a deleted bucket may be
    refused for hours, so each bucket has a name of its own: after what tells whose it is come eight random digits.
    """
    return f"{_prefix(deployment)}{secrets.token_hex(4)}-{account}-{region}-an"


def bucket_region(name: str, account: str) -> str:
    """The region that stands in a bucket's name; empty where it is no name of a bucket."""
    return name.partition(f"-{account}-")[2].removesuffix("-an")


def names_bucket_of(deployment: str, account: str, name: str) -> bool:
    """Whether a bucket's name is one of a deployment's, for which it was made by :func:`bucket_name`."""
    return re.fullmatch(rf"{re.escape(_prefix(deployment))}[0-9a-f]{{8}}-{account}-[a-z0-9-]+-an", name) is not None


def _prefix(deployment: str) -> str:
    label = deployment
    if len(label) > _LABEL_CHARACTERS:
        told = hashlib.sha256(deployment.encode()).hexdigest()
        label = f"{deployment[:_LABEL_PREFIX]}-{told[: _LABEL_CHARACTERS - _LABEL_PREFIX - 1]}"
    return f"latency-{label}-"


def _buckets(view: View, region: str) -> list[str]:
    """The names of the deployment's buckets, whatever their regions, the one to keep first where it has several.

    A list is late in both directions: what it tells and S3 does not know is not there yet, or no more.
    """
    told: list[tuple[str, str]] = []
    more: dict[str, str] = {}
    while True:
        answer = view.cloud.call(
            region, "s3", "list_buckets", "bucket", Prefix=_prefix(view.deployment.name), MaxBuckets=1000, **more
        )
        told += [(str(item["CreationDate"]), item["Name"]) for item in answer.get("Buckets", [])]
        if not answer.get("ContinuationToken"):
            break
        more = {"ContinuationToken": answer["ContinuationToken"]}
    own = [name for _, name in sorted(told) if names_bucket_of(view.deployment.name, view.account, name)]
    return [name for name in own if _is_there(view, name)]


def _is_there(view: View, bucket: str) -> bool:
    region = bucket_region(bucket, view.account)
    gone = ("NoSuchBucket", "404")
    return bool(view.cloud.call(region, "s3", "head_bucket", "bucket", tolerate=gone, Bucket=bucket))


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """``archive_days``: how long files of archives stay; None where there are none, and no rule is ours."""

    archive_days: int | None = None

    def rule(self) -> dict[str, Any]:
        """The life-cycle rule of archives' files; what uploads and versions leave behind goes with it."""
        return {
            "ID": _RULE,
            "Status": "Enabled",
            "Filter": {"Prefix": ARCHIVE_PREFIX},
            "Expiration": {"Days": self.archive_days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }


class BucketKind(Kind):
    name: ClassVar[str] = "bucket"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        found = [self._found(view, name) for name in _buckets(view, region)]
        own = [item for item in found if tags_of(item.facts).get(DEPLOYMENT_TAG) in (None, view.deployment.name)]
        # A run that was killed as it had made one leaves it without tags; the next one did not see it and made another.
        return sorted(own, key=lambda item: not item.facts["Tags"])

    def create(self, view: View, node: Node) -> None:
        # A bucket too is tagged by the very call: an organisation's policy may refuse one that is not.
        configuration: dict[str, Any] = {"Tags": view.deployment.tag_list(node.key)}
        if node.region != "us-east-1":
            configuration["LocationConstraint"] = node.region
        view.cloud.call(
            node.region,
            "s3",
            "create_bucket",
            node.key,
            tolerate=("BucketAlreadyOwnedByYou",),
            Bucket=bucket_name(view.deployment.name, view.account, node.region),
            BucketNamespace="account-regional",
            CreateBucketConfiguration=configuration,
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        have, want = tags_of(found.facts), view.deployment.tags(node.key)
        if {**have, **want} != have:
            yield Difference("tag", lambda: self._tag(view, node, found))
        wanted = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        if found.facts["Block"] != wanted:
            yield Difference("block public access", lambda: self._block(view, node, found, wanted))
        if node.spec.archive_days is not None:
            rules, rule = found.facts["Rules"], node.spec.rule()
            if not any(rule.items() <= one.items() for one in rules):
                yield Difference("set the archive's life-cycle rule", lambda: self._expire(view, found, rules, rule))

    def delete(self, view: View, found: Found) -> None:
        """Delete it with what is in it, unless that is an archive: months of rows are not gone with a network.

        Raises:
            PendingError: it has files of an archive.
        """
        kept = view.cloud.call(
            found.region,
            "s3",
            "list_objects_v2",
            "bucket",
            tolerate=("NoSuchBucket", "404"),
            Bucket=found.id,
            Prefix=ARCHIVE_PREFIX,
            MaxKeys=1,
        )
        if kept.get("Contents"):
            place = f"s3://{found.id}/{ARCHIVE_PREFIX}"
            raise PendingError(
                f"it has an archive, which is yours to keep or to delete: copy it (aws s3 sync {place} FOLDER), "
                f"delete it (aws s3 rm --recursive {place}), and run the command again"
            )
        _delete_versions(view, found, found.id)
        view.cloud.call(found.region, "s3", "delete_bucket", "bucket", Bucket=found.id)

    def _found(self, view: View, name: str) -> Found:
        region = bucket_region(name, view.account)
        block = view.cloud.call(
            region,
            "s3",
            "get_public_access_block",
            "bucket",
            tolerate=("NoSuchPublicAccessBlockConfiguration", "NoSuchBucket", "404"),
            Bucket=name,
        )
        facts = {
            "Tags": [{"Key": k, "Value": v} for k, v in _bucket_tags(view, region, name).items()],
            "Block": block.get("PublicAccessBlockConfiguration", {}),
        }
        node = view.nodes.get("bucket")
        if node is not None and node.spec.archive_days is not None:
            facts["Rules"] = _rules(view, region, name)
        return Found("bucket", self.name, region, name, facts)

    def _tag(self, view: View, node: Node, found: Found) -> None:
        # The call replaces all tags: those of others, and AWS's own, are put back with ours.
        tags = {**_bucket_tags(view, found.region, found.id), **view.deployment.tags(node.key)}
        view.cloud.call(
            found.region,
            "s3",
            "put_bucket_tagging",
            node.key,
            Bucket=found.id,
            Tagging={"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]},
        )

    def _block(self, view: View, node: Node, found: Found, wanted: dict[str, bool]) -> None:
        view.cloud.call(
            found.region,
            "s3",
            "put_public_access_block",
            node.key,
            Bucket=found.id,
            PublicAccessBlockConfiguration=wanted,
        )

    def _expire(self, view: View, found: Found, rules: list[dict[str, Any]], rule: dict[str, Any]) -> None:
        # The call replaces all rules: those of others are put back with ours.
        others = [one for one in rules if one.get("ID") != rule["ID"]]
        view.cloud.call(
            found.region,
            "s3",
            "put_bucket_lifecycle_configuration",
            "bucket",
            Bucket=found.id,
            LifecycleConfiguration={"Rules": [*others, rule]},
        )


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """An object that is made once: ``content`` is asked for only when it is missing.

    A bundle is replaced by ``deploy``, a key never: neither is compared with what ``up`` would put there now.
    ``bucket`` is the key of the node that it lies in.
    """

    bucket: str
    name: str
    content: Callable[[], bytes]


class ObjectKind(Kind):
    name: ClassVar[str] = "object"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        found = [
            Found(
                f"object/{item['Key']}",
                self.name,
                bucket_region(bucket, view.account),
                f"{bucket}/{item['Key']}",
                {"Bucket": bucket, "Key": item["Key"]},
            )
            for bucket in _buckets(view, region)
            for item in _objects(view, bucket_region(bucket, view.account), bucket)
        ]
        return [item for item in found if key in (None, item.key)]

    def create(self, view: View, node: Node) -> None:
        # Of two operators who make a link key at once the first wins: a host may have fetched it already.
        bucket = view.found[node.spec.bucket]
        put_object(view, node.key, bucket, node.spec.name, node.spec.content(), IfNoneMatch="*")

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from ()

    def delete(self, view: View, found: Found) -> None:
        _delete_versions(view, found, found.facts["Bucket"], found.facts["Key"])


def put_object(view: View, about: str, bucket: Found, name: str, content: bytes, **conditions: str) -> None:
    """Write an object, encrypted, with its digest beside it for the reader to check."""
    view.cloud.call(
        bucket.region,
        "s3",
        "put_object",
        about,
        tolerate=("PreconditionFailed",) if conditions else (),
        Bucket=bucket.id,
        Key=name,
        Body=content,
        ServerSideEncryption="AES256",
        Metadata={"sha256": hashlib.sha256(content).hexdigest()},
        **conditions,
    )


def _rules(view: View, region: str, bucket: str) -> list[dict[str, Any]]:
    none = ("NoSuchLifecycleConfiguration", "NoSuchBucket", "404")
    answer = view.cloud.call(region, "s3", "get_bucket_lifecycle_configuration", "bucket", tolerate=none, Bucket=bucket)
    return list(answer.get("Rules", []))


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
    """What hosts boot from: below folders lie archives, which may be very many, and nobody's to mend."""
    items: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = view.cloud.call(
            region,
            "s3",
            "list_objects_v2",
            "bucket",
            tolerate=("NoSuchBucket", "404"),
            Bucket=bucket,
            Delimiter="/",
            **more,
        )
        items += answer.get("Contents", [])
        if not answer.get("IsTruncated"):
            return items
        more = {"ContinuationToken": answer["NextContinuationToken"]}
