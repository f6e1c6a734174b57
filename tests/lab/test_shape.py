"""The link's arithmetic, in milliseconds of test time."""

import itertools
import random
import statistics

import pytest

from tests.lab.shape import MILLISECOND_NS, Direction, Shape

PACKETS = 20_000
SPACING_NS = 100_000


def send(shape: Shape, packets: int = PACKETS, spacing_ns: int = SPACING_NS) -> list[tuple[int, tuple[int, ...]]]:
    direction = Direction(shape, random.Random(7))
    return [(now, direction.due_ns(now)) for now in range(0, packets * spacing_ns, spacing_ns)]


def test_a_plain_delay_is_exact() -> None:
    assert {due[0] - now for now, due in send(Shape(delay_ms=50))} == {50 * MILLISECOND_NS}


@pytest.mark.soak
def test_jitter_stays_in_its_bounds_keeps_the_order_and_has_no_bias() -> None:
    sent = send(Shape(delay_ms=50, jitter_ms=5), packets=1_000_000)
    delays = [due[0] - now for now, due in sent]
    assert 45 * MILLISECOND_NS <= min(delays) < max(delays) <= 55 * MILLISECOND_NS
    assert [due for _, due in sent] == sorted(due for _, due in sent)
    assert statistics.fmean(delays) == pytest.approx(50 * MILLISECOND_NS, rel=0.01)
    # Uniform levels joined by straight lines: sqrt(2/3) of the uniform distribution's deviation.
    assert statistics.pstdev(delays) == pytest.approx(5 * MILLISECOND_NS / 3**0.5 * (2 / 3) ** 0.5, rel=0.1)


def test_loss_and_duplication_have_their_probabilities() -> None:
    copies = [len(due) for _, due in send(Shape(loss=0.05, duplicate=0.1))]
    assert copies.count(0) / PACKETS == pytest.approx(0.05, rel=0.15)
    assert copies.count(2) / PACKETS == pytest.approx(0.095, rel=0.15)


def test_only_chosen_packets_leave_the_order() -> None:
    dues = [due[0] for _, due in send(Shape(delay_ms=10, reorder=0.02, reorder_hold_ms=3))]
    overtaken = sum(later < earlier for earlier, later in itertools.pairwise(dues))
    assert overtaken / PACKETS == pytest.approx(0.02, rel=0.2)


def test_a_cut_link_passes_nothing() -> None:
    assert {due for _, due in send(Shape(cut=True))} == {()}


def test_a_delay_made_smaller_lets_nothing_overtake() -> None:
    direction = Direction(Shape(delay_ms=50), random.Random(7))
    (first,) = direction.due_ns(0)
    direction.shape = Shape(delay_ms=1)
    assert direction.due_ns(1) == (first,)


@pytest.mark.parametrize("wrong", [{"loss": 1.5}, {"reorder": -0.1}, {"delay_ms": 1, "jitter_ms": 2}])
def test_impossible_shapes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"use 0 to 1|lower it"):
        Shape(**wrong)  # type: ignore[arg-type]
