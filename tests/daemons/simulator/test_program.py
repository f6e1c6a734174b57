"""The whole program, over real sockets, with the websockets library's own client."""

import asyncio
import itertools
import json
import signal
import socket
import ssl
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect as connect_async
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from daemons.feed.binance import Invalid
from daemons.feed.sbe import SbeDecoder
from daemons.records import FeedEvent
from daemons.simulator.faults import HUGE_BYTES, MALFORMED_KINDS
from tests.processes import Program, running
from tests.stretches import stretches

pytestmark = pytest.mark.process

DEADLINE = 300.0


def simulator(*arguments: str, exit_code: int = 0, ready: str | None = "ready") -> Any:
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    return running("daemons.simulator.main", *listen, *arguments, exit_code=exit_code, ready=ready)


def open_stream(program: Program, path: str, endpoint: str = "near", **options: Any) -> ClientConnection:
    client: ClientConnection = connect(f"ws://{program.ready[endpoint]}{path}", open_timeout=DEADLINE, **options)
    return client


def receive(client: ClientConnection, count: int) -> list[Any]:
    return [json.loads(client.recv(DEADLINE)) for _ in range(count)]


def ask(client: ClientConnection, request: dict[str, Any]) -> Any:
    """Send a request and return its answer, passing over the events that come before it."""
    client.send(json.dumps(request))
    while True:
        message = json.loads(client.recv(DEADLINE))
        if "result" in message or "code" in message:
            return message


def receive_all(client: ClientConnection, quiet_seconds: float = DEADLINE) -> tuple[list[Any], Exception]:
    """Receive until the connection ends or nothing comes for a while; return the messages and what ended it."""
    messages = []
    while True:
        try:
            messages.append(json.loads(client.recv(quiet_seconds)))
        except (ConnectionClosed, TimeoutError) as error:
            return messages, error


def timeless(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key not in ("E", "T")}


async def collect(address: str, path: str, count: int) -> list[tuple[int, str | bytes]]:
    async with connect_async(f"ws://{address}{path}", max_queue=None, compression=None) as client:
        arrivals: list[tuple[int, str | bytes]] = []
        async with asyncio.timeout(300):
            while len(arrivals) < count:
                message = await client.recv()
                arrivals.append((time.time_ns(), message))
        return arrivals


async def collect_both(
    program: Program, path: str, count: int
) -> tuple[list[tuple[int, str | bytes]], list[tuple[int, str | bytes]]]:
    near, far = await asyncio.gather(
        collect(program.ready["near"], path, count), collect(program.ready["far"], path, count)
    )
    return near, far


def test_raw_stream_and_totals() -> None:
    with simulator("--rate", "500", "--wait-for-clients", "1", "--stop-after-events", "100") as program:
        assert program.ready["far"] is None
        assert program.ready["streams"] == ["btcusdt@trade", "btcusdt@bookTicker"]
        before_ms = time.time_ns() // 1_000_000
        with open_stream(program, "/ws/btcusdt@trade/btcusdt@bookTicker") as client:
            messages = receive(client, 100)
            after_ms = time.time_ns() // 1_000_000
        program.terminate()
        totals = program.last_json()
    trades = [message for message in messages if message.get("e") == "trade"]
    tickers = [message for message in messages if "A" in message]
    assert len(trades) + len(tickers) == 100
    assert all(before_ms <= trade["E"] <= after_ms for trade in trades)
    assert all(after["t"] == before["t"] + 1 for before, after in itertools.pairwise(trades))
    assert totals["events"] == 100
    assert totals["streams"]["btcusdt@trade"] == {
        "events": len(trades),
        "first_id": trades[0]["t"],
        "last_id": trades[-1]["t"],
        "skipped_ids": 0,
    }
    assert totals["streams"]["btcusdt@bookTicker"]["last_id"] == tickers[-1]["u"]
    assert totals["near"] == {"clients": 1, "messages_sent": 100, "rejected": {}, "ended": {}}
    assert "far" not in totals


def test_combined_stream_with_microseconds_gets_only_what_it_asked_for() -> None:
    streams = ("--stream", "btcusdt@trade", "--stream", "ethusdt@aggTrade", "--stream", "ethusdt@depth@100ms")
    with simulator(*streams, "--rate", "1000") as program:
        path = "/stream?streams=btcusdt@trade/ethusdt@depth@100ms/nothing@trade&timeUnit=MICROSECOND"
        with open_stream(program, path) as client:
            messages = receive(client, 50)
    assert {message["stream"] for message in messages} == {"btcusdt@trade", "ethusdt@depth@100ms"}
    assert all(len(str(message["data"]["E"])) == 16 for message in messages)
    depths = [message["data"] for message in messages if "depth" in message["stream"]]
    assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(depths))


def test_far_gets_the_same_bytes_in_order_after_the_delay() -> None:
    with simulator(
        *("--far-listen", "127.0.0.1:0", "--far-delay-ms", "25", "--rate", "200", "--stream", "btcusdt@trade"),
        *("--wait-for-clients", "2", "--stop-after-events", "400"),
    ) as program:
        near, far = asyncio.run(collect_both(program, "/ws/btcusdt@trade?timeUnit=microsecond", 400))
    assert [message for _, message in far] == [message for _, message in near]
    least_ms = [min(came / 1e6 - json.loads(message)["E"] / 1e3 for came, message in end) for end in (near, far)]
    # A busy machine makes events late and none of them early, nor all of them late by as much again.
    assert least_ms[0] >= 0
    assert 25 <= least_ms[1] < 50


def test_far_jitter_varies_the_delay_without_reordering() -> None:
    with simulator(
        *("--far-listen", "127.0.0.1:0", "--far-delay-ms", "25", "--far-jitter-ms", "6", "--rate", "500"),
        *("--stream", "btcusdt@trade", "--wait-for-clients", "2", "--stop-after-events", "1000"),
    ) as program:
        near, far = asyncio.run(collect_both(program, "/ws/btcusdt@trade", 1000))
    assert [message for _, message in far] == [message for _, message in near]
    leads_ms = [(late - early) / 1e6 for (early, _), (late, _) in zip(near, far, strict=True)]
    # Two seconds of a slow process; an undelayed host's own noise is a few tenths of a millisecond.
    assert statistics.pstdev(leads_ms) > 2.0


def test_every_event_arrives_at_20000_a_second() -> None:
    with simulator(
        *("--far-listen", "127.0.0.1:0", "--rate", "20000", "--stream", "btcusdt@trade"),
        *("--wait-for-clients", "2", "--stop-after-events", "40000"),
    ) as program:
        near, far = asyncio.run(collect_both(program, "/ws/btcusdt@trade", 40_000))
        program.terminate()
        totals = program.last_json()
    assert [message for _, message in far] == [message for _, message in near]
    ids = [json.loads(message)["t"] for _, message in near]
    assert stretches(ids) == [(ids[0], ids[0] + 39_999)]
    assert totals["near"]["messages_sent"] == totals["far"]["messages_sent"] == 40_000


def test_the_same_seed_gives_the_same_events() -> None:
    def run(seed: str) -> list[Any]:
        with (
            simulator("--rate", "2000", "--wait-for-clients", "1", "--seed", seed, "--poisson") as program,
            open_stream(program, "/ws/btcusdt@trade/btcusdt@bookTicker") as client,
        ):
            return [timeless(message) for message in receive(client, 200)]

    first = run("11")
    assert run("11") == first
    assert run("12") != first


def test_live_subscriptions() -> None:
    with (
        simulator("--rate", "500", "--stream", "btcusdt@trade/ethusdt@trade") as program,
        open_stream(program, "/ws") as client,
    ):
        request = {"method": "SUBSCRIBE", "params": ["ethusdt@trade", "unknown@trade"], "id": 1}
        assert ask(client, request) == {"result": None, "id": 1}
        assert {message["s"] for message in receive(client, 20)} == {"ETHUSDT"}
        assert ask(client, {"method": "LIST_SUBSCRIPTIONS", "id": 2})["result"] == ["ethusdt@trade", "unknown@trade"]
        assert ask(client, {"method": "UNSUBSCRIBE", "params": ["ethusdt@trade"], "id": 3})["result"] is None
        with pytest.raises(TimeoutError):
            client.recv(0.3)
        assert ask(client, {"method": "NONSENSE", "id": 4})["code"] == 2
        with open_stream(program, "/ws/ethusdt@trade") as other:
            receive(other, 5)


def test_the_sixth_message_in_a_second_ends_the_connection() -> None:
    with simulator("--rate", "1") as program:
        client = SilentClient(program.ready["near"], "/ws")
        client.send_at_once([json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}) for number in range(5)])
        close = client.frames()[-1]
        client.close()
        assert bytes(close.data) == b"\x03\xf0Too many requests"  # 0x03f0 is 1008
        program.terminate()
        assert program.last_json()["near"]["ended"] == {"too-many-messages": 1}


class SilentClient:
    """A client that reads but never answers a ping; the library's own clients always do."""

    def __init__(self, address: str, path: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=DEADLINE)
        self._protocol = ClientProtocol(parse_uri(f"ws://{address}{path}"))
        self._protocol.send_request(self._protocol.connect())
        self._socket.sendall(b"".join(self._protocol.data_to_send()))

    def send_at_once(self, messages: list[str]) -> None:
        """Send messages, and a ping after them, so that no stall comes between them."""
        while self._protocol.state is not State.OPEN:
            self._protocol.receive_data(self._socket.recv(65536))
        for message in messages:
            self._protocol.send_text(message.encode())
        self._protocol.send_ping(b"")
        self._socket.sendall(b"".join(self._protocol.data_to_send()))

    def frames(self) -> list[Frame]:
        """Read until the server closes; return everything it sent."""
        frames: list[Frame] = []
        while not any(frame.opcode is Opcode.CLOSE for frame in frames):
            data = self._socket.recv(65536)
            assert data, "the server hung up without a close frame"
            self._protocol.receive_data(data)
            self._protocol.data_to_send()
            events = self._protocol.events_received()
            frames += [event for event in events if not isinstance(event, Response) and isinstance(event, Frame)]
        return frames

    def close(self) -> None:
        self._socket.close()


def test_pings_are_sent_and_a_client_that_does_not_answer_is_ended() -> None:
    # Time enough for a client that stands still for a while, and few enough pings to be answered at once after that.
    with simulator("--ping-interval", "1", "--ping-timeout", "3") as program:
        # It keeps reading, and so answering, while the test looks elsewhere.
        with open_stream(program, "/ws/btcusdt@trade", max_queue=None) as answering:
            mute = SilentClient(program.ready["near"], "/ws/btcusdt@trade")
            frames = mute.frames()
            mute.close()
            # The one that answers is alive after the other one's end, and longer than a ping's timeout.
            receive(answering, 100)
        program.terminate()
        assert program.last_json()["near"]["ended"] == {"no-pong": 1}
    pings = [frame for frame in frames if frame.opcode is Opcode.PING]
    assert len(pings) >= 2
    assert all(abs(int(bytes(ping.data)) - time.time() * 1000) < 60_000 for ping in pings)
    close = frames[-1]
    assert bytes(close.data) == b"\x03\xf0Pong timeout"  # 0x03f0 is 1008


def get(program: Program, path: str, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(f"http://{program.ready['near']}{path}", headers=headers or {})
    with urllib.request.urlopen(request, timeout=DEADLINE) as response:
        assert response.headers["Content-Type"] == "application/json;charset=UTF-8"
        return json.load(response)


def test_rest() -> None:
    with simulator() as program:
        assert get(program, "/api/v3/ping") == {}
        assert abs(get(program, "/api/v3/time")["serverTime"] - time.time() * 1e3) < 60e3
        micro = get(program, "/api/v3/time", {"X-MBX-TIME-UNIT": "MICROSECOND"})["serverTime"]
        assert abs(micro - time.time() * 1e6) < 60e6
        with pytest.raises(urllib.error.HTTPError) as missing:
            get(program, "/api/v3/depth")
        assert missing.value.code == 404
        missing.value.close()


def test_paths_that_are_refused() -> None:
    with simulator() as program:
        for path, status in (("/nothing", 404), ("/ws/btcusdt@trade?timeUnit=DAY", 400)):
            with pytest.raises(InvalidStatus) as refused:
                open_stream(program, path)
            assert refused.value.response.status_code == status
        program.terminate()
        assert program.last_json()["near"]["rejected"] == {"404": 1, "400": 1}


@pytest.mark.parametrize("status", [403, 429, 503])
def test_reject_status(status: int) -> None:
    with simulator("--reject-status", str(status)) as program:
        with pytest.raises(InvalidStatus) as refused:
            open_stream(program, "/ws/btcusdt@trade")
        assert refused.value.response.status_code == status
        assert ("Retry-After" in refused.value.response.headers) == (status != 403)
        assert get(program, "/api/v3/ping") == {}
        program.terminate()
        assert program.last_json()["near"]["rejected"] == {str(status): 1}


def test_futures() -> None:
    with simulator("--futures", "--stream", "btcusdt@bookTicker", "--rate", "500") as program:
        with open_stream(program, "/public/ws/btcusdt@bookTicker?timeUnit=MICROSECOND") as client:
            ticker = receive(client, 1)[0]
        assert list(ticker) == ["e", "u", "s", "b", "B", "a", "A", "T", "E"]
        assert abs(ticker["E"] - time.time() * 1e3) < 60e3
        assert "serverTime" in get(program, "/fapi/v1/time")


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    trusting, doubting = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    with simulator(
        *("--tls-certificate", str(certificate), "--tls-key", str(key), "--far-listen", "127.0.0.1:0")
    ) as program:
        for endpoint in ("near", "far"):
            url = f"wss://{program.ready[endpoint]}/ws/btcusdt@trade"
            with connect(url, ssl=trusting, open_timeout=DEADLINE) as client:
                assert receive(client, 3)[0]["e"] == "trade"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(f"wss://{program.ready['near']}/ws/btcusdt@trade", ssl=doubting, open_timeout=DEADLINE)


def test_disconnect_every_ends_connections_with_and_without_a_handshake() -> None:
    with simulator("--disconnect-every", "0.3") as program:
        ends = []
        for _ in range(4):
            with open_stream(program, "/ws/btcusdt@trade") as client:
                _, end = receive_all(client)
            assert isinstance(end, ConnectionClosed)
            ends.append(end.rcvd.code if end.rcvd else None)
        assert ends == [1001, None, 1001, None]
        program.terminate()
        assert program.last_json()["near"]["ended"] == {"expired": 4}


def test_silent_after_keeps_the_connection_open() -> None:
    with simulator("--silent-after", "2", "--rate", "200") as program:
        for _ in range(2):
            with open_stream(program, "/ws/btcusdt@trade") as client:
                receive(client, 5)
                _messages, end = receive_all(client, 0.5)
                assert isinstance(end, TimeoutError)
                assert ask(client, {"method": "LIST_SUBSCRIPTIONS", "id": 1})["result"] == ["btcusdt@trade"]


def test_skipped_ids_are_counted_exactly() -> None:
    with simulator(
        *("--skip-ids-every", "20", "--stream", "btcusdt@trade", "--rate", "2000"),
        *("--wait-for-clients", "1", "--stop-after-events", "400"),
    ) as program:
        with open_stream(program, "/ws/btcusdt@trade") as client:
            ids = [message["t"] for message in receive(client, 400)]
        program.terminate()
        totals = program.last_json()["streams"]["btcusdt@trade"]
    jumps = [after - before - 1 for before, after in itertools.pairwise(ids)]
    assert sum(jumps) == totals["skipped_ids"] > 0
    assert sum(jump > 0 for jump in jumps) == 20
    assert totals["events"] == 400


def test_malformed_messages_take_their_turns_and_use_up_no_id() -> None:
    with simulator(
        *("--malformed-every", "1", "--stream", "btcusdt@trade", "--rate", "1000"),
        *("--wait-for-clients", "1", "--stop-after-events", "12"),
    ) as program:
        with open_stream(program, "/ws/btcusdt@trade", max_size=None) as client:
            messages = [client.recv(DEADLINE) for _ in range(24)]
        program.terminate()
        assert program.last_json()["malformed"] == dict.fromkeys(MALFORMED_KINDS, 2)
    ids = [json.loads(message)["t"] for message in messages[::2]]
    assert ids == list(range(ids[0], ids[0] + 12))
    truncated, binary, missing, absurd, array, huge = messages[1:12:2]
    assert isinstance(truncated, str)
    with pytest.raises(ValueError):  # noqa: PT011 - what every JSON decoder raises
        json.loads(truncated)
    assert isinstance(binary, bytes)
    assert "t" not in json.loads(missing)
    assert json.loads(absurd)["E"] == 0
    assert isinstance(json.loads(array), list)
    assert len(huge) > HUGE_BYTES


def test_a_client_that_does_not_read_is_cut_off_and_others_are_not_disturbed() -> None:
    # One asks for all that there is, the other for a sixteenth: he may stand still sixteen times as long.
    streams = [f"s{number}usdt@trade" for number in range(16)]
    with simulator(
        *("--malformed-every", "6", "--stream", "/".join(streams), "--rate", "250", "--ping-interval", "0")
    ) as program:
        host, port = program.ready["near"].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as lazy:
            protocol = ClientProtocol(parse_uri(f"ws://{program.ready['near']}/stream?streams={'/'.join(streams)}"))
            protocol.send_request(protocol.connect())
            lazy.sendall(b"".join(protocol.data_to_send()))
            # One event in 36 is followed by two megabytes, so that 64 MB pile up within five seconds, and another two.
            with open_stream(program, f"/ws/{streams[0]}", max_size=None) as reader:
                for _ in range(2100 // len(streams)):
                    reader.recv(DEADLINE)
        program.terminate()
        assert program.last_json()["near"]["ended"] == {"slow": 1}


def test_duration_ends_the_program() -> None:
    with simulator("--duration", "1.5") as program:
        assert program.wait() == 0
        assert program.last_json()["events"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_close_connections_and_print_totals(number: signal.Signals) -> None:
    with simulator("--shutdown-notice", "--rate", "200") as program:
        with open_stream(program, "/stream?streams=btcusdt@trade") as client:
            receive(client, 3)
            program.send_signal(number)
            messages, end = receive_all(client)
            assert isinstance(end, ConnectionClosed)
            assert end.rcvd is not None
            assert end.rcvd.code == 1001
            assert messages[-1]["stream"] == "!serverShutdown"
            assert list(messages[-1]["data"]) == ["e", "E"]
        assert program.wait() == 0
        assert program.last_json()["ready"] is False


def test_a_port_in_use_is_an_error_of_its_own() -> None:
    with simulator() as program, simulator("--listen", program.ready["near"], ready=None, exit_code=4) as other:
        assert other.wait() == 4
        assert "choose another address" in other.wait_for_log("cannot listen")
        assert other.lines == []


def test_a_stream_that_cannot_be_generated_is_an_error_of_its_own() -> None:
    with simulator("--stream", "btcusdt@kline_1m", ready=None, exit_code=2) as program:
        assert program.wait() == 2
        assert "'btcusdt@kline_1m' cannot be generated" in program.log


def test_nothing_is_emitted_before_the_clients_are_there() -> None:
    with (
        simulator("--wait-for-clients", "2", "--stream", "btcusdt@trade") as program,
        open_stream(program, "/ws/btcusdt@trade") as one,
    ):
        with pytest.raises(TimeoutError):
            one.recv(0.3)
        with open_stream(program, "/ws/btcusdt@trade") as two:
            assert receive(one, 3) == receive(two, 3)


def receive_binary(client: ClientConnection, count: int) -> list[FeedEvent]:
    """Receive so many events in SBE, over however many messages."""
    decoder = SbeDecoder()
    events: list[FeedEvent] = []
    while len(events) < count:
        message = client.recv(DEADLINE)
        assert isinstance(message, bytes)
        found = decoder.decode(message)
        assert isinstance(found, list)
        events += found
    return events


API_KEY = {"additional_headers": {"X-MBX-APIKEY": "k" * 64}}


def test_the_same_events_come_in_sbe() -> None:
    streams = ("--stream", "btcusdt@trade", "--stream", "btcusdt@bookTicker", "--stream", "btcusdt@aggTrade")
    arguments = ("--sbe-listen", "127.0.0.1:0", "--rate", "2000", "--wait-for-clients", "2", *streams)
    with simulator(*arguments) as program:
        named = "btcusdt@trade/btcusdt@bestBidAsk"
        with (
            open_stream(program, "/ws/btcusdt@trade/btcusdt@bookTicker?timeUnit=microsecond") as text,
            open_stream(program, f"/stream?streams={named}", "sbe", **API_KEY) as binary,
        ):
            expected, found = receive(text, 200), receive_binary(binary, 200)
            assert [one.event_id for one in found] == [one.get("t") or one["u"] for one in expected]
            assert [one.kind.name for one in found] == ["trade" if "t" in one else "book" for one in expected]
            for one, other in zip(found, expected, strict=True):
                if "E" in other:
                    assert one.event_time_ns == other["E"] * 1000
            binary.send('{"method":"LIST_SUBSCRIPTIONS","id":7}')
            answer = next(message for message in binary if isinstance(message, str))
            assert json.loads(answer) == {"result": named.split("/"), "id": 7}


def test_sbe_is_refused_without_a_key() -> None:
    with simulator("--sbe-listen", "127.0.0.1:0") as program:
        with pytest.raises(InvalidStatus) as caught:
            open_stream(program, "/ws/btcusdt@trade", "sbe")
        assert caught.value.response.status_code == 401
        program.terminate()
        assert program.last_json()["sbe"]["rejected"] == {"401": 1}


def test_sbe_leaves_out_what_is_outdated_and_is_told_of_the_shutdown_in_json() -> None:
    arguments = ("--sbe-listen", "127.0.0.1:0", "--cull", "--shutdown-notice", "--stream", "btcusdt@bookTicker")
    events = 3000
    behind = ("--rate", "1000000", "--stop-after-events", str(events), "--wait-for-clients", "2")
    with simulator(*arguments, *behind) as program:
        path = "/ws/btcusdt@bestBidAsk"
        with (
            open_stream(program, "/ws/btcusdt@bookTicker") as text,
            open_stream(program, path, "sbe", **API_KEY) as sbe,
        ):
            newest = receive(text, events)[-1]["u"]
            found = receive_binary(sbe, 1)
            while found[-1].event_id != newest:
                found += receive_binary(sbe, 1)
            program.terminate()
            assert json.loads(sbe.recv(DEADLINE))["e"] == "serverShutdown"
        totals = program.last_json()["sbe"]
    assert totals["culled"] > 0
    assert len(found) + totals["culled"] == events


def test_malformed_messages_in_sbe_are_cut_off() -> None:
    faults = ("--malformed-every", "1", "--stream", "btcusdt@trade", "--rate", "1000", "--wait-for-clients", "1")
    with (
        simulator("--sbe-listen", "127.0.0.1:0", *faults, "--stop-after-events", "20") as program,
        open_stream(program, "/ws/btcusdt@trade", "sbe", **API_KEY) as client,
    ):
        decoder = SbeDecoder()
        found = [decoder.decode(client.recv(DEADLINE, decode=False)) for _ in range(40)]
    assert all(isinstance(one, list) for one in found[::2])
    assert found[1::2] == [Invalid.MALFORMED] * 20


def test_doors_bring_the_same_events_each_by_its_own_delay() -> None:
    doors = ["--door", "127.0.0.1:0=5ms,0", "--door", "127.0.0.1:0=80ms,0,1ms"]
    with simulator(*doors, "--stream", "btcusdt@trade", "--rate", "50", "--wait-for-clients", "2") as program:
        one, other = (f"ws://{address}/ws/btcusdt@trade" for address in program.ready["doors"])
        with connect(one, open_timeout=DEADLINE) as first, connect(other, open_timeout=DEADLINE) as second:
            assert receive(first, 10) == receive(second, 10)
    assert [program.last_json()[f"door {number}"]["clients"] for number in (1, 2)] == [1, 1]
