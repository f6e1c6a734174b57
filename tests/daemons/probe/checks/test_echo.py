from hypothesis import given
from hypothesis import strategies as st

from daemons.probe.checks.echo import REMEMBERED, EchoAccount, reply_number, request

TIMEOUT = 1000


def answered(version: int, message: bytes) -> bytes:
    """What the peer's kernel sends back: the type changed, all else as it was."""
    return bytes([0 if version == 4 else 129]) + message[1:]


@given(st.sampled_from([4, 6]), st.integers(0, 2**64 - 1), st.integers(8, 2000))
def test_a_reply_carries_the_number_of_its_request(version: int, number: int, size: int) -> None:
    message = request(version, number, size)
    assert len(message) == 8 + size
    assert reply_number(version, answered(version, message)) == number
    assert reply_number(version, message) is None


@given(st.sampled_from([4, 6]), st.binary(max_size=100))
def test_other_messages_are_not_taken_for_replies(version: int, message: bytes) -> None:
    number = reply_number(version, message)
    assert number is None or message[0] == (0 if version == 4 else 129)


@given(st.lists(st.tuples(st.sampled_from("sree"), st.integers(0, 1500), st.integers(0, 30)), max_size=200))
def test_every_request_is_received_lost_or_outstanding(steps: list[tuple[str, int, int]]) -> None:
    account = EchoAccount(TIMEOUT)
    now = 0
    sent_at: list[int] = []
    received: set[int] = set()
    for what, wait, which in steps:
        now += wait
        if what == "s":
            assert account.send(now) == len(sent_at)
            sent_at.append(now)
        elif what == "r" and which < len(sent_at):
            found = account.receive(which, now)
            if found is not None:
                assert found == now - sent_at[which] <= TIMEOUT
                assert which not in received
                received.add(which)
        else:
            account.expire(now)
        assert account.sent == account.received + account.lost + account.outstanding
    assert account.received == len(received)


def test_late_answers_and_duplicates_are_told_apart() -> None:
    account = EchoAccount(TIMEOUT)
    for _number in range(3):
        account.send(0)
    assert account.receive(0, 10) == 10
    assert account.receive(0, 12) is None
    account.expire(TIMEOUT + 1)
    assert account.receive(1, TIMEOUT + 5) is None
    assert account.receive(1, TIMEOUT + 6) is None
    assert account.receive(99, 0) is None
    assert (account.received, account.lost, account.late, account.duplicates) == (1, 2, 1, 2)


def test_an_answer_past_the_timeout_is_late_even_before_anyone_looked() -> None:
    account = EchoAccount(TIMEOUT)
    account.send(0)
    assert account.receive(0, TIMEOUT + 1) is None
    assert (account.received, account.lost, account.late) == (0, 1, 1)


def test_memory_does_not_grow_with_time() -> None:
    account = EchoAccount(TIMEOUT)
    for now in range(20 * REMEMBERED):
        account.receive(account.send(now), now + 1)
    assert len(account._done) == REMEMBERED
    assert account.jitter.value_ns == 0.0
