"""Against hashes of others; on no clock but the loop's."""

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable

import pytest

from daemons.service.web import passwords
from daemons.service.web.passwords import Passwords, PasswordVerdict
from tests.daemons.service.web.certificates import HASH, PASSWORD

# Of crypt_blowfish's own tests (https://www.openwall.com/crypt/), by password.
VECTORS = {
    b"U*U": b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    b"U*U*": b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
    b"U*U*U": b"$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a",
    b"\xff\xff\xa3": b"$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
}
USERS = {b"prometheus": HASH.encode()}


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REST", 0.0)


def basic(user: bytes, password: bytes) -> bytes:
    return b"Basic " + base64.b64encode(user + b":" + password)


def checking(work: Callable[[Passwords], Awaitable[None]]) -> None:
    async def run() -> None:
        checker = Passwords()
        try:
            async with asyncio.timeout(300):
                await work(checker)
        finally:
            await checker.close()

    asyncio.run(run())


def test_hashes_of_others() -> None:
    async def work(checker: Passwords) -> None:
        for password, hashed in VECTORS.items():
            users = {b"a": hashed}
            assert await checker.check(users, basic(b"a", password), "::1") is PasswordVerdict.RIGHT
            assert await checker.check(users, basic(b"a", password + b"x"), "::1") is PasswordVerdict.WRONG
            assert await checker.check(users, basic(b"b", password), "::1") is PasswordVerdict.WRONG
        # bcrypt looks at 72 bytes, and a newer library would raise for more.
        assert await checker.check({b"a": HASH.encode()}, basic(b"a", b"x" * 5000), "::1") is PasswordVerdict.WRONG
        assert await checker.check({b"a": HASH.encode()}, basic(b"a", b"a\x00b"), "::1") is PasswordVerdict.WRONG

    checking(work)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Basic !",
        b"Basic " + base64.b64encode(b"no colon"),
        b"Bearer x",
        b"Basic a b",
        b"\xff",
    ],
)
def test_what_is_no_password_costs_no_check(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_matches", lambda *_: pytest.fail("it was checked"))

    async def work(checker: Passwords) -> None:
        assert await checker.check(USERS, said, "::1") is PasswordVerdict.WRONG

    checking(work)


def test_a_right_password_is_checked_once_outside_the_loop_and_a_wrong_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, threads = passwords._matches, list[str]()

    def counted(password: bytes, hashed: bytes) -> bool:
        threads.append(threading.current_thread().name)
        return real(password, hashed)

    monkeypatch.setattr(passwords, "_matches", counted)

    async def work(checker: Passwords) -> None:
        right = basic(b"prometheus", PASSWORD.encode())
        for _turn in range(50):
            assert await checker.check(USERS, right, "10.0.0.1") is PasswordVerdict.RIGHT
        assert len(threads) == 1
        for _turn in range(3):
            assert await checker.check(USERS, basic(b"prometheus", b"guess"), "10.0.0.1") is PasswordVerdict.WRONG
        assert len(threads) == 4
        # Another hash: what was right is looked at again.
        assert await checker.check({b"prometheus": VECTORS[b"U*U"]}, right, "10.0.0.1") is PasswordVerdict.WRONG
        # The same bytes, divided elsewhere, are another user and password.
        moved = basic(b"prometheusr", PASSWORD[1:].encode())
        assert await checker.check({b"prometheus": HASH.encode(), b"prometheusr": VECTORS[b"U*U"]}, moved, "::1") is (
            PasswordVerdict.WRONG
        )
        assert threading.current_thread().name not in threads

    checking(work)


def test_guessing_is_bounded_and_whoever_is_known_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    going, checked, real = threading.Event(), list[bytes](), passwords._matches
    going.set()

    def slow(password: bytes, hashed: bytes) -> bool:
        going.wait(300)
        checked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(passwords, "_matches", slow)

    async def work(checker: Passwords) -> None:
        right = basic(b"prometheus", PASSWORD.encode())
        assert await checker.check(USERS, right, "10.0.0.1") is PasswordVerdict.RIGHT
        going.clear()
        guesses = [
            asyncio.create_task(checker.check(USERS, basic(b"prometheus", b"guess %d" % number), f"10.0.1.{source}"))
            for source in range(6)
            for number in range(source * 100, source * 100 + 100)
        ]
        same = [asyncio.create_task(checker.check(USERS, basic(b"x", b"y"), "10.0.0.1")) for _turn in range(5)]
        done = {task for task in guesses if task.done()}
        while len(done) < len(guesses) - passwords.MAX_WAITING:
            await asyncio.sleep(0)
            done = {task for task in guesses if task.done()}
        assert {task.result() for task in done} == {PasswordVerdict.LIMITED}
        # The loop is free, and who is known gets in at once.
        assert await checker.check(USERS, right, "10.0.1.1") is PasswordVerdict.RIGHT
        going.set()
        verdicts = await asyncio.gather(*guesses, *same)
        assert verdicts.count(PasswordVerdict.WRONG) == passwords.MAX_WAITING
        assert PasswordVerdict.RIGHT not in verdicts
        assert len(checked) == 1 + passwords.MAX_WAITING

    checking(work)


def test_one_password_asked_for_by_many_is_checked_once_also_when_they_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    going, checked, real = threading.Event(), list[bytes](), passwords._matches

    def slow(password: bytes, hashed: bytes) -> bool:
        going.wait(300)
        checked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(passwords, "_matches", slow)

    async def work(checker: Passwords) -> None:
        right = basic(b"prometheus", PASSWORD.encode())
        asking = [asyncio.create_task(checker.check(USERS, right, f"10.0.0.{number}")) for number in range(20)]
        await asyncio.sleep(0)
        asking[0].cancel()
        going.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert set(results[1:]) == {PasswordVerdict.RIGHT}
        assert len(checked) == 1

    checking(work)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_KNOWN", 3)
    monkeypatch.setattr(passwords, "_matches", lambda *_: True)

    async def work(checker: Passwords) -> None:
        for number in range(10):
            assert await checker.check(USERS, basic(b"prometheus", b"%d" % number), "::1") is PasswordVerdict.RIGHT
        assert len(checker._known) == 3

    checking(work)


def test_a_check_that_breaks_does_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    real = passwords._matches

    def broken(password: bytes, hashed: bytes) -> bool:
        if password == b"break":
            raise RuntimeError("a bug")
        return real(password, hashed)

    monkeypatch.setattr(passwords, "_matches", broken)

    async def work(checker: Passwords) -> None:
        with pytest.raises(RuntimeError, match="a bug"):
            await checker.check(USERS, basic(b"prometheus", b"break"), "::1")
        assert await checker.check(USERS, basic(b"prometheus", PASSWORD.encode()), "::1") is PasswordVerdict.RIGHT

    checking(work)
