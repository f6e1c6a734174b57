"""Log lines for people: what happened first, then its figures; settings one group a line."""

import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from daemons.service.console.screen import wrapped

__all__ = ["ConsoleLines"]

_COLOURS = {"critical": "\x1b[1;31m", "error": "\x1b[1;31m", "warning": "\x1b[33m", "debug": "\x1b[2m"}
_INDENT = 9
_FOR_GREP = 100_000


class ConsoleLines:
    """The last processor but one of structlog's: makes a text of one or more lines.

    Args:
        terminal: whether a person looks on; lines end between words there, and levels have colours.
        hide: hides secrets; it must see them before lines are broken.
    """

    def __init__(self, *, terminal: bool, hide: Callable[[str], str] = str) -> None:
        self._terminal = terminal
        self._hide = hide

    def __call__(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        """Write one event."""
        time, level = str(event.pop("time", ""))[11:19], str(event.pop("level", "info"))
        words = [time, *([] if level == "info" else [level.upper()]), str(event.pop("event", ""))]
        trace = _traceback(event)
        groups = {name: event.pop(name) for name, value in [*event.items()] if isinstance(value, Mapping)}
        if (error := event.pop("error", None)) is not None:
            words[-1] += f": {error}"
        pairs = [f"{name}={_value(value)}" for name, value in event.items()]
        width = shutil.get_terminal_size().columns if self._terminal else _FOR_GREP
        texts = [" ".join(filter(None, words)) + ("  " + " ".join(pairs) if pairs else "")]
        for name, group in groups.items():
            texts += [f"  {name}:", *_settings(group)]
        lines = [line for text in texts for line in wrapped(self._hide(text), width, _INDENT)]
        if self._terminal and level in _COLOURS:
            lines[0] = lines[0].replace(level.upper(), f"{_COLOURS[level]}{level.upper()}\x1b[0m", 1)
        return "\n".join([*lines, *([trace] if trace else [])])


def _traceback(event: structlog.typing.EventDict) -> str:
    """Take an exception out of an event and write its traceback, without values of variables."""
    given = event.pop("exc_info", None)
    if not given:
        return str(event.pop("exception", ""))
    if isinstance(given, BaseException):
        given = (type(given), given, given.__traceback__)
    kind, error, frames = given if isinstance(given, tuple) else sys.exc_info()
    return "".join(traceback.format_exception(kind, error, frames)).rstrip()


def _settings(group: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Write settings as lines: a table's own on one line, and each table in it on lines of its own."""
    plain = {name: value for name, value in group.items() if not _is_nested(value)}
    shown = " ".join(f"{name}={_value(value)}" for name, value in plain.items() if value not in (None, "", (), [], {}))
    if shown:
        yield f"    {f'[{at}] ' if at else ''}{shown}"
    for name, value in group.items():
        if not _is_nested(value):
            continue
        below = f"{at}.{name}" if at else name
        if isinstance(value, Mapping):
            yield from _settings(value, below)
        else:
            for number, one in enumerate(value):
                yield from _settings(one, f"{below}[{number}]")


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and bool(value)
        and all(isinstance(one, Mapping) for one in value)
    )


def _value(value: Any) -> str:
    if isinstance(value, str):
        plain = bool(value) and not any(character.isspace() or character in "'\"" for character in value)
        return value if plain else repr(value)
    if isinstance(value, list | tuple):
        return ",".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
