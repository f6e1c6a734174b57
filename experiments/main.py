"""``experiment``: run, compare, validate and report latency experiments."""

import sys
from typing import Any

import click

from daemons.errors import LatencyError
from experiments.compare import compare_command
from experiments.demo import demo_command
from experiments.importing import import_command
from experiments.monitoring import monitoring_command
from experiments.reporting import report_command
from experiments.running import run_command
from experiments.validating import validate_command

__all__ = ["main"]


class _Group(click.Group):
    """Ends with the error's own exit code and its one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LatencyError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"max_content_width": 110})
@click.version_option(package_name="backbone-latency")
def main() -> None:
    """Find out which path is faster, by how much, and how sure that is."""


main.add_command(demo_command)
main.add_command(compare_command)
main.add_command(import_command)
main.add_command(monitoring_command)
main.add_command(report_command)
main.add_command(run_command)
main.add_command(validate_command)


if __name__ == "__main__":
    main()
