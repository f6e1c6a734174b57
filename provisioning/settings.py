"""The options that hold for every command of ``provision``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from provisioning.names import BUILT_IN

__all__ = ["Settings", "shared"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """The options that hold for every command.

    Attributes:
        connect: makes the cloud of a profile where a test has its own; None for AWS, whose library help does not need.
    """

    topology: str = "backbone"
    name: str = ""
    yes: bool = False
    json: bool = False
    profile: str | None = None
    monitor: bool = False
    overlay: str = ""
    instance_type: tuple[str, ...] = ()
    image: str = ""
    volume_gib: int = 0
    precision_time: bool = False
    placement: tuple[str, ...] = ()
    cpu_credits: str = ""
    ssh_from: tuple[str, ...] = ()
    ssh_key: str = ""
    owner: str = ""
    expires: str = ""
    stop_at_expiry: bool = False
    tag: tuple[str, ...] = ()
    connect: Callable[[str | None], Any] | None = field(default=None, repr=False)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE:
        setattr(context.ensure_object(Settings), parameter.name or "", value)


_SHARED = (
    click.option("--topology", "-t", metavar="|".join((*BUILT_IN, "FILE")), help="What to build.  [default: backbone]"),
    click.option("--name", "-n", metavar="DEPLOYMENT", help="Which of several.  [default: the topology's]"),
    click.option("--yes", "-y", is_flag=True, help="Do not ask before changing anything."),
    click.option("--json", is_flag=True, help="Print the result as JSON."),
    click.option("--profile", help="Profile of the AWS configuration files."),
    click.option("--monitor", is_flag=True, help="Add a host that scrapes the others."),
    click.option(
        "--overlay", type=click.Choice(["ipip", "wireguard", "transit"]), help="The overlay's kind.  [default: ipip]"
    ),
    click.option("--instance-type", multiple=True, metavar="ROLE=TYPE", help="Instance type of a role or host."),
    click.option("--image", metavar="NAME|AMI", help="debian-12, debian-13, ubuntu-24.04 or an ami- id."),
    click.option("--volume-gib", type=click.IntRange(1), help="Size of every root volume."),
    click.option(
        "--precision-time", is_flag=True, help="Placement groups with a PTP hardware clock (not for t types)."
    ),
    click.option(
        "--placement", multiple=True, metavar="ROLE=cluster", help="Near to each other in a zone (not for t types)."
    ),
    click.option(
        "--cpu-credits",
        type=click.Choice(["standard", "unlimited"]),
        help="Of every t type.  [default: unlimited, a monitor's standard]",
    ),
    click.option("--ssh-from", multiple=True, metavar="CIDR", help="Who may log in.  [default: nobody]"),
    click.option("--ssh-key", metavar="FILE", help="Public key for logging in."),
    click.option("--owner", help="Owner tag."),
    click.option("--expires", help="Expiry tag, such as 2026-12-31."),
    click.option("--tag", multiple=True, metavar="KEY=VALUE", help="Further tag of everything; stays until `down`."),
    click.option("--stop-at-expiry", is_flag=True, help="Hosts power themselves off when --expires is past."),
)


def shared(function: F) -> F:
    """Give a command the options that hold for all."""
    for option in reversed(_SHARED):
        function = option(function)
    for parameter in function.__click_params__:  # type: ignore[attr-defined]  # click's own attribute
        if parameter.name in Settings.__dataclass_fields__:
            parameter.expose_value = False
            parameter.callback = _keep
    return function
