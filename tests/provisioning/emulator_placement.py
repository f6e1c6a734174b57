"""Placement groups, which moto has not: made, listed, removed, and refused as EC2 refuses (EC2 API, "Error codes")."""

import functools
import secrets
from typing import Any


def _groups(ec2: Any) -> dict[str, dict[str, str]]:
    """A region's groups by name; gone with the account."""
    found: dict[str, dict[str, str]] = ec2.__dict__.setdefault("placement_groups", {})
    return found


def _zones(ec2: Any, name: str) -> set[str]:
    """Where hosts of a group stand; those that are ending count."""
    hosts = (host for reservation in ec2.reservations.values() for host in reservation.instances)
    standing = (host for host in hosts if getattr(host, "stands_in", "") == name and host.state != "terminated")
    return {ec2.get_subnet(host.subnet_id).availability_zone for host in standing}


def _told(ec2: Any, group: dict[str, str]) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in ec2.tags[group["GroupId"]].items()]
    return {**group, "Tags": tags}


@functools.cache
def add() -> None:  # noqa: C901 - four small handlers
    """Have moto know them, in this process."""
    from moto.core.responses import ActionResult, EmptyResult  # noqa: PLC0415
    from moto.ec2 import utils  # noqa: PLC0415
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from moto.ec2.responses import EC2Response  # noqa: PLC0415

    utils.EC2_RESOURCE_TO_PREFIX["placement-group"] = "pg"
    utils.EC2_PREFIX_TO_RESOURCE["pg"] = "placement-group"
    run = EC2Response.run_instances

    def create_placement_group(self: Any) -> Any:
        ec2, name = self.ec2_backend, self._get_param("GroupName")
        if name in _groups(ec2):
            raise EC2ClientError("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
        group = {"GroupName": name, "GroupId": f"pg-{secrets.token_hex(8)}", "State": "available"}
        group["Strategy"] = self._get_param("Strategy")
        _groups(ec2)[name] = group
        ec2.create_tags([group["GroupId"]], self._parse_tag_specification().get("placement-group", {}))
        return ActionResult({"PlacementGroup": _told(ec2, group)})

    def describe_placement_groups(self: Any) -> Any:
        ec2, asked = self.ec2_backend, self._filters_from_querystring()
        listed = [_told(ec2, group) for group in _groups(ec2).values()]

        def fits(group: dict[str, Any]) -> bool:
            known = {f"tag:{tag['Key']}": tag["Value"] for tag in group["Tags"]}
            known |= {"group-name": group["GroupName"], "strategy": group["Strategy"]}
            return all(known.get(name) in values for name, values in asked.items())

        return ActionResult({"PlacementGroups": [group for group in listed if fits(group)]})

    def delete_placement_group(self: Any) -> Any:
        ec2, name = self.ec2_backend, self._get_param("GroupName")
        if name not in _groups(ec2):
            raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        if _zones(ec2, name):
            raise EC2ClientError("InvalidPlacementGroup.InUse", f"The Placement Group '{name}' is in use.")
        ec2.tags.pop(_groups(ec2).pop(name)["GroupId"], None)
        return EmptyResult()

    def run_instances(self: Any) -> Any:
        name = (self._get_param("Placement") or {}).get("GroupName", "")
        if name and name not in _groups(self.ec2_backend):
            raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        if _groups(self.ec2_backend).get(name, {}).get("Strategy") == "cluster":
            interfaces = self._get_param("NetworkInterfaces", []) or [{"SubnetId": self._get_param("SubnetId")}]
            zones = {self.ec2_backend.get_subnet(item["SubnetId"]).availability_zone for item in interfaces}
            if elsewhere := _zones(self.ec2_backend, name) - zones:
                told = f"The placement group '{name}' is in use in another availability zone: {min(elsewhere)}"
                raise EC2ClientError("InvalidPlacementGroup.InUse", told)
        before = set(self.ec2_backend.reservations)
        answer = run(self)
        for identity, reservation in self.ec2_backend.reservations.items():
            if identity not in before:
                for host in reservation.instances:
                    host.stands_in = name
        return answer

    response: Any = EC2Response
    response.create_placement_group = create_placement_group
    response.describe_placement_groups = describe_placement_groups
    response.delete_placement_group = delete_placement_group
    response.run_instances = run_instances
