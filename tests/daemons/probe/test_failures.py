"""Every way in which a target can fail has its reason, and none is mistaken for another."""

import datetime as dt
import errno
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemons.probe.attempt import Attempt, Phase, Reason
from tests.daemons.probe.probing import DIRECT_PHASES, attempt, prober, run, target_of
from tests.daemons.probe.server import Authority, serving

pytestmark = pytest.mark.process

TIMEOUTS = (0.4, 1.5, 6.0)
"""A machine that stands still may use up the shortest in an earlier phase than the one that hangs, but not all."""

AMPLE = 10.0


def timed_out(url: str, reason: Reason, **settings: Any) -> Attempt:
    """Attempt what hangs with one timeout after the other until it runs out where it should; give the last attempt."""
    record = attempt(target_of(url, timeout_seconds=TIMEOUTS[0], **settings))
    for seconds in TIMEOUTS[1:]:
        if record.reason is reason:
            break
        record = attempt(target_of(url, timeout_seconds=seconds, **settings))
    return record


@pytest.mark.parametrize(
    ("behaviour", "settings", "reason", "phases"),
    [
        ({"hang": "accept"}, {}, Reason.TLS_TIMEOUT, {Phase.CONNECT}),
        ({"hang": "response"}, {}, Reason.TIMEOUT, {Phase.CONNECT, Phase.TLS}),
        ({"hang": "body"}, {}, Reason.TRANSFER_TIMEOUT, {Phase.CONNECT, Phase.TLS, Phase.PROCESSING}),
        ({"trickle_seconds": 0.1}, {}, Reason.TRANSFER_TIMEOUT, {Phase.CONNECT, Phase.TLS, Phase.PROCESSING}),
        ({"reset": "accept"}, {}, Reason.RESET, {Phase.CONNECT}),
        ({"reset": "response"}, {}, Reason.RESET, {Phase.CONNECT, Phase.TLS}),
        ({"reset": "body"}, {}, Reason.RESET, {Phase.CONNECT, Phase.TLS, Phase.PROCESSING}),
        ({"close": "accept"}, {}, Reason.TLS, {Phase.CONNECT}),
        ({"close": "response"}, {}, Reason.CLOSED, {Phase.CONNECT, Phase.TLS}),
        ({"close": "body"}, {}, Reason.CLOSED, {Phase.CONNECT, Phase.TLS, Phase.PROCESSING}),
        ({"garbage": b"220 mail.example ESMTP\r\n"}, {}, Reason.PROTOCOL, None),
        ({"status": "500 Internal Server Error"}, {}, Reason.STATUS, DIRECT_PHASES - {Phase.DNS}),
        ({"status": "302 Found", "headers": ("location: /x",)}, {}, Reason.REDIRECT, DIRECT_PHASES - {Phase.DNS}),
        ({"body": b"maintenance"}, {"expect": {"regex": '"ok": *true'}}, Reason.BODY, DIRECT_PHASES - {Phase.DNS}),
        ({"body": b"[]"}, {"expect": {"json_field": "serverTime"}}, Reason.BODY, DIRECT_PHASES - {Phase.DNS}),
        ({"body": b"x" * 5000}, {"max_body_bytes": 4999}, Reason.TOO_LARGE, None),
        ({}, {"http": "2"}, Reason.HTTP_VERSION, {Phase.CONNECT, Phase.TLS}),
        ({}, {"source_address": "192.0.2.1"}, Reason.LOCAL, set()),
        ({}, {"interface": "nosuch0"}, Reason.LOCAL, set()),
    ],
)
def test_a_failure_has_its_reason_and_the_phases_that_were_reached(
    authority: Authority, behaviour: dict[str, Any], settings: dict[str, Any], reason: Reason, phases: set[Phase] | None
) -> None:
    with serving(authority.context(), **behaviour) as server:
        url, ca_file = f"https://127.0.0.1:{server.port}/", str(authority.file)
        if reason.endswith("timeout"):
            record = timed_out(url, reason, ca_file=ca_file, **settings)
        else:
            record = attempt(target_of(url, ca_file=ca_file, timeout_seconds=AMPLE, **settings))
    assert record.reason == reason, record.detail
    assert record.detail
    if phases is not None:
        assert {phase for phase, _duration in record.instants.phases()} == phases
    assert record.instants.end is not None


def test_an_answer_as_expected_is_a_success(authority: Authority) -> None:
    with serving(authority.context()) as server:
        settings = {"expect": {"json_field": "ok", "json_value": True, "regex": "serverTime"}}
        record = attempt(target_of(f"https://localhost:{server.port}/a?b=c", ca_file=str(authority.file), **settings))
    assert record.reason is None, record.detail
    assert {phase for phase, _duration in record.instants.phases()} == DIRECT_PHASES
    assert record.status == 200
    assert record.tls_version == "TLSv1.3"
    assert record.http_version == "1.1"
    assert record.address == "127.0.0.1"
    assert server.seen.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert server.seen.hosts == [f"localhost:{server.port}"]


def test_a_refused_connection() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        record = attempt(target_of(f"https://127.0.0.1:{closed.getsockname()[1]}/"))
    assert record.reason is Reason.CONNECT_REFUSED


@contextmanager
def full_listener() -> Iterator[int]:
    """Listen with a queue that is full: the kernel drops further SYNs, as a dead address does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _filler in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            # The one connection that there is room for stands in the queue when the listener can be accepted from.
            assert select.select([listener], (), (), AMPLE)[0]
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


def test_a_target_pinned_to_an_address_that_does_not_answer() -> None:
    with full_listener() as port:
        record = timed_out(
            f"https://api.example.com:{port}/", Reason.CONNECT_TIMEOUT, resolve={"api.example.com": "127.0.0.1"}
        )
    assert record.reason is Reason.CONNECT_TIMEOUT
    assert record.address == "127.0.0.1"
    assert list(record.instants.phases()) == []


def test_a_target_pinned_to_an_address_without_a_route() -> None:
    # An IPv6 documentation address on the loopback interface has nowhere to go.
    record = attempt(target_of("https://api.example.com/", resolve={"api.example.com": "2001:db8::1"}, interface="lo"))
    assert record.reason in (Reason.CONNECT_UNREACHABLE, Reason.CONNECT_TIMEOUT, Reason.CONNECT)


def test_a_name_that_does_not_resolve() -> None:
    record = attempt(target_of("https://nosuch.invalid/", timeout_seconds=30.0))
    assert record.reason is Reason.DNS
    assert record.instants.dns_start is not None
    assert list(record.instants.phases()) == []


def test_a_resolver_that_hangs_costs_its_timeout_and_nothing_else() -> None:
    release = threading.Event()

    def hanging(host: str, port: int, family: int) -> list[Any]:
        release.wait(300)
        raise OSError("released")

    record = attempt(target_of("https://slow.example/", timeout_seconds=0.1), hanging)
    release.set()
    assert record.reason is Reason.DNS_TIMEOUT


def test_tls_versions_below_the_floor_are_refused(authority: Authority) -> None:
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(context) as server:
        url = f"https://127.0.0.1:{server.port}/"
        old = attempt(target_of(url, ca_file=str(authority.file)))
        refused = attempt(target_of(url, ca_file=str(authority.file), minimum_tls="1.3"))
    assert (old.reason, old.tls_version) == (None, "TLSv1.2")
    assert refused.reason is Reason.TLS


@pytest.mark.parametrize("kind", ["expired", "self-signed", "wrong name"])
def test_a_bad_certificate_is_refused_and_its_expiry_known_all_the_same(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    until = dt.datetime(2031, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    if kind == "expired":
        until = past + dt.timedelta(days=30)
        context = authority.context("127.0.0.1", not_before=past, not_after=until)
    elif kind == "wrong name":
        context = authority.context("elsewhere.example", not_after=until)
    else:
        (tmp_path / "other").mkdir()
        context = Authority(tmp_path / "other").context("127.0.0.1", not_after=until)
    with serving(context) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))
        record = attempt(target)

        async def inspect() -> int | None:
            async with prober() as one:
                return await one.inspect(target)

        expiry = run(inspect)
    assert record.reason is Reason.CERTIFICATE
    assert {phase for phase, _duration in record.instants.phases()} == {Phase.CONNECT}
    assert expiry == int(until.timestamp())
    assert server.seen.requests == []


def test_plain_http_has_no_tls_phase() -> None:
    with serving(None) as server:
        record = attempt(target_of(f"http://127.0.0.1:{server.port}/"))
    assert record.reason is None
    assert {phase for phase, _duration in record.instants.phases()} == {
        Phase.CONNECT,
        Phase.PROCESSING,
        Phase.TRANSFER,
    }
    assert record.tls_version == ""


def test_https_asked_of_a_plain_http_port() -> None:
    with serving(None) as server:
        server.behaviour.garbage = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        record = timed_out(f"https://127.0.0.1:{server.port}/", Reason.TLS_TIMEOUT)
    assert record.reason in (Reason.TLS, Reason.TLS_TIMEOUT)


def test_a_pinned_address_keeps_name_and_certificate(authority: Authority) -> None:
    with serving(authority.context("api.example.com")) as server:
        target = target_of(
            f"https://api.example.com:{server.port}/",
            ca_file=str(authority.file),
            resolve={"api.example.com": "127.0.0.1"},
        )
        record = attempt(target, lambda *_arguments: pytest.fail("a pinned name was resolved"))
    assert record.reason is None, record.detail
    assert Phase.DNS not in dict(record.instants.phases())
    assert server.seen.server_names == ["api.example.com"]
    assert server.seen.hosts == [f"api.example.com:{server.port}"]
    assert record.address == "127.0.0.1"


@pytest.mark.parametrize("pinned", ["host.example.", "host.example", "HOST.example"])
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_an_absolute_name_is_sent_and_verified_as_curl_does(authority: Authority, http: str, pinned: str) -> None:
    with serving(authority.context("host.example", alpn=("h2", "http/1.1"))) as server:
        url = f"https://host.example.:{server.port}/"
        record = attempt(target_of(url, ca_file=str(authority.file), http=http, resolve={pinned: "127.0.0.1"}))
        command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", f"--http{http}"]
        command += ["--cacert", str(authority.file), "--resolve", f"host.example.:{server.port}:127.0.0.1", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert record.reason is None, record.detail
    assert done.stdout == "200"
    assert server.seen.server_names == ["host.example"] * 2
    assert server.seen.hosts == [f"host.example.:{server.port}"] * 2


def test_a_request_with_a_body_and_headers(authority: Authority) -> None:
    with serving(authority.context()) as server:
        target = target_of(
            f"https://127.0.0.1:{server.port}/order/test",
            ca_file=str(authority.file),
            method="POST",
            body="a=1",
            headers={"X-MBX-APIKEY": "key"},
        )
        record = attempt(target)
    assert record.reason is None, record.detail
    head, _end, body = server.seen.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /order/test HTTP/1.1")
    assert b"x-mbx-apikey: key" in head
    assert b"content-length: 3" in head
    assert body == b"a=1"


def test_running_out_of_descriptors_is_this_hosts_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of("https://127.0.0.1:9/")

    async def once() -> Any:
        async with prober() as one:
            with monkeypatch.context() as patch:

                def none_left(*_arguments: object) -> None:
                    raise OSError(errno.EMFILE, "Too many open files")

                patch.setattr("daemons.probe.http.channel.socket.socket", none_left)
                record, _wire = await one.attempt(target, one.clock.monotonic_ns())
                return record

    record = run(once)
    assert record.reason is Reason.LOCAL
    assert "LimitNOFILE" in record.detail
