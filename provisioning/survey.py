"""In which regions of the account a deployment stands: a fact to be read, whatever a topology says.

A topology may be another one than the deployment was built from, or lost. EC2's tags tell it with one call a region.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioning.cloud import Cloud
from provisioning.errors import AwsError
from provisioning.model import DEPLOYMENT_TAG

__all__ = ["Survey", "survey"]

_NOT_ENABLED = ("AuthFailure", "OptInRequired", "OptInRequiredException", "UnrecognizedClientException")
_WITHHELD = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnreachableEndpoint")
_LISTED_WHEN_DEAD = (
    "instance",
    "volume",
    "network-interface",
    "vpc-peering-connection",
    "transit-gateway",
    "transit-gateway-attachment",
    "transit-gateway-route-table",
)
"""EC2 lists these, and their tags, up to hours after their end (EC2 guide, "Terminate an instance")."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the tags say.

    ``regions`` has, for each deployment, the regions with anything tagged; ``standing`` the same without what EC2 may
    only still list; ``unseen`` where the credentials may not look or are not valid, with the code; ``seen`` the rest.
    """

    regions: Mapping[str, tuple[str, ...]]
    standing: Mapping[str, tuple[str, ...]]
    seen: tuple[str, ...]
    unseen: Mapping[str, str]


def survey(
    cloud: Cloud, home: str, needed: frozenset[str], each: Callable[[Callable[[str], Any], Sequence[str]], list[Any]]
) -> Survey:
    """Look at the tags of every region that the account has enabled.

    Args:
        cloud: AWS.
        home: the region that is asked which there are.
        needed: regions that must be seen: a refusal there is an error.
        each: does a piece of work for each of several regions at once.

    Raises:
        AwsError: a region of ``needed`` was refused, or the login is over.
    """
    regions: dict[str, set[str]] = {}
    standing: dict[str, set[str]] = {}
    unseen: dict[str, str] = {}

    def look(region: str) -> list[dict[str, Any]]:
        try:
            filters = [{"Name": "key", "Values": [DEPLOYMENT_TAG]}]
            return cloud.pages(region, "ec2", "describe_tags", "Tags", "tags", Filters=filters)
        except AwsError as error:
            if region in needed or error.code not in _NOT_ENABLED + _WITHHELD:
                raise
            # What is not enabled bills nothing and holds nothing. But where AWS named the region as enabled, it is the
            # credentials that are not valid there: those of a session begun at STS's global endpoint are refused in
            # every region that was opted into (IAM guide, "Manage AWS STS in an AWS Region").
            if error.code in _WITHHELD or region in enabled:
                unseen[region] = error.code
            return []

    enabled = _enabled(cloud, home)
    names = sorted({*(enabled or cloud.known_regions(home)), *needed})
    for region, tags in zip(names, each(look, names), strict=True):
        for tag in tags:
            regions.setdefault(tag["Value"], set()).add(region)
            if tag.get("ResourceType") not in _LISTED_WHEN_DEAD:
                standing.setdefault(tag["Value"], set()).add(region)
    return Survey(_sorted(regions), _sorted(standing), tuple(name for name in names if name not in unseen), unseen)


def _sorted(places: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(regions)) for name, regions in sorted(places.items())}


def _enabled(cloud: Cloud, home: str) -> frozenset[str]:
    """The regions that the account has enabled; none where that may not be asked."""
    try:
        answer = cloud.call(home, "ec2", "describe_regions", "regions")
    except AwsError as error:
        # Organisations withhold even this: then every region that botocore knows is tried.
        if error.code not in _WITHHELD:
            raise
        return frozenset()
    return frozenset(item["RegionName"] for item in answer["Regions"])
