"""Without file descriptors: what a call that does not say so is told to have lacked, and how many are kept."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from daemons.errors import StreamError
from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.http.resolve import Resolver
from daemons.stream.descriptors import is_reserved, lacking
from daemons.stream.dial import resolve
from daemons.timing.clock import SystemClock


@contextmanager
def limited(more: int) -> Iterator[int]:
    """Let so many descriptors be opened, and no more; give the lowest that is free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
    try:
        yield free
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_look_up_without_descriptors_is_no_name_that_does_not_exist() -> None:
    async def work() -> None:
        with limited(0):
            assert lacking() is not None
            with pytest.raises(StreamError, match="raise LimitNOFILE") as link:
                await resolve("localhost", 80, socket.SOCK_STREAM)
            assert link.value.reason == "local"
            with pytest.raises(AttemptError, match="raise LimitNOFILE") as probe:
                await Resolver(SystemClock()).resolve("localhost", 80, socket.AF_UNSPEC)
            assert probe.value.reason is Reason.LOCAL
        assert lacking() is None
        assert await resolve("localhost", 80, socket.SOCK_STREAM)
        with pytest.raises(StreamError) as unknown:
            await resolve("a..b", 80, socket.SOCK_STREAM)
        assert unknown.value.reason == "dns"

    asyncio.run(work())


def test_the_last_quarter_is_kept_and_64_at_most() -> None:
    with limited(1) as free:
        limit = free + 1
        assert [is_reserved(number) for number in (limit - limit // 4 - 1, limit - limit // 4)] == [False, True]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        assert [is_reserved(number) for number in (959, 960, 1023)] == [False, True, True]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
