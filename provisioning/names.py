"""Names: of the topologies that the package brings, and in the account of what AWS wants a name for beside its tags.

Of the latter: a dot stands between the parts and in none of them, so no two deployments, whatever their names and their
hosts', can mean the same one; and none begins with what AWS keeps for itself (``sg-`` for a group, EC2 API,
CreateSecurityGroup).
"""

__all__ = ["BUILT_IN", "resource_name"]

BUILT_IN = ("backbone", "egress", "full", "proxy", "ways", "zones")
"""The topologies that the package brings."""


def resource_name(deployment: str, *parts: str) -> str:
    """The name of a deployment's role, profile, security group, key pair or placement group: at most 64 characters."""
    return ".".join(("latency", deployment, *parts))
