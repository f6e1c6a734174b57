"""Tests of the account's virtual time."""

from concurrent.futures import ThreadPoolExecutor

from tests.provisioning.world import Clock


def test_pieces_of_a_pool_sleep_at_once_even_where_one_thread_does_them_all() -> None:
    clock = Clock()

    def piece(seconds: float) -> None:
        for _ in range(4):
            clock.sleep(seconds)

    with ThreadPoolExecutor(max_workers=8) as pool:
        for seconds in (1.0, 3.0, 2.0):
            pool.submit(piece, seconds).result()
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(piece, (5.0, 4.0)))
    clock.sleep(0.5)
    assert clock.elapsed == 12.0 + 20.0 + 0.5
    assert clock.monotonic() == 4 * (1.0 + 3.0 + 2.0 + 5.0 + 4.0) + 0.5
