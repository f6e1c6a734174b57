"""A connection is used again only when its state is known, and a request that was not processed is made again."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import pytest

from daemons.probe.attempt import ConnectionKind, Phase, Reason, Reconnect
from daemons.probe.lane import WarmLane
from daemons.probe.observations import Observations
from tests.daemons.probe.probing import attempt, observations, prober, run, target_of
from tests.daemons.probe.script import Close, Pause, Read, ScriptServer, Step, running_script
from tests.daemons.probe.server import Authority
from tests.processes import until

pytestmark = pytest.mark.process

PING = b"are you?"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


def warm(url: str, slots: int, **settings: Any) -> Observations:
    target = target_of(url, timeout_seconds=10.0, **settings)

    async def main() -> Observations:
        seen = observations(target, (ConnectionKind.WARM,))
        async with prober() as one:
            lane = WarmLane(target, one, seen)
            for _slot in range(slots):
                lane.slot(one.clock.monotonic_ns(), 0)
                await lane.idle()
            await lane.close()
        return seen

    return run(main)


def counted(found: dict[Any, int]) -> dict[Any, int]:
    return {key: count for key, count in found.items() if count}


def test_a_body_in_answer_to_head_costs_the_connection_and_no_request() -> None:
    with running_script([[Read(), OK + b"hello", Read(), OK + b"hello"]]) as server:
        seen = warm(f"http://127.0.0.1:{server.port}/", 6, method="HEAD")
        assert server.connections == 6
    assert (seen.successes, counted(seen.failures)) == (6, {})
    assert counted(seen.reconnects) == {Reconnect.SURPLUS: 5}


def test_an_answer_to_nothing_costs_the_connection_and_is_nobodys_answer() -> None:
    timeout = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with running_script([[Read(), OK + b"hello" + timeout, Close()]]) as server:
        seen = warm(f"http://127.0.0.1:{server.port}/", 3)
        assert server.connections == 3
    assert (seen.successes, counted(seen.failures)) == (3, {})
    assert set(counted(seen.reconnects)) <= {Reconnect.SURPLUS, Reconnect.CLOSED}
    assert sum(seen.reconnects.values()) == 2


def test_interim_responses_are_not_the_first_byte() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
    with running_script([[Read(), early, Pause(0.1), early, Pause(0.2), OK + b"hello"]]) as server:
        record = attempt(target_of(f"http://127.0.0.1:{server.port}/", timeout_seconds=10.0))
    assert record.succeeded, record.detail
    assert (record.status, record.interim_responses) == (200, 2)
    assert record.instants.interim_ns is not None
    phases = dict(record.instants.phases())
    # The pauses are the server's own; a loaded machine makes them longer, and never shorter.
    assert phases[Phase.PROCESSING] >= 299_000_000
    assert record.instants.interim_ns <= phases[Phase.PROCESSING] - 299_000_000


def test_interim_responses_and_nothing_more_are_no_answer() -> None:
    early = b"HTTP/1.1 102 Processing\r\n\r\n"
    with running_script([[Read(), early, Close()]]) as server:
        closed = attempt(target_of(f"http://127.0.0.1:{server.port}/", timeout_seconds=10.0))
    with running_script([[Read(), early]]) as server:
        silent = attempt(target_of(f"http://127.0.0.1:{server.port}/", timeout_seconds=0.5))
    assert (closed.reason, closed.interim_responses) == (Reason.CLOSED, 1)
    assert (silent.reason, silent.interim_responses) == (Reason.TIMEOUT, 1)


class Http2Script:
    """What an HTTP/2 server says on one connection, made before it is said."""

    def __init__(self) -> None:
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.connection.initiate_connection()
        # Its own side of a request that has come: any client's will do.
        self._client = h2.connection.H2Connection()
        self._client.initiate_connection()

    def answer(self, body: bytes = b"hello") -> bytes:
        stream = self._client.get_next_available_stream_id()
        self._client.send_headers(
            stream, [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")], end_stream=True
        )
        self.connection.receive_data(self._client.data_to_send())
        self.connection.send_headers(stream, [(":status", "200")])
        self.connection.send_data(stream, body, end_stream=True)
        return self.connection.data_to_send()


def goaway(last_stream: int, code: int = 0) -> bytes:
    return struct.pack("!I", 8 << 8 | 7) + struct.pack("!BIII", 0, 0, last_stream, code)


def serve(scripts: Sequence[Sequence[Step]], authority: Authority, slots: int) -> tuple[Observations, ScriptServer]:
    with running_script(scripts, authority.context(alpn=("h2",))) as server:
        seen = warm(f"https://localhost:{server.port}/", slots, ca_file=str(authority.file), http="2")
        until(lambda: server.connections > 0, "a connection")
    return seen, server


@pytest.mark.parametrize("code", [0, 11])
def test_a_retired_connection_costs_no_request(authority: Authority, code: int) -> None:
    """The second request is on its way when GOAWAY comes: it was not processed (RFC 9113, section 6.8)."""
    first = Http2Script()
    retiring: list[Step] = [Read.request(1), first.answer(), Read.request(3), goaway(1, code), Close()]
    seen, server = serve([retiring], authority, 6)
    assert (seen.successes, counted(seen.failures)) == (6, {})
    assert counted(seen.reconnects) == {Reconnect.GOAWAY: 5}
    assert server.connections == 6


def test_an_answer_that_comes_after_goaway_is_waited_for(authority: Authority) -> None:
    first = Http2Script()
    answer = first.answer()
    seen, server = serve([[Read.request(1), goaway(1), Pause(0.05), answer]], authority, 3)
    assert (seen.successes, counted(seen.failures)) == (3, {})
    assert counted(seen.reconnects) == {Reconnect.GOAWAY: 2}
    assert server.connections == 3


def test_a_server_that_takes_nothing_is_asked_a_few_times_and_no_more(authority: Authority) -> None:
    settings = Http2Script().connection.data_to_send()
    seen, server = serve([[settings, Read.request(1), goaway(0), Close()]], authority, 1)
    assert (seen.successes, counted(seen.failures)) == (0, {Reason.CLOSED: 1})
    assert counted(seen.reconnects) == {Reconnect.GOAWAY: 5}
    assert server.connections == 6


def test_a_ping_is_answered_while_nothing_is_asked(authority: Authority) -> None:
    """The server waits for the answer before it reads another request."""
    answered = Read(b"\x06\x01\x00\x00\x00\x00" + PING)
    ping = struct.pack("!I", 8 << 8 | 6) + struct.pack("!BI", 0, 0) + PING
    first = Http2Script()
    script: list[Step] = [Read.request(1), first.answer(), Pause(0.05), ping, answered, Read.request(3), first.answer()]
    with running_script([script], authority.context(alpn=("h2",))) as server:
        target = target_of(
            f"https://localhost:{server.port}/", ca_file=str(authority.file), http="2", timeout_seconds=10.0
        )

        def said(times: int) -> None:
            until(lambda: len(server.requests) >= times, "what the probe had to say")

        async def main() -> Observations:
            seen = observations(target, (ConnectionKind.WARM,))
            async with prober() as one:
                lane = WarmLane(target, one, seen)
                for heard in (2, 3):
                    lane.slot(one.clock.monotonic_ns(), 0)
                    await lane.idle()
                    await asyncio.to_thread(said, heard)
                await lane.close()
            return seen

        seen = run(main)
    assert (seen.successes, counted(seen.failures), counted(seen.reconnects)) == (2, {}, {})
    assert server.connections == 1


def test_no_streams_at_all_is_no_fault_of_the_probe(authority: Authority) -> None:
    first = Http2Script()
    answer = first.answer()
    first.connection.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    seen, server = serve([[Read.request(1), answer + first.connection.data_to_send()]], authority, 3)
    assert (seen.successes, counted(seen.failures)) == (3, {})
    assert counted(seen.reconnects) == {Reconnect.REFUSED: 2}
    assert server.connections == 3
