"""What a client asks for: the request's path, live subscriptions, and the limits on asking. Sans-I/O.

Source: Binance, "WebSocket Streams": sections "General WSS information", "WebSocket Limits", "Live
Subscribing/Unsubscribing to streams" and "Error Messages". Where those say nothing (too many streams, a missing
``params``) the wording is ours and the code is theirs for an invalid request.
"""

import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from daemons.simulator.streams import is_book_data

__all__ = [
    "MICROSECOND_NS",
    "MILLISECOND_NS",
    "Answer",
    "BadRequestError",
    "MessageLimit",
    "Subscriptions",
    "open_path",
]

MILLISECOND_NS = 1_000_000
MICROSECOND_NS = 1_000

_TIME_UNITS = {
    "MILLISECOND": MILLISECOND_NS,
    "millisecond": MILLISECOND_NS,
    "MICROSECOND": MICROSECOND_NS,
    "microsecond": MICROSECOND_NS,
}
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
# "Alphanumeric strings; max length 36": the length of a UUID, whose dashes are accepted too.
_TEXT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_MISSING = object()


class BadRequestError(Exception):
    """A request that is answered with an error.

    Args:
        code: Binance's error code.
        message: Binance's error message.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def body(self, **extra: Any) -> str:
        """Return the JSON that the client gets."""
        return _dump({"code": self.code, "msg": self.message, **extra})


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do about a request: send ``text``, then start and stop these streams."""

    text: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class Subscriptions:
    """What one connection listens to, and how it wants it.

    Attributes:
        unit_ns: the connection's time unit.
        combined: whether events come in envelopes.
        limit: the most streams that the connection may listen to.
        names: in the order of subscription.
        base: of USD-M futures, ``public``, ``market``, or empty for a path of before the split; else None.
    """

    unit_ns: int
    combined: bool
    limit: int
    names: dict[str, None] = field(default_factory=dict)
    base: str | None = None

    def brings(self, name: str) -> bool:
        """Say whether anything comes of a stream on this connection; of one on the wrong base nothing does."""
        return self.base is None or is_book_data(name) == (self.base != "market")

    def answer(self, message: str | bytes) -> Answer:
        """Take one message from the client, change the state accordingly, and say what to do about it."""
        try:
            text, request = _decode(message)
            identity = _identity(request)
            method = _method(text, request)
        except BadRequestError as error:
            return Answer(error.body())
        try:
            return self._apply(method, request.get("params", _MISSING), identity)
        except BadRequestError as error:
            # Of all errors, only "Unknown property" repeats the request's id.
            return Answer(error.body(id=identity) if error.code == 0 else error.body())

    def add(self, names: list[str]) -> tuple[str, ...]:
        """Subscribe to all of the names or none; return those that are new.

        Raises:
            BadRequestError: a name that cannot be a stream, or too many of them.
        """
        for name in names:
            if not name or not name.isprintable() or " " in name:
                raise BadRequestError(2, "Invalid request: invalid stream")
        added = tuple(name for name in dict.fromkeys(names) if name not in self.names)
        if len(self.names) + len(added) > self.limit:
            raise BadRequestError(2, f"Invalid request: too many streams, at most {self.limit} per connection")
        self.names.update(dict.fromkeys(added))
        return added

    def _apply(self, method: str, params: Any, identity: int | str | None) -> Answer:
        done = _dump({"result": None, "id": identity})
        if method == "LIST_SUBSCRIPTIONS":
            if params not in (_MISSING, None, []):
                raise BadRequestError(2, "Invalid request: too many parameters")
            return Answer(_dump({"result": list(self.names), "id": identity}))
        if params is _MISSING:
            raise BadRequestError(2, "Invalid request: missing field `params`")
        if not isinstance(params, list):
            raise BadRequestError(2, "Invalid request: expected an array of parameters")
        if method == "SUBSCRIBE":
            return Answer(done, added=self.add(_texts(params)))
        if method == "UNSUBSCRIBE":
            removed = tuple(name for name in dict.fromkeys(_texts(params)) if name in self.names)
            for name in removed:
                del self.names[name]
            return Answer(done, removed=removed)
        if method == "SET_PROPERTY":
            self._check_property(params, 2)
            if len(params) < 2 or not isinstance(params[1], bool):
                raise BadRequestError(1, "Invalid value type: expected Boolean")
            self.combined = params[1]
            return Answer(done)
        self._check_property(params, 1)
        return Answer(_dump({"result": self.combined, "id": identity}))

    @staticmethod
    def _check_property(params: list[Any], most: int) -> None:
        if not params or not isinstance(params[0], str):
            raise BadRequestError(2, "Invalid request: property name must be a string")
        if len(params) > most:
            raise BadRequestError(2, "Invalid request: too many parameters")
        if params[0] != "combined":
            raise BadRequestError(0, "Unknown property")


class MessageLimit:
    """Counts what a client sends: pings, pongs and control requests alike.

    Args:
        most: messages allowed in any one second.
    """

    def __init__(self, most: int) -> None:
        self._recent_ns: deque[int] = deque(maxlen=most)

    def exceeded(self, now_ns: int) -> bool:
        """Count one message; True when it is one too many in the second before it."""
        full = len(self._recent_ns) == self._recent_ns.maxlen
        excess = full and now_ns - self._recent_ns[0] < 1_000_000_000
        self._recent_ns.append(now_ns)
        return excess


def open_path(target: str, *, limit: int, futures: bool = False) -> Subscriptions | None:
    """Interpret the path of an opening handshake.

    Args:
        target: ``/ws``, ``/ws/<name>``, ``/ws/<name>/<name>…`` or ``/stream?streams=<name>/<name>…``, with
            ``timeUnit=`` if wanted; percent-encoding is allowed.
        limit: the most streams per connection.
        futures: whether to be USD-M futures, which have bases (``/public/ws``) and no ``timeUnit``. Paths of before
            the split are answered as ever and bring book data alone, as users of the exchange found.

    Returns:
        What the connection listens to from the start; None when there is nothing at this path.

    Raises:
        BadRequestError: an unknown time unit, an impossible stream name or too many of them.
    """
    path, _, query_text = target.partition("?")
    query = parse_qs(query_text)
    unit_ns = MILLISECOND_NS
    if not futures and "timeUnit" in query:
        unit = query["timeUnit"][0]
        if unit not in _TIME_UNITS:
            raise BadRequestError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
        unit_ns = _TIME_UNITS[unit]
    base = next((base for base in ("public", "market") if path.startswith(f"/{base}/")), "") if futures else None
    first, _, rest = path.removeprefix(f"/{base}" if base else "").removeprefix("/").partition("/")
    if first == "ws":
        names = unquote(rest)
    elif first == "stream" and not rest:
        names = query.get("streams", [""])[0]
    else:
        return None
    subscriptions = Subscriptions(unit_ns, first == "stream", limit, base=base)
    subscriptions.add([name for name in names.split("/") if name])
    return subscriptions


def _decode(message: str | bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = message if isinstance(message, str) else message.decode()
        request = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequestError(3, f"Invalid JSON: expected value at line {error.lineno} column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequestError(3, "Invalid JSON: expected value at line 1 column 1") from error
    if not isinstance(request, dict):
        raise BadRequestError(3, "Invalid JSON: expected value at line 1 column 1")
    return text, request


def _identity(request: dict[str, Any]) -> int | str | None:
    identity = request.get("id", _MISSING)
    match identity:
        case None:
            return None
        case str() if _TEXT_ID.fullmatch(identity):
            return identity
        case int() if not isinstance(identity, bool) and -(2**63) <= identity < 2**63:
            return identity
    raise BadRequestError(2, "Invalid request: request ID must be an unsigned integer")


def _method(text: str, request: dict[str, Any]) -> str:
    if "method" not in request:
        raise BadRequestError(2, f"Invalid request: missing field `method` at line 1 column {len(text)}")
    method = request["method"]
    if method in _METHODS:
        return str(method)
    shown = method if isinstance(method, str) else _dump(method)
    expected = ", ".join(f"`{name}`" for name in _METHODS)
    column = text.find(shown) + len(shown) + 1
    raise BadRequestError(
        2, f"Invalid request: unknown variant `{shown}`, expected one of {expected} at line 1 column {column}"
    )


def _texts(params: list[Any]) -> list[str]:
    if not all(isinstance(name, str) for name in params):
        raise BadRequestError(2, "Invalid request: stream name must be a string")
    return params


def _dump(value: Any) -> str:
    # Escaping keeps lone surrogates, which JSON can carry and UTF-8 cannot, out of the frame.
    return json.dumps(value, separators=(",", ":"))
