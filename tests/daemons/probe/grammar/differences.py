"""Where the probe comes to another end than curl on purpose: the whole list, each with its reason."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from daemons.probe.attempt import Attempt, Reason, Reconnect
from tests.daemons.probe.grammar.case import Case

__all__ = ["FOUND", "End", "difference"]


@dataclass(frozen=True)
class End:
    """How one request ended.

    Attributes:
        status: if the answer is complete, else nothing.
        connected: for it, instead of on a kept connection.
        size: of the body, in bytes.
        why: in words.
        attempt: the probe's record.
    """

    status: int | None
    connected: bool
    size: int
    why: str
    attempt: Attempt | None = None


@dataclass(frozen=True)
class Pair:
    """What both made of one request of a case; and the probe's attempt before it."""

    case: Case
    theirs: End
    ours: End
    before: Attempt | None

    @property
    def attempt(self) -> Attempt:
        assert self.ours.attempt is not None
        return self.ours.attempt

    def has(self, *traits: str) -> bool:
        return any(each.startswith(traits) for each in self.case.traits)

    def curl_failed(self, *codes: int) -> bool:
        return self.theirs.status is None and self.theirs.why.split(" ")[0] in {str(code) for code in codes}


def _strict(pair: Pair) -> bool:
    return (
        pair.theirs.status is not None
        and pair.attempt.reason is Reason.PROTOCOL
        and any(pair.has(*traits) and re.search(said, pair.attempt.detail) for said, traits in _BREACHES.items())
    )


_BREACHES = {
    "illegal status line|begins with": (
        "beginning:http/2",
        "beginning:two spaces",
        "beginning:glued",
        "beginning:lower case",
        "beginning:tab",
        "beginning:status",
        "beginning:two digits",
        "beginning:four digits",
    ),
    "illegal header line": (
        "odd field:space",
        "odd field:empty name",
        "odd field:lone cr",
        "odd field:odd name",
        "odd field:latin-1 name",
        "odd field:control",
        "odd field:nul",
        "trailers:nonsense",
    ),
    "Content-Length": ("length:", "both"),
    "Transfer-Encoding": ("coding:",),
    "chunk": ("chunk size:", "chunk end:", "trailers:nonsense"),
}
"""What the parser says, and the oddities of which it may say so: each breaks a MUST of RFC 9112."""


DIFFERENCES: dict[str, Callable[[Pair], bool]] = {
    # Nobody can say whether the server did what it was asked: a probe tells that, a client has to get on.
    "curl asks again when a kept connection ends without the head of an answer": lambda pair: (
        not pair.ours.connected
        and pair.theirs.connected
        and pair.attempt.reason in (Reason.CLOSED, Reason.RESET, Reason.PROTOCOL)
        # What comes in one read with the end of an HTTP/2 stream is no answer yet to curl.
        and (pair.attempt.status is None or pair.case.http == "2")
    ),
    # An older answer could be taken for the next one's (RFC 9112, section 9.2 lets a client close).
    "curl goes on with a connection on which bytes came that nobody asked for": lambda pair: (
        pair.ours.connected
        and not pair.theirs.connected
        and pair.before is not None
        and pair.before.lost is Reconnect.SURPLUS
    ),
    # After a failure the state of the connection is open to doubt, and a sample on it would be too.
    "curl goes on with an HTTP/2 connection after a stream that failed": lambda pair: (
        pair.case.http == "2"
        and pair.ours.connected
        and not pair.theirs.connected
        and pair.before is not None
        and not pair.before.succeeded
        and pair.before.reason is not Reason.STATUS
    ),
    # RFC 9113, section 6.8: receivers of GOAWAY MUST NOT open further streams.
    "curl asks on an HTTP/2 connection that is going away": lambda pair: (
        pair.ours.connected
        and not pair.theirs.connected
        and pair.before is not None
        and pair.before.lost in (Reconnect.GOAWAY, Reconnect.REFUSED)
    ),
    "curl asks on an HTTP/2 connection that has been closed, and fails": lambda pair: (
        pair.case.http == "2" and pair.ours.connected and not pair.theirs.connected and pair.curl_failed(16, 18, 55, 56)
    ),
    # RFC 9113, section 7: HTTP_1_1_REQUIRED. A target that is measured by HTTP/2 is not measured by another.
    "curl asks again by HTTP/1.1 when told to": lambda pair: (
        (pair.attempt.reason is Reason.HTTP_VERSION and pair.has("rst code=13", "goaway"))
        # It remembers that for the connections to come.
        or (pair.case.http == "2" and pair.curl_failed(1) and pair.has("rst code=13"))
    ),
    # What it writes in answer, such as the acknowledgement of settings, fails before it has read all.
    "curl fails a complete answer for what comes after it": lambda pair: (
        pair.curl_failed(16, 18, 55, 56, 92) and pair.ours.status is not None and pair.has("reset", "goaway", "breach:")
    ),
    # RFC 9113, section 8.7: such requests may be made again without risk. curl does it on kept connections only.
    "the probe asks again where a server says that it did nothing": lambda pair: (
        pair.theirs.status is None and bool(pair.attempt.retried)
    ),
    # RFC 9112, section 8: a message that ends early is incomplete.
    "curl takes an answer that was cut off for a whole one": lambda pair: (
        pair.theirs.status is not None
        and pair.attempt.reason in (Reason.CLOSED, Reason.RESET)
        and pair.ours.status is None
        and pair.ours.connected == pair.theirs.connected
    ),
    "curl loses the end of an HTTP/2 answer and calls it a success": lambda pair: (
        pair.case.http == "2"
        and pair.theirs.status is not None
        and pair.theirs.status == pair.ours.status
        and pair.theirs.size < pair.ours.size
        and pair.has("goaway", "breach:")
    ),
    "curl takes what breaks a MUST of RFC 9112": _strict,
    "curl takes what breaks a MUST of RFC 9113, or what came before": lambda pair: (
        pair.theirs.status is not None
        and pair.attempt.reason is Reason.PROTOCOL
        and pair.has("breach:")
        and pair.ours.connected == pair.theirs.connected
    ),
    # RFC 9113, section 8.1.1: such an answer is malformed.
    "curl takes as much of an HTTP/2 body as was announced": lambda pair: (
        pair.theirs.status is not None
        and pair.attempt.reason is Reason.PROTOCOL
        and pair.has("wrong length")
        and "InvalidBodyLengthError" in pair.attempt.detail
    ),
    # RFC 9110, section 2.5: a minor version that is not known is read as the highest that is.
    "curl refuses versions of HTTP/1 that it does not know": lambda pair: (
        pair.curl_failed(1) and pair.has("beginning:version 1.2", "beginning:version 1")
    ),
    "curl refuses trailers of more than 4096 bytes": lambda pair: (
        pair.curl_failed(27, 56) and pair.has("trailers:long") and "chunked-encoding" in pair.theirs.why
    ),
}


def difference(case: Case, theirs: list[End], ours: list[End]) -> str | None:
    """Say in what the probe came to another end than curl; None when in nothing but what is on the list.

    Only up to the first difference: after it the connections, and so the scripts, are not the same.
    """
    before: Attempt | None = None
    for number, (one, two) in enumerate(zip(theirs, ours, strict=False)):
        pair = Pair(case, one, two, before)
        why = next((name for name, holds in DIFFERENCES.items() if holds(pair)), None)
        if why is not None:
            FOUND[why] += 1
            return None
        same = (one.status, one.connected) == (two.status, two.connected)
        if not same or (one.status is not None and one.size != two.size):
            return f"request {number}: curl {_shown(one)}, probe {_shown(two)}"
        before = two.attempt
    return None


def _shown(end: End) -> str:
    return f"{end.status} {end.size} {'new' if end.connected else 'kept'} ({end.why})"


FOUND: Counter[str] = Counter()
"""How often each was met."""
