from hypothesis import given
from hypothesis import strategies as st

from daemons.link.messages import MAX_RANGES
from daemons.link.sending.given_up import GivenUp


def numbers(ranges: tuple[tuple[int, int], ...]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


@given(st.lists(st.sampled_from(["next", "skip", "tell", "reconnect"]), max_size=200))
def test_a_connection_is_told_every_number_at_least_once(steps: list[str]) -> None:
    given_up, number = GivenUp(), 0
    everything: set[int] = set()
    told: set[int] = set()
    for step in steps:
        match step:
            case "next" | "skip":
                number += 1 if step == "next" else 2
                given_up.add(number)
                everything.add(number)
            case "tell":
                said = numbers(given_up.untold())
                assert len(said) == len(set(said))
                assert set(said) <= everything
                told |= set(said)
                assert told == everything
                assert given_up.untold() == ()
            case _:
                given_up.tell_again()
                told = set()


def test_numbers_that_follow_each_other_are_one_range() -> None:
    given_up = GivenUp()
    for number in (1, 2, 3, 7, 8):
        given_up.add(number)
    assert given_up.untold() == ((1, 3), (7, 8))
    given_up.add(9)
    assert given_up.untold() == ((7, 9),)


def test_the_newest_ranges_are_remembered() -> None:
    given_up = GivenUp()
    for number in range(0, 4 * MAX_RANGES, 2):
        given_up.add(number)
    told = given_up.untold()
    assert len(told) == MAX_RANGES
    assert told[-1] == (4 * MAX_RANGES - 2, 4 * MAX_RANGES - 2)
    given_up.tell_again()
    assert given_up.untold() == told
