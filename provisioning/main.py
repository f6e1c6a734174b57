"""The ``provision`` command."""

from typing import Any

import click

from daemons.errors import LatencyError
from daemons.service.console.command_line import CONTEXT, OurGroup, version_option
from daemons.service.extra import require_extra
from daemons.service.settings.numbers import Number
from daemons.service.settings.spans import Span
from provisioning.settings import Settings, shared

__all__ = ["Settings", "main"]


class _Group(OurGroup):
    """Ends with the message and exit code of our own errors, not with a stack trace."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LatencyError as error:
            from daemons.service.console.screen import error_line  # noqa: PLC0415 - of use to failures alone

            for line in (str(error), *getattr(error, "__notes__", ())):
                error_line(line)
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted: what was made stays; run the command again to go on, or `down`", err=True)
            context.exit(130)


@click.group(cls=_Group, context_settings=CONTEXT)
@version_option()
@shared
@click.pass_context
def main(context: click.Context) -> None:
    """Build an experiment's network on AWS, and take it away again.

    Nothing is stored on this machine: a deployment is recognised by its tags, so any operator can go on where
    another stopped. The options can be given before or after the command.
    """
    context.ensure_object(Settings)


@main.command()
def policy() -> None:
    """Print the IAM policy with all the permissions that `provision` needs, and no other. Calls nothing."""
    from provisioning.permissions import policy_text  # noqa: PLC0415 - of no use to --help

    click.echo(policy_text(), nl=False)


@main.command()
@shared
@click.pass_obj
def plan(settings: Settings) -> None:
    """Show what `up` would do. Changes nothing."""
    require_extra("aws")
    from provisioning.commands import building  # noqa: PLC0415 - of no use to --help

    building.plan(settings)


@main.command()
@shared
@click.option("--bundle", default="", metavar="FILE", help="Software bundle to use instead of building one.")
@click.option("--wait", "wait_seconds", type=Span(minimum=0), default=0, help="Wait until every host says it is ready.")
@click.pass_obj
def up(settings: Settings, /, **flags: Any) -> None:
    """Build the deployment, complete a half-built one, or mend what was changed by hand."""
    require_extra("aws")
    from provisioning.commands import building  # noqa: PLC0415 - of no use to --help

    building.up(settings, **flags)


@main.command()
@shared
@click.pass_obj
def status(settings: Settings) -> None:
    """Show every resource, and what each host says about itself."""
    require_extra("aws")
    from provisioning.commands import building  # noqa: PLC0415 - of no use to --help

    building.status(settings)


@main.command()
@shared
@click.pass_obj
def down(settings: Settings) -> None:
    """Remove everything that carries the deployment's tags, in whatever region, and look again at every one."""
    require_extra("aws")
    from provisioning.commands import removing  # noqa: PLC0415 - of no use to --help

    removing.down(settings)


@main.command()
@shared
@click.pass_obj
def reap(settings: Settings) -> None:
    """Take the deployment away if its expiry is past, and else leave it. For a scheduler: it never asks."""
    require_extra("aws")
    from provisioning.commands import removing  # noqa: PLC0415 - of no use to --help

    removing.reap(settings)


@main.command()
@shared
@click.option("--link-gb", multiple=True, metavar="GB|LINK=GB", help="GB in 30 days over each link, or over one.")
@click.option("--overlay-gb", type=Number(0), default=0.0, help="GB in 30 days through the overlay, each way.")
@click.option("--proxy-gb", type=Number(0), default=0.0, help="GB in 30 days through the proxy, each way.")
@click.option("--internet-gb", type=Number(0), default=0.0, help="GB in 30 days from each public host to the internet.")
@click.option("--archive-gb", type=Number(0), default=0.0, help="GB in 30 days from each receiver's archive.")
@click.pass_obj
def cost(settings: Settings, /, **flags: Any) -> None:
    """What the deployment costs per hour, day and 30 days. Calls nothing."""
    from provisioning.commands import pricing  # noqa: PLC0415 - of no use to --help

    pricing.cost(settings, **flags)


@main.command()
@shared
@click.option("--local", is_flag=True, help="Leave out what the monitor host cannot reach.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write to a file instead of standard output.")
@click.pass_obj
def targets(settings: Settings, /, **flags: Any) -> None:
    """Prometheus file service discovery: every host's exporter with role, site and deployment labels. Calls nothing."""
    from provisioning.commands import scraping  # noqa: PLC0415 - of no use to --help

    scraping.targets(settings, **flags)


@main.command()
@shared
@click.option("--bundle", default="", metavar="FILE", help="Software bundle to use instead of building one.")
@click.option("--host", "only", multiple=True, metavar="HOST", help="Deploy to these hosts only.  [default: all]")
@click.option("--identity", default="", metavar="FILE", help="Private key to log in with.")
@click.pass_obj
def deploy(settings: Settings, /, **flags: Any) -> None:
    """Put new software on running hosts; all go back to the old one when a host does not become healthy."""
    require_extra("aws")
    from provisioning.commands import hosts  # noqa: PLC0415 - of no use to --help

    hosts.deploy(settings, **flags)


@main.command(context_settings={"ignore_unknown_options": False})
@shared
@click.argument("role")
@click.argument("command", nargs=-1)
@click.option("--identity", default="", metavar="FILE", help="Private key to log in with.")
@click.pass_obj
def ssh(settings: Settings, /, **flags: Any) -> None:
    """Log in to a host, by role or name, or run a command there: `provision ssh receiver -- uptime`."""
    require_extra("aws")
    from provisioning.commands import hosts  # noqa: PLC0415 - of no use to --help

    hosts.ssh(settings, **flags)


if __name__ == "__main__":
    main()
