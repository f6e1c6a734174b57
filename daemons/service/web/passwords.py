"""HTTP's Basic authentication (RFC 7617) against bcrypt hashes, without a moment of the event loop's time.

bcrypt is slow by design: a password costs a thread's time once, is then known by a digest, and wrong ones get no more
than a tenth of one core, whoever sends them and however many.
"""

import asyncio
import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto

from daemons.stream.crowd import source_of

__all__ = ["PasswordVerdict", "Passwords"]

MAX_KNOWN = 100
"""Right passwords that are remembered."""
MAX_WAITING = 8
"""Passwords that wait for their check; of one source a quarter of them."""
REST = 9.0
"""After a wrong password nothing is checked for so many times as long as its check took."""
_LONGEST = 72
"""Bytes; bcrypt has never looked at more, and hashes of longer passwords are made from these."""


class PasswordVerdict(Enum):
    """What became of it."""

    RIGHT = auto()
    WRONG = auto()
    LIMITED = auto()
    """Too many are waiting: it was not looked at."""


class Passwords:
    """Checks what clients say of themselves.

    What is remembered depends on the user's hash: another hash in the configuration, and it is forgotten.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, None] = {}
        # By digest: the source that asked first, and the answer to come.
        self._waiting: dict[bytes, tuple[str, asyncio.Future[bool]]] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: ThreadPoolExecutor | None = None

    async def check(self, users: Mapping[bytes, bytes], authorization: bytes, host: str) -> PasswordVerdict:
        """Check a request's Authorization field.

        Args:
            users: hashes by name.
            authorization: the field's value; empty where there is none.
            host: the client's address.
        """
        said = _credentials(authorization)
        if said is None:
            return PasswordVerdict.WRONG
        user, password = said
        # Who is unknown is checked like anybody else, so that the time does not tell which names exist.
        hashed = users.get(user) or next(iter(users.values()))
        digest = self._digest(user, hashed, password)
        if digest in self._known:
            # The one used longest ago is forgotten first.
            self._known[digest] = self._known.pop(digest)
            return PasswordVerdict.RIGHT
        waiting = self._waiting.get(digest)
        if waiting is None:
            source = source_of(host)
            same = sum(source == other for other, _answer in self._waiting.values())
            if len(self._waiting) >= MAX_WAITING or same >= max(1, MAX_WAITING // 4):
                return PasswordVerdict.LIMITED
            answer = asyncio.get_running_loop().create_future()
            waiting = self._waiting[digest] = (source, answer)
            task = asyncio.create_task(self._look(digest, answer, password, hashed, user in users))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # A client that gives up has its answer next time.
        return PasswordVerdict.RIGHT if await asyncio.shield(waiting[1]) else PasswordVerdict.WRONG

    async def close(self) -> None:
        """Stop checking; a hash under way is finished by its thread."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _source, answer in self._waiting.values():
            answer.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(
        self, digest: bytes, answer: "asyncio.Future[bool]", password: bytes, hashed: bytes, known: bool
    ) -> None:
        async with self._turn:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "passwords")
            begun = time.monotonic()
            try:
                matches = await asyncio.get_running_loop().run_in_executor(self._thread, _matches, password, hashed)
            except Exception as error:  # noqa: BLE001 whoever waits for the answer is told
                answer.set_exception(error)
                return
            finally:
                self._waiting.pop(digest, None)
            right = matches and known
            if right:
                while len(self._known) >= MAX_KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[digest] = None
            answer.set_result(right)
            if not right:
                await asyncio.sleep(REST * (time.monotonic() - begun))

    def _digest(self, *parts: bytes) -> bytes:
        """Identify what was said; with their lengths, so that no two are the same by where one part ends."""
        made = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in parts:
            made.update(len(part).to_bytes(8, "big"))
            made.update(part)
        return made.digest()


def _matches(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415 - a daemon without passwords has no use for it

    try:
        return bcrypt.checkpw(password[:_LONGEST], hashed)
    except ValueError:
        return False


def _credentials(authorization: bytes) -> tuple[bytes, bytes] | None:
    scheme, _space, encoded = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if colon else None
