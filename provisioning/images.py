"""Machine images: by SSM's public parameters, or by the publisher's account where a region lacks the parameter."""

from typing import Any, cast

from provisioning.cloud import Cloud
from provisioning.errors import AwsError, ProvisionError

__all__ = ["image_facts", "image_id", "login_user", "python_version", "root_device"]

_DEBIAN_OWNER = "136693071363"
"""Debian's account (wiki.debian.org/Cloud/AmazonEC2Image)."""
_CANONICAL_OWNER = "099720109477"

_PARAMETERS = {
    "debian-12": "/aws/service/debian/release/12/latest/amd64",
    "debian-13": "/aws/service/debian/release/13/latest/amd64",
    "ubuntu-24.04": "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
}
_SEARCHES = {
    "debian-12": (_DEBIAN_OWNER, "debian-12-amd64-*"),
    "debian-13": (_DEBIAN_OWNER, "debian-13-amd64-*"),
    "ubuntu-24.04": (_CANONICAL_OWNER, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"),
}


def login_user(image: str) -> str:
    """The account that the image's cloud-init gives the SSH key to."""
    return {"ubuntu-24.04": "ubuntu"}.get(image, "admin")


def python_version(image: str) -> str:
    """The version of the image's own interpreter, for which the bundle needs wheels; an id is taken for Debian 12's."""
    return {"debian-13": "3.13", "ubuntu-24.04": "3.12"}.get(image, "3.11")


def image_id(cloud: Cloud, region: str, image: str) -> str:
    """The newest image of a name in a region.

    Args:
        cloud: AWS.
        region: where the host stands.
        image: ``debian-12``, ``debian-13``, ``ubuntu-24.04`` or an id, which is returned as it is.

    Raises:
        ProvisionError: neither the parameter nor the publisher's list has it.
    """
    if image.startswith("ami-"):
        return image
    about = f"image/{image}"
    try:
        answer = cloud.call(
            region, "ssm", "get_parameter", about, tolerate=("ParameterNotFound",), Name=_PARAMETERS[image]
        )
    except AwsError as error:
        # Credentials that may not read SSM can often still list images.
        if error.code not in ("AccessDeniedException", "AccessDenied"):
            raise
        answer = {}
    if answer:
        return cast("str", answer["Parameter"]["Value"])
    owner, pattern = _SEARCHES[image]
    images = cloud.pages(
        region,
        "ec2",
        "describe_images",
        "Images",
        about,
        Owners=[owner],
        Filters=[{"Name": "name", "Values": [pattern]}, {"Name": "state", "Values": ["available"]}],
    )
    if not images:
        raise ProvisionError(f"{about}: no image {pattern} of account {owner} in {region}; use another --image")
    return cast("str", max(images, key=lambda item: (item["CreationDate"], item["ImageId"]))["ImageId"])


def image_facts(cloud: Cloud, region: str, image: str, about: str) -> dict[str, Any]:
    """What EC2 says about an image.

    Raises:
        ProvisionError: the image is not there.
    """
    answer = cloud.call(region, "ec2", "describe_images", about, ImageIds=[image])
    if not answer["Images"]:
        raise ProvisionError(f"{about}: image {image} is not in {region}; use another --image")
    return cast("dict[str, Any]", answer["Images"][0])


def root_device(cloud: Cloud, region: str, image: str, about: str) -> str:
    """The device name that the image's root volume has; another name would add a second volume beside it.

    Raises:
        ProvisionError: the image is not there.
    """
    return cast("str", image_facts(cloud, region, image, about).get("RootDeviceName") or "/dev/xvda")
