"""What latency-simulator's command line asks for, done."""

import sys
from typing import Any

from daemons.errors import ConfigError
from daemons.sections import LogFormat
from daemons.service.console.exits import die
from daemons.service.lifecycle import run
from daemons.service.log.logs import configure
from daemons.simulator.program import Simulator
from daemons.simulator.settings import check

__all__ = ["carry_out"]


def carry_out(log_format: LogFormat, flags: dict[str, Any]) -> None:
    """Run with what the command line says.

    Args:
        log_format: shape of the log lines.
        flags: every other option by its name.

    Raises:
        SystemExit: at the end, with the exit code.
    """
    configure(log_format, "info")
    try:
        settings = check(flags)
    except ConfigError as error:
        die(error)
    sys.exit(run(lambda: Simulator(settings)))
