"""Structured logs: one JSON object a line for the journal, or coloured text for a terminal.

Nothing is logged per event; what happens per event is counted. A traceback shows no local variables, which would hold
keys and requests, and a configured secret is hidden wherever it stands.
"""

import atexit
import logging
import os
from dataclasses import dataclass
from typing import TextIO, cast

import structlog

from daemons.errors import brief
from daemons.sections import LogFormat
from daemons.service.log.limit import LogLimit
from daemons.service.log.people import ConsoleLines
from daemons.service.log.writer import LogWriter
from daemons.service.secrecy import NOTHING, Secrets

__all__ = ["LogCounts", "configure", "counts", "limit", "unexpected", "writer"]


@dataclass(slots=True)
class LogCounts:
    """What happened that a log may not have room for; plain integers for the metrics."""

    unexpected: int = 0


limit = LogLimit()
writer = LogWriter()
counts = LogCounts()
"""Of this process, which has one log."""


def unexpected(error: BaseException, where: str) -> None:
    """Count and tell of an exception that nobody foresaw, and that the daemon lives on after."""
    counts.unexpected += 1
    structlog.get_logger("daemon").error("unexpected error", error=brief(error), where=where[:200])


_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure(style: LogFormat, level: str, secrets: Secrets = NOTHING) -> None:
    """Send all logs, ours and the libraries', to standard error in one style.

    Args:
        style: ``json`` (journald, log shippers), ``console`` (people), or ``auto``: ``console`` at a terminal.
        level: the lowest level shown: debug, info, warning or error.
        secrets: values that no line may hold.
    """
    _have_standard_error()
    terminal = os.isatty(2)
    # Registered once, however often we come here.
    atexit.unregister(writer.drain)
    atexit.register(writer.drain)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    renderer: list[structlog.typing.Processor] = (
        [ConsoleLines(terminal=terminal, hide=secrets.hide)]
        if style == "console" or (style == "auto" and terminal)
        else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )

    def hide(_logger: object, _method: str, line: object) -> str:
        return secrets.hide(str(line))

    renderer.append(hide)
    structlog.configure(
        processors=[limit, *shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", writer)),
        # A reload changes level and secrets of loggers that exist.
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard module; give their lines the same shape.
    handler = logging.StreamHandler(cast("TextIO", writer))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(lambda record: limit.admit(f"{record.name}\0{record.levelname}") is not None)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def _have_standard_error() -> None:
    """Where descriptor 2 was closed before us, keep sockets from getting it, and lines from going to a peer."""
    try:
        os.fstat(2)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != 2:
            os.dup2(nowhere, 2)
            os.close(nowhere)
