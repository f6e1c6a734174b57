"""A tunnel through an HTTP proxy, without I/O: CONNECT, and what may come in answer (RFC 9110, section 9.3.6).

The head of the answer is read here and not by h11: in a successful one Content-Length and Transfer-Encoding MUST be
ignored, whatever they hold, and h11 refuses those that it cannot understand.
"""

import re

from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.http.proxy import USER_AGENT, Proxy

__all__ = ["MAX_ANSWER_BYTES", "Tunnel"]

MAX_ANSWER_BYTES = 65536
"""Of the answer's head and all interim ones before it; four times what common servers send."""

_SIGN = b"HTTP/1."
# Lines may end without CR (RFC 9112, section 2.2).
_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[0-9] +([0-9]{3})(?![0-9])[^\r\n]*")
_SHOWN_CHARACTERS = 200

# What squid calls its error, what RFC 9209 calls it, and what is asked for with 407.
_TELLING = ("x-squid-error", "proxy-status", "proxy-authenticate")


class Tunnel:
    """One CONNECT on a connection to a proxy.

    Send :meth:`request`, then give :meth:`receive` what comes until it returns True.

    Args:
        proxy: whom to ask.
        authority: the target's host and port; the proxy resolves the name.

    Attributes:
        surplus: what came after the answer's head; it is the target's already.
    """

    def __init__(self, proxy: Proxy, authority: str) -> None:
        self._proxy = proxy
        self._authority = authority
        self._received = bytearray()
        self._size = 0
        self.surplus = b""

    def request(self) -> bytes:
        """Return the bytes to send."""
        lines = [f"CONNECT {self._authority} HTTP/1.1", f"Host: {self._authority}", f"User-Agent: {USER_AGENT}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def receive(self, data: bytes) -> bool:
        """Take received bytes, none for the end of the connection.

        Returns:
            Whether the tunnel stands.

        Raises:
            AttemptError: the proxy refuses, closes, or does not speak HTTP.
        """
        if not data:
            raise AttemptError(Reason.CLOSED, f"{self._where}: closed the connection without an answer to CONNECT")
        searched = max(0, len(self._received) - len(b"\r\n\r"))
        self._received += data
        while True:
            self._check_beginning()
            end = _END.search(self._received, searched)
            self._check_size(end.end() if end else len(self._received))
            if end is None:
                return False
            head, searched = bytes(self._received[: end.start()]), 0
            del self._received[: end.end()]
            self._size += end.end()
            if self._final(head):
                self.surplus = bytes(self._received)
                return True

    @property
    def _where(self) -> str:
        return f"proxy {self._proxy.authority}"

    def _check_beginning(self) -> None:
        """Refuse what cannot become an answer at once: its end may never come."""
        beginning = self._received[: len(_SIGN)]
        if not _SIGN.startswith(beginning):
            raise self._not_http(bytes(self._received))

    def _check_size(self, head_bytes: int) -> None:
        if self._size + head_bytes > MAX_ANSWER_BYTES:
            raise AttemptError(
                Reason.TOO_LARGE,
                f"{self._where}: the head of its answer to CONNECT is longer than {MAX_ANSWER_BYTES} bytes; "
                "see what the proxy adds to it",
            )

    def _final(self, head: bytes) -> bool:
        """Judge a head; False for an interim answer, which is followed by another (RFC 9110, section 15.2)."""
        line = head.partition(b"\n")[0].rstrip(b"\r")
        matched = _STATUS.fullmatch(line)
        if matched is None:
            raise self._not_http(line)
        status = int(matched[1])
        if 200 <= status < 300:
            return True
        # After 101 another protocol would follow, which nobody asked for.
        if 100 <= status < 200 and status != 101:
            return False
        raise self._refusal(status, _shown(line.split(None, 1)[1]), head)

    def _refusal(self, status: int, said: str, head: bytes) -> AttemptError:
        fields = _fields(head)
        if status == 407:
            reason, remedy = Reason.PROXY_AUTHENTICATION, self._authentication(fields.get("proxy-authenticate", ""))
        else:
            reason, remedy = _meaning(status)
        told = ", ".join(f"{name}: {value}" for name, value in fields.items())
        return AttemptError(
            reason,
            f"{self._where}: answers CONNECT {self._authority} with {said}{f' ({told})' if told else ''}; {remedy}",
        )

    def _authentication(self, offered: str) -> str:
        if offered and "basic" not in offered.lower():
            return "latency-probe knows Basic alone: let the proxy accept that"
        if self._proxy.authorization:
            return "correct user and password in proxy_credentials_file"
        return "give user and password by proxy_credentials_file"

    def _not_http(self, data: bytes) -> AttemptError:
        return AttemptError(
            Reason.PROTOCOL, f"{self._where}: its answer is not HTTP/1.1: it begins with {data[:20]!r}; is it a proxy?"
        )


def _meaning(status: int) -> tuple[Reason, str]:
    if status == 403:
        return Reason.PROXY_DENIED, "allow this client, the host and its port at the proxy"
    if status >= 500:
        # Which of them it is differs from proxy to proxy: squid says 500 of a name that does not resolve.
        return Reason.PROXY_UNAVAILABLE, "see why the proxy does not reach the target, or whether it is overloaded"
    return Reason.PROXY_REFUSED, "see the proxy's log"


def _fields(head: bytes) -> dict[str, str]:
    """Find the fields that tell why; several of one name are joined."""
    found: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, _colon, value = line.partition(b":")
        key = name.decode("latin-1").lower()
        if key in _TELLING:
            found[key] = _shown(", ".join(filter(None, (found.get(key, ""), _shown(value)))).encode())
    return found


def _shown(data: bytes) -> str:
    """Make text of foreign bytes that does no harm in a log line or a terminal."""
    text = data.strip().decode("ascii", "replace")[:_SHOWN_CHARACTERS]
    return "".join(character if character.isprintable() else "?" for character in text)
