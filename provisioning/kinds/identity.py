"""One IAM role and instance profile for each host, that may read that host's own objects and nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote

from provisioning.model import Difference, Found, Kind, Node, View, tags_of
from provisioning.names import resource_name
from provisioning.topology import Archiving

__all__ = ["IdentityKind", "IdentitySpec", "profile_name"]

_POLICY = "read-own-objects"
UPLOAD_ACTIONS = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")
"""On files of an archive, which are neither listed nor deleted from the host."""
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def profile_name(deployment: str, host: str) -> str:
    """The name of a host's role, and of the instance profile that carries it."""
    return resource_name(deployment, host)


def _path(deployment: str) -> str:
    return f"/backbone-latency/{deployment}/"


@dataclass(frozen=True, slots=True)
class IdentitySpec:
    """``objects`` are the keys of what the host may read in the bucket that the node ``bucket`` stands for.

    ``archive`` is for a receiver whose files are copied to a bucket: see :mod:`daemons.archiver.store`, which calls.
    """

    host: str
    bucket: str
    objects: tuple[str, ...]
    archive: Archiving | None = None

    def policy(self, view: View) -> dict[str, Any]:
        """The role's only policy."""
        resources = [f"arn:aws:s3:::{view.id(self.bucket)}/{name}" for name in self.objects]
        statements: list[dict[str, Any]] = [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resources}]
        if self.archive is not None:
            bucket, prefix = self.archive.place(self.host, view.id(self.bucket))
            of_bucket = f"arn:aws:s3:::{bucket}"
            statements += [
                {"Effect": "Allow", "Action": list(UPLOAD_ACTIONS), "Resource": f"{of_bucket}/{prefix}*"},
                {"Effect": "Allow", "Action": "s3:ListBucketMultipartUploads", "Resource": of_bucket},
            ]
        return {"Version": "2012-10-17", "Statement": statements}


class IdentityKind(Kind):
    """A role and a profile are one resource here; either may be missing after a crash, and is made good."""

    name: ClassVar[str] = "identity"
    home_only: ClassVar[bool] = True

    def find(self, view: View, region: str, key: str | None = None) -> list[Found]:
        path = _path(view.deployment.name)
        names: dict[str, dict[str, Any]] = {}
        for operation, list_key, name_key in (
            ("list_roles", "Roles", "RoleName"),
            ("list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
        ):
            for item in self._all(view, region, operation, list_key, path):
                names.setdefault(item[name_key], {})[list_key] = item
        prefix = profile_name(view.deployment.name, "")
        found = []
        for name, parts in sorted(names.items()):
            own = f"identity/{name.removeprefix(prefix)}"
            if key in (None, own):
                found.append(Found(own, self.name, region, name, self._facts(view, region, own, name, parts)))
        return found

    def create(self, view: View, node: Node) -> None:
        view.cloud.call(
            node.region,
            "iam",
            "create_role",
            node.key,
            tolerate=("EntityAlreadyExists",),
            Path=_path(view.deployment.name),
            RoleName=profile_name(view.deployment.name, node.spec.host),
            AssumeRolePolicyDocument=json.dumps(_TRUST),
            Description=f"backbone-latency host {node.spec.host} of deployment {view.deployment.name}",
            Tags=view.deployment.tag_list(node.key),
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        facts = found.facts
        if not facts["role"]:
            yield Difference("create the role", lambda: self.create(view, node))
        elif {**facts["tags"], **view.deployment.tags(node.key)} != facts["tags"]:
            yield Difference("tag the role", lambda: self._tag(view, node, found))
        if facts["policy"] != node.spec.policy(view):
            yield Difference("set the policy", lambda: self._policy(view, node, found))
        if not facts["profile"]:
            yield Difference("create the instance profile", lambda: self._profile(view, node, found))
        elif {**facts["profile_tags"], **view.deployment.tags(node.key)} != facts["profile_tags"]:
            yield Difference("tag the instance profile", lambda: self._tag_profile(view, node, found))
        if not facts["carries"]:
            yield Difference("put the role into the profile", lambda: self._join(view, node, found))

    def delete(self, view: View, found: Found) -> None:
        """Delete both, with what programs of the account's owner put into or attached to either."""
        name = found.id

        def call(operation: str, **params: str) -> None:
            view.cloud.call(found.region, "iam", operation, found.key, tolerate=("NoSuchEntity",), **params)

        for policy in self._listed(view, found, "list_role_policies", "PolicyNames", RoleName=name):
            call("delete_role_policy", RoleName=name, PolicyName=policy)
        for policy in self._listed(view, found, "list_attached_role_policies", "AttachedPolicies", RoleName=name):
            call("detach_role_policy", RoleName=name, PolicyArn=policy["PolicyArn"])
        for profile in self._listed(view, found, "list_instance_profiles_for_role", "InstanceProfiles", RoleName=name):
            other = profile["InstanceProfileName"]
            call("remove_role_from_instance_profile", InstanceProfileName=other, RoleName=name)
        for role in found.facts["others"]:
            call("remove_role_from_instance_profile", InstanceProfileName=name, RoleName=role)
        if found.facts["profile"]:
            call("delete_instance_profile", InstanceProfileName=name)
        if found.facts["role"]:
            call("delete_role", RoleName=name)

    def _facts(self, view: View, region: str, key: str, name: str, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
        role, profile = parts.get("Roles"), parts.get("InstanceProfiles")
        facts: dict[str, Any] = {
            "role": role is not None,
            "profile": profile is not None,
            "profile_id": profile["InstanceProfileId"] if profile else "",
            "carries": bool(profile and any(item["RoleName"] == name for item in profile["Roles"])),
            "others": [item["RoleName"] for item in profile["Roles"] if item["RoleName"] != name] if profile else [],
            "policy": None,
            "tags": {},
            "profile_tags": {},
        }
        gone = ("NoSuchEntity",)
        call = view.cloud.call
        if profile is not None:
            # The list tells no tags (IAM API, `ListInstanceProfiles`).
            answer = call(region, "iam", "get_instance_profile", key, tolerate=gone, InstanceProfileName=name)
            facts["profile_tags"] = tags_of(answer.get("InstanceProfile", {}))
        if role is None:
            return facts
        facts["tags"] = tags_of(call(region, "iam", "list_role_tags", key, tolerate=gone, RoleName=name))
        answer = call(region, "iam", "get_role_policy", key, tolerate=gone, RoleName=name, PolicyName=_POLICY)
        document = answer.get("PolicyDocument")
        facts["policy"] = json.loads(unquote(document)) if isinstance(document, str) else document
        return facts

    def _all(self, view: View, region: str, operation: str, key: str, path: str) -> list[dict[str, Any]]:
        items = _pages(view, region, operation, key, "identity", PathPrefix=path)
        return [item for item in items if item["Path"] == path]

    def _listed(self, view: View, found: Found, operation: str, key: str, **params: str) -> list[Any]:
        return _pages(view, found.region, operation, key, found.key, **params) if found.facts["role"] else []

    def _tag(self, view: View, node: Node, found: Found) -> None:
        view.cloud.call(
            node.region, "iam", "tag_role", node.key, RoleName=found.id, Tags=view.deployment.tag_list(node.key)
        )

    def _tag_profile(self, view: View, node: Node, found: Found) -> None:
        tags = view.deployment.tag_list(node.key)
        view.cloud.call(node.region, "iam", "tag_instance_profile", node.key, InstanceProfileName=found.id, Tags=tags)

    def _policy(self, view: View, node: Node, found: Found) -> None:
        view.cloud.call(
            node.region,
            "iam",
            "put_role_policy",
            node.key,
            RoleName=found.id,
            PolicyName=_POLICY,
            PolicyDocument=json.dumps(node.spec.policy(view)),
        )

    def _profile(self, view: View, node: Node, found: Found) -> None:
        view.cloud.call(
            node.region,
            "iam",
            "create_instance_profile",
            node.key,
            tolerate=("EntityAlreadyExists",),
            Path=_path(view.deployment.name),
            InstanceProfileName=found.id,
            Tags=view.deployment.tag_list(node.key),
        )

    def _join(self, view: View, node: Node, found: Found) -> None:
        # A profile holds at most one role, so LimitExceeded says that another operator was faster.
        view.cloud.call(
            node.region,
            "iam",
            "add_role_to_instance_profile",
            node.key,
            tolerate=("LimitExceeded",),
            InstanceProfileName=found.id,
            RoleName=found.id,
        )


def _pages(view: View, region: str, operation: str, key: str, about: str, **params: str) -> list[Any]:
    """All of a list of IAM's; nothing where whose list it is is gone."""
    items: list[Any] = []
    while True:
        answer = view.cloud.call(region, "iam", operation, about, tolerate=("NoSuchEntity",), **params)
        items += answer.get(key, [])
        if not answer.get("IsTruncated"):
            return items
        params["Marker"] = answer["Marker"]
