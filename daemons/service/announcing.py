"""What a program says to whoever started it, on standard output: a line of JSON when it is ready, one with its totals.

The first has ``"ready": true`` and the addresses that it listens on, with the ports that the kernel chose; the last, of
programs that have totals, ``"ready": false``. Logs, which go to standard error, are for people: their words may change.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from daemons.service.log.writer import LogWriter

__all__ = ["announce"]

STANDARD_OUTPUT = 1
_DRAIN_SECONDS = 1.0
_writer = LogWriter(STANDARD_OUTPUT)


def announce(line: Mapping[str, Any]) -> None:
    """Write a line, unless to a terminal: there sits a person, who is told by the log.

    A reader that is gone, or takes nothing for a second, costs the line and nothing else.
    """
    # None where it was closed when we were started: the descriptor is then somebody else's, perhaps a socket's.
    if sys.stdout is None or os.isatty(STANDARD_OUTPUT):
        return
    _writer.write(json.dumps(line) + "\n")
    _writer.drain(_DRAIN_SECONDS)
