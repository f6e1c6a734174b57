"""Numbers that should be consecutive, told so that a failure can be read however many there are."""

from collections.abc import Iterable

__all__ = ["stretches"]


def stretches(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each stretch of numbers that go up by one, in the order in which they come.

    A hole begins a new stretch further on, a number that comes again one further back.
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
