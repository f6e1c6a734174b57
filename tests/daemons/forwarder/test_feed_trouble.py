"""What an exchange, or what stands in its place, can do wrong: a reason, a counter, a sentence; the daemon lives."""

import contextlib
import json
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from websockets.http11 import Request
from websockets.server import ServerProtocol

from daemons.forwarder.main import main
from tests.daemons.feed.exchange_server import exchange
from tests.processes import Program, until
from tests.programs import forwarder, free_port, log_lines, receiver, resident_bytes, scrape, settled, simulator

pytestmark = pytest.mark.process


@pytest.fixture
def eager(tmp_path: Path) -> tuple[str, ...]:
    """Settings that try again soon, and a receiver that is not there."""
    file = tmp_path / "forwarder.toml"
    file.write_text("[feed]\nreconnect_max_seconds = 0.1\n")
    return ("--config", str(file), "--destination", "127.0.0.1:1")


@contextmanager
def serving(answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve a port with a function of our own, one connection after another; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            # Ends when the listening socket is shut down.
            while True:
                try:
                    connection, _source = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(300)
                    if context is None:
                        answer(connection)
                    else:
                        with context.wrap_socket(connection, server_side=True) as secure:
                            answer(secure)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def speaking(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return answer


def http(status: str) -> Callable[[socket.socket], None]:
    return speaking(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


def expect(program: Program, reason: str, words: str) -> None:
    """Wait for two failures of this reason: it was tried again; and see that nothing else went wrong."""
    until(
        lambda: scrape(program).sum("latency_forwarder_reconnects_total", side="feed", reason=reason) >= 2,
        f"two failures of reason {reason}",
    )
    page = scrape(program)
    failures = {
        sample.labels["reason"]
        for sample in page.samples
        if sample.name == "latency_forwarder_reconnects_total" and sample.labels["side"] == "feed" and sample.value
    }
    assert failures == {reason}
    assert page.sum("latency_forwarder_feed_connected") == 0
    assert page.sum("latency_forwarder_events_received_total") == 0
    line = json.loads(program.wait_for_log('"event": "feed lost"'))
    assert words in line["error"]
    assert line["retry_seconds"] >= 0


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (speaking(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "handshake", "is this a WebSocket endpoint?"),
        (http("200 OK"), "http_other", "answered HTTP 200"),
        (http("403 Forbidden"), "http_4xx", "firewall"),
        (http("503 Service Unavailable"), "http_5xx", "check the URL, and the exchange's status page"),
        (speaking(b""), "handshake", "did not receive a valid HTTP response"),
    ],
    ids=["ssh", "200", "403", "503", "closed"],
)
def test_what_is_no_exchange(
    answer: Callable[[socket.socket], None], reason: str, words: str, eager: tuple[str, ...]
) -> None:
    with serving(answer) as address, forwarder("--feed-url", f"ws://{address}", *eager) as program:
        expect(program, reason, words)


def flooding(connection: socket.socket) -> None:
    """Shake hands, and send pings without reading the pongs."""
    protocol = ServerProtocol()
    protocol.receive_data(connection.recv(65536))
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    connection.sendall(b"".join(protocol.data_to_send()))
    # RFC 6455, section 5.5.2: FIN and opcode 9, no mask, 125 bytes.
    pings = (b"\x89\x7d" + bytes(125)) * 1000
    # Until it is closed on us; bounded, should it never be.
    for _turn in range(10_000):
        connection.sendall(pings)


def test_an_exchange_that_pings_and_does_not_read_is_given_up(eager: tuple[str, ...]) -> None:
    with serving(flooding) as address, forwarder("--feed-url", f"ws://{address}/ws/btcusdt@trade", *eager) as program:
        until(
            lambda: scrape(program).sum("latency_forwarder_reconnects_total", side="feed", reason="unread") >= 2,
            "given up twice",
        )
        line = json.loads(program.wait_for_log('"reason": "unread"'))
        assert "does not read what it is sent" in line["error"]
        # 127 bytes for each of 127: what waits is bounded, and freed with the connection.
        assert resident_bytes(program.pid) < 150 << 20


def test_too_many_requests_are_answered_with_patience(eager: tuple[str, ...]) -> None:
    with (
        serving(http("429 Too Many Requests")) as address,
        forwarder("--feed-url", f"ws://{address}", *eager) as program,
    ):
        program.wait_for_log("feed lost")
        (line,) = log_lines(program, "feed lost")
        assert line["reason"] == "http_429"
        assert line["retry_seconds"] >= 30
        settled(program, "latency_forwarder_reconnects_total", 1, side="feed", reason="http_4xx")


def test_nobody_there(eager: tuple[str, ...]) -> None:
    with forwarder("--feed-url", f"ws://127.0.0.1:{free_port()}", *eager) as program:
        expect(program, "refused", "nothing listens there")


def test_a_name_that_does_not_exist(eager: tuple[str, ...]) -> None:
    with forwarder("--feed-url", "ws://nowhere.invalid", *eager) as program:
        expect(program, "dns", "name does not resolve")


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made, str(tmp_path / "ca.pem")


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_certificate_for_another_name(authority: tuple[trustme.CA, str], eager: tuple[str, ...]) -> None:
    made, file = authority
    with (
        serving(http("200 OK"), server_context(made, "other.example")) as address,
        forwarder("--feed-url", f"wss://{address}", "--ca-file", file, *eager) as program,
    ):
        expect(program, "certificate", "certificate refused: ")


def test_a_certificate_of_an_unknown_authority(authority: tuple[trustme.CA, str], eager: tuple[str, ...]) -> None:
    _made, file = authority
    with (
        serving(http("200 OK"), server_context(trustme.CA(), "127.0.0.1")) as address,
        forwarder("--feed-url", f"wss://{address}", "--ca-file", file, *eager) as program,
    ):
        expect(program, "certificate", "check the name and the authority")


def test_a_plain_port_spoken_to_in_tls(authority: tuple[trustme.CA, str], eager: tuple[str, ...]) -> None:
    _made, file = authority
    with (
        serving(speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address,
        forwarder("--feed-url", f"wss://{address}", "--ca-file", file, *eager) as program,
    ):
        expect(program, "tls", "is this a TLS port?")


def test_a_feed_under_tls(authority: tuple[trustme.CA, str], tmp_path: Path) -> None:
    made, file = authority
    issued = made.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    with (
        simulator(
            *("--tls-certificate", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")),
            *("--rate", "500", "--wait-for-clients", "1", "--stop-after-events", "500"),
        ) as exchange,
        receiver("--mode", "baseline", "--feed-url", f"wss://{exchange.ready['near']}", "--ca-file", file) as program,
    ):
        settled(program, "latency_receiver_events_total", 500)
        kinds = scrape(program).by("latency_receiver_stamps_total", "kind")
        # What comes with the last bytes of the handshake has no stamp of its own; nothing else may lack one.
        assert kinds.get("user", 0) <= 1
        assert kinds["kernel"] > 0


def test_a_feed_that_falls_silent_without_closing(tmp_path: Path) -> None:
    file = tmp_path / "forwarder.toml"
    with simulator("--rate", "200", "--silent-after", "0.5") as exchange:
        file.write_text(
            f'[feed]\nurl = "ws://{exchange.ready["near"]}"\nsilence_seconds = 1.0\nreconnect_max_seconds = 0.1\n'
            '[[destination]]\naddress = "127.0.0.1:1"\n'
        )
        with forwarder("--config", str(file)) as program:
            line = json.loads(program.wait_for_log('"reason": "silent"'))
            assert "connected, but no event for 1 s" in line["error"]
            until(
                lambda: scrape(program).sum("latency_forwarder_reconnects_total", side="feed", reason="silent") >= 2,
                "given up twice",
            )
            until(lambda: scrape(program).sum("latency_forwarder_events_received_total") > 50, "events came before")


def test_an_exchange_that_hangs_up_and_comes_back(tmp_path: Path) -> None:
    with (
        simulator("--rate", "500", "--disconnect-every", "0.7") as exchange,
        receiver("--mode", "baseline", "--feed-url", f"ws://{exchange.ready['near']}") as program,
    ):
        until(
            lambda: scrape(program).sum("latency_receiver_reconnects_total", side="direct", reason="closed") >= 2,
            "hung up on twice",
        )
        # Ids go on while nobody listens: what was missed in between is a gap on a direct feed.
        until(lambda: scrape(program).sum("latency_receiver_sequence_gap_events_total") > 0, "gaps are seen")


def test_nonsense_in_the_stream_is_counted_by_kind_and_the_rest_goes_on(eager: tuple[str, ...]) -> None:
    with simulator(
        "--rate", "1000", "--wait-for-clients", "2", "--stop-after-events", "1200", "--malformed-every", "10"
    ) as exchange:
        url = f"ws://{exchange.ready['near']}"
        with (
            receiver("--mode", "baseline", "--feed-url", url) as direct,
            forwarder("--feed-url", url, *eager) as program,
        ):
            settled(program, "latency_forwarder_events_received_total", 1200)
            settled(direct, "latency_receiver_events_total", 1200)
            # The last one follows the last event, and is of two megabytes.
            settled(program, "latency_forwarder_events_invalid_total", 120)
            at_forwarder = scrape(program).by("latency_forwarder_events_invalid_total", "reason")

            def alike() -> bool:
                at_receiver = scrape(direct).by("latency_receiver_invalid_events_total", "reason")
                return at_forwarder == {reason: at_receiver.get(reason) for reason in at_forwarder}

            until(alike, "both refuse the same")
        assert set(at_forwarder) == {"malformed", "array", "binary", "event_time", "unknown"} & set(at_forwarder)
        assert {"malformed", "array", "binary", "event_time"} <= set(at_forwarder)


def test_one_stream_that_falls_silent_while_the_other_goes_on_is_told(tmp_path: Path) -> None:
    file = tmp_path / "forwarder.toml"
    with exchange(200) as made:
        file.write_text(f'[feed]\nurl = "ws://127.0.0.1:{made.port}/ws/btcusdt@trade/ethusdt@trade"\n')
        with forwarder("--config", str(file), "--destination", "127.0.0.1:1") as program:
            received = "latency_forwarder_events_received_total"
            until(lambda: scrape(program).sum(received, stream="btcusdt@trade") > 0, "events")
            made.tell_everybody("ETHUSDT", 150)
            until(lambda: scrape(program).sum(received, stream="ethusdt@trade") == 150, "the others")
            until(lambda: scrape(program).sum("latency_feed_silent_streams", path="feed") == 1, "the silence")
            line = json.loads(program.wait_for_log("has fallen silent"))
            assert (line["stream"], line["level"]) == ("ethusdt@trade", "warning")
            made.tell_everybody("ETHUSDT", 1)
            until(lambda: scrape(program).sum("latency_feed_silent_streams", path="feed") == 0, "it is heard again")


def test_credentials_in_a_feeds_url_are_in_no_line(tmp_path: Path) -> None:
    secrets = ("open-sesame", "opens%C3%A9same", "token-of-mine")
    with simulator("--rate", "200") as exchange, serving(http("403 Forbidden")) as refusing:
        for address in (refusing, exchange.ready["near"], f"127.0.0.1:{free_port()}"):
            file = tmp_path / "forwarder.toml"
            file.write_text(
                f'[feed]\nurl = "ws://{secrets[0]}:{secrets[1]}@{address}?token={secrets[2]}"\n'
                "reconnect_max_seconds = 0.1\n"
                '[[destination]]\naddress = "127.0.0.1:1"\n'
            )
            with forwarder("--config", str(file)) as program:
                program.wait_for_log('"event": "feed ')
                program.send_signal(signal.SIGHUP)
                program.wait_for_log('"event": "reloaded"')
                text = program.log + scrape(program).text
                program.terminate()
            assert f"***@{address}" in text
            assert not [secret for secret in secrets if secret in text + program.log]
    assert_hidden_when_refused("ws://open-sesame:x@h:port?token-of-mine", "ws://***@h:port", *secrets)


@pytest.mark.parametrize("form", ["/{key}/ws/btcusdt@trade", "/{key}/stream?streams=btcusdt@trade/ethusdt@trade"])
def test_a_key_in_the_path_of_a_feeds_url_is_in_no_line(tmp_path: Path, form: str) -> None:
    key = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
    moved = http(f"302 Found\r\nLocation: wss://elsewhere.example/{key}/stream")
    with serving(http("403 Forbidden")) as refusing, serving(moved) as moving:
        for address in (refusing, moving, f"127.0.0.1:{free_port()}"):
            file = tmp_path / "forwarder.toml"
            file.write_text(
                f'[feed]\nurl = "ws://{address}{form.format(key=key)}"\nreconnect_max_seconds = 0.1\n'
                '[[destination]]\naddress = "127.0.0.1:1"\n'
            )
            with forwarder("--config", str(file)) as program:
                program.wait_for_log('"event": "feed ')
                program.send_signal(signal.SIGHUP)
                program.wait_for_log('"event": "reloaded"')
                text = program.log + scrape(program).text
                program.terminate()
            assert f"{address}/***/" in text
            assert key not in text + program.log
    # A listen key where a stream's name should be, and a path that is none.
    for url in (f"ws://h/ws/{key}", f"ws://h/{key}", f"h/ws/{key}", f"ws://h/stream?streams={key}"):
        assert_hidden_when_refused(url, "***", key)
    result = CliRunner().invoke(main, ["--stream", key, "--destination", "h:1", "--check-config"])
    assert (result.exit_code, key in result.output + result.stderr) == (2, False)


def assert_hidden_when_refused(url: str, shown: str, *secrets: str) -> None:
    result = CliRunner().invoke(main, ["--feed-url", url, "--destination", "h:1", "--check-config"])
    assert result.exit_code == 2
    assert shown in result.stderr
    assert not [secret for secret in secrets if secret in result.output + result.stderr]
