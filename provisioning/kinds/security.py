"""Security groups: compared rule by rule, so that a rule changed by hand is seen and put right."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from provisioning.firewall import Rule
from provisioning.kinds.instance import outside_address
from provisioning.model import Difference, Ec2Kind, Found, Node, View, tag_differences
from provisioning.names import resource_name

__all__ = ["SecurityGroupKind", "SecurityGroupSpec", "rules_of"]


@dataclass(frozen=True, slots=True)
class SecurityGroupSpec:
    vpc: str
    ingress: frozenset[Rule]
    egress: frozenset[Rule]


class SecurityGroupKind(Ec2Kind):
    name: ClassVar[str] = "security-group"
    describe: ClassVar[str] = "describe_security_groups"
    list_key: ClassVar[str] = "SecurityGroups"
    id_key: ClassVar[str] = "GroupId"

    def create(self, view: View, node: Node) -> None:
        view.make(
            node,
            "create_security_group",
            "security-group",
            tolerate=("InvalidGroup.Duplicate",),
            GroupName=resource_name(view.deployment.name, node.key.partition("/")[2]),
            Description=f"backbone-latency deployment {view.deployment.name}",
            VpcId=view.id(node.spec.vpc),
        )

    def differences(self, view: View, node: Node, found: Found) -> Iterator[Difference]:
        yield from tag_differences(view, node, found)
        if found.facts["VpcId"] != view.id(node.spec.vpc):
            yield Difference(f"stands in {found.facts['VpcId']}", replace=True)
            return
        for direction, wanted, field in (
            ("ingress", _named(view, node.spec.ingress), "IpPermissions"),
            ("egress", _named(view, node.spec.egress), "IpPermissionsEgress"),
        ):
            have, foreign = rules_of(found.facts.get(field, []))
            # Revoking first keeps the window in which a wrong rule is open as short as it can be.
            if surplus := sorted(have - wanted):
                yield Difference(
                    f"remove {direction} " + ", ".join(map(str, surplus)),
                    lambda d=direction, r=surplus: self._revoke(view, found, d, [rule.permission() for rule in r]),  # type: ignore[misc]
                )
            if foreign:
                yield Difference(
                    f"remove {direction} rules with groups, prefix lists or IPv6",
                    lambda d=direction, r=foreign: self._revoke(view, found, d, r),  # type: ignore[misc]
                )
            if missing := sorted(wanted - have):
                yield Difference(
                    f"allow {direction} " + ", ".join(map(str, missing)),
                    lambda d=direction, r=missing: self._authorize(view, found, d, r),  # type: ignore[misc]
                )

    def delete(self, view: View, found: Found) -> None:
        view.ec2(found, "delete_security_group", GroupId=found.id)

    def _authorize(self, view: View, found: Found, direction: str, rules: Iterable[Rule]) -> None:
        # One call a rule: a call with several is refused whole when one of them exists already.
        for rule in rules:
            view.ec2(
                found,
                f"authorize_security_group_{direction}",
                tolerate=("InvalidPermission.Duplicate",),
                GroupId=found.id,
                IpPermissions=[rule.permission()],
            )

    def _revoke(self, view: View, found: Found, direction: str, permissions: list[dict[str, Any]]) -> None:
        for permission in permissions:
            view.ec2(
                found,
                f"revoke_security_group_{direction}",
                tolerate=("InvalidPermission.NotFound",),
                GroupId=found.id,
                IpPermissions=[permission],
            )


def _named(view: View, rules: Iterable[Rule]) -> set[Rule]:
    """Rules with the addresses in place of the keys of what has them."""
    keys = {f"{key}/32": key for key in view.nodes if key.startswith(("address/", "accelerator/"))}
    return {
        replace(rule, cidr=f"{outside_address(view.found[keys[rule.cidr]])}/32")
        if keys.get(rule.cidr) in view.found
        else rule
        for rule in rules
    }


def rules_of(permissions: Iterable[Mapping[str, Any]]) -> tuple[set[Rule], list[dict[str, Any]]]:
    """Split EC2's permissions into our rules and what we never make (groups, prefix lists, IPv6)."""
    rules: set[Rule] = set()
    foreign: list[dict[str, Any]] = []
    for permission in permissions:
        base = {
            name: permission[name] for name in ("IpProtocol", "FromPort", "ToPort") if permission.get(name) is not None
        }
        rules.update(
            Rule.normal(permission["IpProtocol"], permission.get("FromPort"), permission.get("ToPort"), block["CidrIp"])
            for block in permission.get("IpRanges", [])
        )
        foreign.extend(
            {**base, field: permission[field]}
            for field in ("UserIdGroupPairs", "PrefixListIds", "Ipv6Ranges")
            if permission.get(field)
        )
    return rules, foreign
