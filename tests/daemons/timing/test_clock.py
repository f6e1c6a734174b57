import time

from hypothesis import given
from hypothesis import strategies as st

from daemons.timing.clock import STEP_THRESHOLD_NS, Clock, StepDetector, SystemClock, read_together
from tests.fakes import ManualClock


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.one_of(
                st.integers(-STEP_THRESHOLD_NS + 1, STEP_THRESHOLD_NS - 1),
                st.integers(STEP_THRESHOLD_NS, 10**15),
                st.integers(-(10**15), -STEP_THRESHOLD_NS),
            ),
        ),
        max_size=30,
    )
)
def test_steps_are_told_from_noise(moves: list[tuple[int, int]]) -> None:
    clock = ManualClock()
    detector = StepDetector(clock.wall_ns(), clock.monotonic_ns())
    steps = 0
    for passed_ns, offset_ns in moves:
        clock.advance(passed_ns)
        is_step = abs(offset_ns) >= STEP_THRESHOLD_NS
        # Below the threshold it is the time between two readings, which does not add up.
        wall_ns = clock.wall_ns() + offset_ns
        if is_step:
            clock.step(offset_ns)
        assert detector.observe(wall_ns, clock.monotonic_ns()) == (offset_ns if is_step else 0)
        steps += is_step
        assert detector.steps == steps
        if is_step:
            assert detector.last_step_ns == offset_ns


def test_the_real_clock_is_the_kernels_and_does_not_step_by_itself() -> None:
    clock: Clock = SystemClock()
    detector = StepDetector(*read_together(clock))
    before_ns = time.time_ns()
    assert before_ns <= clock.wall_ns() <= time.time_ns()
    assert detector.observe(*read_together(clock)) == 0
