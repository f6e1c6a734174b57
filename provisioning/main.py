"""The ``provision`` command."""

from typing import Any

import click

from daemons.errors import LatencyError
from daemons.service.command_line import CONTEXT, version_option
from daemons.service.screen import error_line
from provisioning.commands.building import plan, status, up
from provisioning.commands.hosts import deploy, ssh, targets
from provisioning.commands.pricing import cost
from provisioning.commands.removing import down, reap
from provisioning.permissions import policy_text
from provisioning.settings import Settings, shared

__all__ = ["Settings", "main"]


class _Group(click.Group):
    """Ends with the message and exit code of our own errors, not with a stack trace."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LatencyError as error:
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
    click.echo(policy_text(), nl=False)


for _command in (plan, up, status, down, reap, cost, targets, deploy, ssh):
    main.add_command(_command)


if __name__ == "__main__":
    main()
