"""What protects a link after its handshake: everything is signed, under keys that belong to this connection alone.

Over TCP, frames travel in records, each with the tag of its content and of its place in the stream; datagrams carry a
number and a tag of their own. Without a shared key there is neither. Nothing is hidden: market data is public.
"""

import hashlib
import hmac
from array import array
from dataclasses import dataclass
from struct import Struct
from typing import Final

from daemons.errors import WireError
from daemons.link.events import datagram_head
from daemons.reasons import LinkReason

__all__ = [
    "MAX_RECORD",
    "TAG_BYTES",
    "WINDOW",
    "DatagramOpener",
    "DatagramSealer",
    "Opener",
    "Sealer",
    "SessionKeys",
    "session_keys",
]

RECORD_MAGIC: Final = 0xB2
MAX_RECORD: Final = 65_536
"""Most bytes of frames in a record: so much has to be held before it is known who sent it."""
TAG_BYTES: Final = 16
WINDOW: Final = 16_384
"""How far behind the newest a datagram may be: none is looked at twice, and of older ones that cannot be told."""

_RECORD = Struct("!BI")
_PLACE = Struct("!Q")
_PERSON: Final = b"backbone-link-2"


@dataclass(frozen=True, slots=True, repr=False)
class SessionKeys:
    """The keys of one connection: one for each direction, so that nothing can be sent back to who said it."""

    forwarder: bytes
    receiver: bytes
    datagrams: bytes


def session_keys(secret: bytes, salt: bytes, transcript: bytes) -> SessionKeys:
    """Derive the keys of a connection (HKDF-SHA-256, RFC 5869).

    Args:
        secret: the shared key.
        salt: both nonces, the receiver's first.
        transcript: all that both have signed.
    """
    extracted = hmac.digest(salt, secret, "sha256")
    said = hashlib.sha256(transcript).digest()
    # Expand, section 2.3, for one block of output: T(1) = HMAC(PRK, info | 0x01).
    keys = (
        hmac.digest(extracted, b"backbone-latency link 2 " + purpose + said + b"\x01", "sha256")
        for purpose in (b"forwarder", b"receiver", b"datagrams")
    )
    return SessionKeys(*keys)


class _Signer:
    """Makes the tags of one direction: BLAKE2b (RFC 7693), keyed."""

    def __init__(self, key: bytes) -> None:
        # Copied for each tag: the key's own block is hashed but once.
        self._keyed = hashlib.blake2b(key=key, digest_size=TAG_BYTES, person=_PERSON)

    def tag(self, *parts: bytes) -> bytes:
        state = self._keyed.copy()
        for part in parts:
            state.update(part)
        return state.digest()


class Sealer:
    """Puts one direction's frames into records.

    Args:
        key: of this direction.
    """

    def __init__(self, key: bytes) -> None:
        self._signer = _Signer(key)
        self._place = 0

    def seal(self, data: bytes) -> bytes:
        """Return records with these bytes of frames; write them in the order in which they were made."""
        if len(data) <= MAX_RECORD:
            return self._record(data)
        pieces = (data[at : at + MAX_RECORD] for at in range(0, len(data), MAX_RECORD))
        return b"".join(map(self._record, pieces))

    def _record(self, data: bytes) -> bytes:
        head = _RECORD.pack(RECORD_MAGIC, len(data))
        # Its place is signed and not sent: a record that was left out, repeated or moved does not fit.
        tag = self._signer.tag(_PLACE.pack(self._place), head, data)
        self._place += 1
        return head + data + tag


class Opener:
    """Takes the other direction's frames out of records.

    Args:
        key: of that direction.

    Attributes:
        exact: the last bytes received completed a record.
    """

    def __init__(self, key: bytes) -> None:
        self._signer = _Signer(key)
        self._place = 0
        self._held = bytearray()
        self.exact = False

    def open(self, data: bytes) -> bytes:
        """Take in received bytes; return the bytes of frames that they complete.

        Raises:
            WireError: ``forged`` for a record that the peer has not sent, or not at this place; ``garbage`` and
                ``too_large`` for what is no record.
        """
        held = self._held
        held += data
        opened: list[bytes] = []
        at, end = 0, len(held)
        while end - at >= _RECORD.size:
            magic, length = _RECORD.unpack_from(held, at)
            if magic != RECORD_MAGIC:
                raise WireError(LinkReason.GARBAGE, f"record starts with {held[at : at + 4].hex()}, not ours")
            if length > MAX_RECORD:
                raise WireError(LinkReason.TOO_LARGE, f"record of {length} bytes exceeds the limit of {MAX_RECORD}")
            content = at + _RECORD.size
            stop = content + length + TAG_BYTES
            if stop > end:
                break
            opened.append(self._checked(bytes(held[at:stop])))
            at = stop
        del held[:at]
        self.exact = bool(opened) and not held
        return opened[0] if len(opened) == 1 else b"".join(opened)

    def _checked(self, record: bytes) -> bytes:
        head, data, tag = record[: _RECORD.size], record[_RECORD.size : -TAG_BYTES], record[-TAG_BYTES:]
        expected = self._signer.tag(_PLACE.pack(self._place), head, data)
        if not hmac.compare_digest(expected, tag):
            raise WireError(
                LinkReason.FORGED, "a record was altered, left out or added on the way; the forwarder will reconnect"
            )
        self._place += 1
        return data


class DatagramSealer:
    """Makes the datagrams of one connection.

    Args:
        token: of WELCOME.
        key: for datagrams; empty for none.
    """

    def __init__(self, token: int, key: bytes = b"") -> None:
        self._token = token
        self._signer = _Signer(key) if key else None
        self._number = 0
        self.overhead = len(datagram_head(token, 0)) + (TAG_BYTES if key else 0)

    def wrap(self, frames: bytes) -> bytes:
        """Return a datagram with these EVENT frames, numbered and signed."""
        self._number += 1
        datagram = datagram_head(self._token, self._number) + frames
        return datagram if self._signer is None else datagram + self._signer.tag(datagram)


class DatagramOpener:
    """Says which datagrams of one connection are what the forwarder sent, and have not come before.

    Args:
        key: for datagrams; empty for none, and then all of them are believed.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._signer = _Signer(key) if key else None
        self._newest = 0
        self._seen = array("Q", bytes(8 * WINDOW)) if key else array("Q")
        """Of the numbers that end alike, the newest seen (as RFC 6479: nothing has to be shifted)."""

    def end_of_events(self, number: int, data: bytes) -> int:
        """Check a datagram; return where in it the events end.

        Args:
            number: as its head says.
            data: all of it.

        Raises:
            WireError: ``forged`` or ``replayed``.
        """
        if self._signer is None:
            return len(data)
        end = len(data) - TAG_BYTES
        if not hmac.compare_digest(self._signer.tag(data[:end]), data[end:]):
            raise WireError(LinkReason.FORGED, "a datagram's tag does not fit; somebody alters or adds datagrams")
        at = number % WINDOW
        if number <= self._seen[at] or number + WINDOW <= self._newest:
            raise WireError(LinkReason.REPLAYED, "a datagram came again, or far too late")
        # Only of what is known to be genuine: a forged number must not close the window.
        self._seen[at] = number
        self._newest = max(self._newest, number)
        return end
