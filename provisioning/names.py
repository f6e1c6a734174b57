"""Names in the account: of what tags alone do not tell apart, because AWS wants a name.

A dot stands between the parts and in none of them, so no two deployments, whatever their names and their hosts', can
mean the same one; and none begins with what AWS keeps for itself (``sg-`` for a group, EC2 API, CreateSecurityGroup).
"""

__all__ = ["resource_name"]


def resource_name(deployment: str, *parts: str) -> str:
    """The name of a deployment's role, profile, security group, key pair or placement group: at most 64 characters."""
    return ".".join(("latency", deployment, *parts))
