"""What feeds say of themselves, caught instead of logged: it belongs into the record of the race."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn

import structlog

__all__ = ["hearing"]

_MOST = 400
"""Of a sentence: an exchange may answer anything."""


@contextmanager
def hearing(take: Callable[[str, str, str], None]) -> Iterator[None]:
    """Give all that is logged in this process meanwhile to somebody, who is the only one to have it.

    Args:
        take: gets the feed's name, why a connection was lost, in a word, or "" for anything else, and the sentence.
    """

    def caught(_logger: object, _method: str, said: MutableMapping[str, Any]) -> NoReturn:
        event, reason = str(said.get("event", "")), said.get("reason")
        more = said.get("error") or said.get("answers") or said.get("stream") or ""
        take(str(said.get("feed", "")), str(reason or ""), f"{event}: {more}"[:_MOST] if more else event)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[caught], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
