"""What is asked of a page and what it answers, and the pages that every daemon has for whoever watches over it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ["Page", "Request", "Route", "health", "text", "unready"]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: status, media type, body chunks, and further header fields."""

    body: AsyncIterator[bytes]
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What pages are made from: the query's first value per key, and the formats that are asked for."""

    query: dict[str, str] = field(default_factory=dict)
    accept: str = ""


Route = Callable[[Request], Awaitable[Page]]


async def text(content: str) -> AsyncIterator[bytes]:
    """Yield one string as a body."""
    yield content.encode()


def health(unready: Callable[[], str]) -> dict[str, Route]:
    """Make the two pages that Prometheus' programs have, for whoever watches over daemons.

    Args:
        unready: says why the daemon does not do its work: its start is not complete, or it ends; empty when it does.
    """

    async def healthy(_request: Request) -> Page:
        # It is the loop that measures which answers.
        return Page(text("healthy\n"))

    async def is_ready(_request: Request) -> Page:
        why = unready()
        return Page(text(f"not ready: {why}\n"), status=503) if why else Page(text("ready\n"))

    return {"/-/healthy": healthy, "/-/ready": is_ready}


def unready(*, served: bool, stopping: bool) -> str:
    """Return why a daemon in this state does not do its work; empty if it does."""
    return "stopping" if stopping else "" if served else "starting"
