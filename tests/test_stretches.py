"""What a failure would say is what is wrong."""

import pytest

from tests.stretches import stretches


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([], []),
        ([7], [(7, 7)]),
        ([1, 2, 3], [(1, 3)]),
        ([1, 2, 5, 6], [(1, 2), (5, 6)]),
        ([1, 2, 2, 3], [(1, 2), (2, 3)]),
        ([1, 2, 3, 2, 3, 4], [(1, 3), (2, 4)]),
        ([3, 2, 1], [(3, 3), (2, 2), (1, 1)]),
    ],
)
def test_holes_and_what_comes_again_are_seen(numbers: list[int], told: list[tuple[int, int]]) -> None:
    assert stretches(numbers) == told
