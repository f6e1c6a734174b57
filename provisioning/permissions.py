"""Which IAM permission a call needs: for messages, and for ``policy.json``, which lists them all."""

from importlib import resources

__all__ = ["ALSO_CHECKED", "permission", "policy_text"]

_NAMED_OTHERWISE = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
"""S3's permissions are older than its calls' names (S3 guide, "Required permissions for Amazon S3 API operations")."""

ALSO_CHECKED = {
    "ec2:RunInstances": ("iam:PassRole", "ec2:CreateTags"),
    "ec2:AssociateIamInstanceProfile": ("iam:PassRole",),
    "ec2:ReplaceIamInstanceProfileAssociation": ("iam:PassRole",),
    "globalaccelerator:CreateAccelerator": ("globalaccelerator:TagResource", "iam:CreateServiceLinkedRole"),
    "iam:CreateRole": ("iam:TagRole",),
    "iam:CreateInstanceProfile": ("iam:TagInstanceProfile",),
    "s3:CreateBucket": ("s3:TagResource",),
    "s3:DeleteObject": ("s3:DeleteObjectVersion",),
}
"""What AWS checks beside the call's own permission, as the calls are made here (EC2 guide, "IAM policies for EC2";
IAM guide, "Tagging IAM resources"; S3 API, `CreateBucketConfiguration`; S3 guide, "Deleting object versions")."""


def permission(service: str, operation: str) -> str:
    """The IAM permission of a call.

    Args:
        service: boto3's name of the service.
        operation: boto3's name of the method, or AWS's of the operation.
    """
    named = "".join(word[:1].upper() + word[1:] for word in operation.split("_"))
    return _NAMED_OTHERWISE.get(f"{service}:{named}", f"{service}:{named}")


def policy_text() -> str:
    """The IAM policy with all that ``provision`` needs, as the package brings it."""
    return (resources.files("provisioning") / "policy.json").read_text(encoding="utf-8")
