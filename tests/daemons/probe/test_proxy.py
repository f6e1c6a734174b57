"""The way through an HTTP proxy: what is asked of it, what it may answer, and curl asked the same."""

import base64
import random
import socket
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from daemons.probe.attempt import Attempt, ConnectionKind, Phase, Reason
from tests.daemons.probe.probing import attempt, prober, run, target_of
from tests.daemons.probe.proxy import ESTABLISHED, proxying
from tests.daemons.probe.server import Authority, serving
from tests.daemons.probe.test_failures import timed_out
from tests.daemons.probe.test_program import MODULE, config, fetched, metrics, target, value
from tests.processes import running, until

pytestmark = pytest.mark.process

ALL_BUT_DNS = set(Phase) - {Phase.DNS}
AMPLE = 10.0
BASIC = b"Basic " + base64.b64encode(b"measure:open:sesame")


def phases(record: Attempt) -> set[Phase]:
    return {phase for phase, _duration in record.instants.phases()}


def curl(url: str, proxy: str, authority: Authority, *more: str) -> tuple[str, str]:
    """Ask as the probe does; return the server's status, and the proxy's, 000 for none."""
    command = ["curl", "-sS", "-m", "10", "--cacert", str(authority.file), "-x", proxy, "-o", "/dev/null", *more]
    asked = subprocess.run(
        [*command, "-w", "%{http_code} %{http_connect}", url], capture_output=True, text=True, check=False
    )
    status, tunnel = asked.stdout.split()
    return status, tunnel


def credentials(tmp_path: Path, content: bytes) -> str:
    file = tmp_path / "credentials"
    file.write_bytes(content)
    file.chmod(0o600)
    return str(file)


def test_the_proxy_makes_the_tunnel_and_resolves_the_name(authority: Authority) -> None:
    name = "api.only-there.example"
    with serving(authority.context(name)) as server, proxying(names={name: "127.0.0.1"}) as proxy:
        url = f"https://{name}:{server.port}/time"
        record = attempt(target_of(url, ca_file=str(authority.file), proxy=proxy.url))
        assert record.reason is None, record.detail
        # The proxy is written as an address, and the name is its own concern: nothing is resolved here.
        assert phases(record) == ALL_BUT_DNS
        assert record.address == "127.0.0.1"
        assert proxy.seen.tunnels == [f"{name}:{server.port}"]
        assert server.seen.server_names == [name]
        assert server.seen.hosts == [f"{name}:{server.port}"]
        (come_ns, sent_ns), instants = proxy.seen.answered_ns[0], record.instants
        assert instants.connect_done is not None
        assert instants.tunnel_start is not None
        assert instants.tunnel_done is not None
        assert instants.tls_start is not None
        assert instants.connect_done <= instants.tunnel_start <= come_ns
        # The kernel's stamp is of the wall clock, and comes to the monotonic one within microseconds.
        assert sent_ns - 1_000_000 <= instants.tunnel_done <= instants.tls_start


def test_a_pinned_address_is_what_the_proxy_connects_to(authority: Authority) -> None:
    with serving(authority.context("api.example.com")) as server, proxying() as proxy:
        url = f"https://api.example.com:{server.port}/"
        pin = {"resolve": {"api.example.com": "127.0.0.1"}}
        record = attempt(target_of(url, ca_file=str(authority.file), proxy=proxy.url, **pin))
        assert record.reason is None, record.detail
        assert curl(url, proxy.url, authority, "--connect-to", f"::127.0.0.1:{server.port}") == ("200", "200")
        assert proxy.seen.tunnels == [f"127.0.0.1:{server.port}"] * 2
        assert server.seen.server_names == ["api.example.com"] * 2
        assert server.seen.hosts == [f"api.example.com:{server.port}"] * 2


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_warm_requests_use_the_tunnel_again(authority: Authority, http: str) -> None:
    with serving(authority.context(alpn=("h2", "http/1.1"))) as server, proxying() as proxy:
        target = target_of(f"https://localhost:{server.port}/", ca_file=str(authority.file), proxy=proxy.url, http=http)

        async def several() -> list[Attempt]:
            async with prober() as one:
                records = []
                wire = None
                for _number in range(4):
                    record, wire = await one.attempt(target, one.clock.monotonic_ns(), wire, keep=True)
                    records.append(record)
                assert wire is not None
                wire.close()
                return records

        cold, *warm = run(several)
        assert all(record.succeeded for record in (cold, *warm)), [record.detail for record in warm]
        assert phases(cold) == ALL_BUT_DNS
        for record in warm:
            assert record.connection is ConnectionKind.WARM
            assert phases(record) == {Phase.PROCESSING, Phase.TRANSFER}
        assert len(proxy.seen.heads) == 1
        assert server.seen.connections == 1


def test_plain_http_is_asked_of_the_proxy_in_absolute_form(tmp_path: Path) -> None:
    file = credentials(tmp_path, b"measure:open:sesame\n")
    with serving(None) as server, proxying(authorization=BASIC) as proxy:
        url = f"http://127.0.0.1:{server.port}/a?b=c"
        record = attempt(target_of(url, proxy=proxy.url, proxy_credentials_file=file))
        assert record.reason is None, record.detail
        assert phases(record) == {Phase.CONNECT, Phase.PROCESSING, Phase.TRANSFER}
        head = proxy.seen.heads[0]
        assert head.startswith(f"GET {url} HTTP/1.1\r\n".encode())
        assert f"host: 127.0.0.1:{server.port}\r\n".encode() in head.lower()
        assert server.seen.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
        refused = attempt(target_of(url, proxy=proxy.url))
        assert refused.reason is Reason.PROXY_AUTHENTICATION
        assert refused.status == 407


def test_user_and_password_are_for_the_proxy_alone(authority: Authority, tmp_path: Path) -> None:
    file = credentials(tmp_path, b"measure:open:sesame\n")
    with serving(authority.context()) as server, proxying(authorization=BASIC) as proxy:
        url = f"https://127.0.0.1:{server.port}/"
        settings = {"ca_file": str(authority.file), "proxy": proxy.url}
        record = attempt(target_of(url, proxy_credentials_file=file, **settings))
        assert record.reason is None, record.detail
        assert b"authorization" not in server.seen.requests[0].lower()
        keyed = attempt(target_of(url, proxy_credentials_file=file, headers={"X-MBX-APIKEY": "opal"}, **settings))
        assert keyed.reason is None, keyed.detail
        # What the target is told in secret is not the proxy's to know.
        assert b"x-mbx-apikey: opal" in server.seen.requests[1].lower()
        assert not any(b"opal" in head for head in proxy.seen.heads)
        assert curl(url, proxy.url, authority, "-U", "measure:open:sesame") == ("200", "200")
        for wrong in ({}, {"proxy_credentials_file": credentials(tmp_path, b"measure:other")}):
            refused = attempt(target_of(url, **settings, **wrong))
            assert refused.reason is Reason.PROXY_AUTHENTICATION
            assert phases(refused) == {Phase.CONNECT}
            assert "other" not in refused.detail
        assert curl(url, proxy.url, authority, "-U", "measure:other") == ("000", "407")


@pytest.mark.parametrize(
    ("then", "answer", "reason"),
    [
        ("hang", (), Reason.TUNNEL_TIMEOUT),
        ("hang", (ESTABLISHED[:20],), Reason.TUNNEL_TIMEOUT),
        # Proxies have been seen to forget the last byte of their answer.
        ("hang", (ESTABLISHED[:-1],), Reason.TUNNEL_TIMEOUT),
        ("hang", (b"HTTP/1.1 100 Continue\r\n\r\n",), Reason.TUNNEL_TIMEOUT),
        ("hang", (ESTABLISHED,), Reason.TLS_TIMEOUT),
        ("close", (ESTABLISHED[:20],), Reason.CLOSED),
        ("close", (ESTABLISHED,), Reason.TLS),
        ("reset", (ESTABLISHED[:20],), Reason.RESET),
    ],
)
def test_a_proxy_that_fails_has_its_reason(
    authority: Authority, then: str, answer: tuple[bytes, ...], reason: Reason
) -> None:
    with proxying(*(answer or (b"",)), then=then) as proxy:
        url, settings = "https://api.example.com/", {"ca_file": str(authority.file), "proxy": proxy.url}
        if reason.endswith("timeout"):
            record = timed_out(url, reason, **settings)
        else:
            record = attempt(target_of(url, timeout_seconds=AMPLE, **settings))
    assert record.reason is reason, record.detail
    assert record.detail
    done = {Phase.CONNECT, Phase.TUNNEL} if answer == (ESTABLISHED,) else {Phase.CONNECT}
    assert phases(record) == done
    assert "127.0.0.1" in record.detail


def test_a_proxy_that_gives_byte_after_byte_has_the_time_of_the_whole_request() -> None:
    endless = tuple(bytes([byte]) for byte in ESTABLISHED[:-2] + b"X: " + b"a" * 10_000)
    with proxying(*endless, then="hang", pause=0.01) as proxy:
        record = timed_out("https://api.example.com/", Reason.TUNNEL_TIMEOUT, proxy=proxy.url)
    assert record.reason is Reason.TUNNEL_TIMEOUT, record.detail


def test_a_refusal_is_never_taken_for_the_targets_answer() -> None:
    body = b'{"ok": true}'
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    expect = {"status": [403], "json_field": "ok"}
    with proxying(refusal, then="close") as proxy:
        record = attempt(target_of("https://api.example.com/", proxy=proxy.url, expect=expect))
    assert (record.reason, record.status, record.body_bytes) == (Reason.PROXY_DENIED, None, 0)


def test_a_proxy_that_is_not_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        record = attempt(target_of("https://api.example.com/", proxy=proxy))
    assert record.reason is Reason.CONNECT_REFUSED
    assert record.detail.startswith("api.example.com by proxy 127.0.0.1 (127.0.0.1:")


def test_the_certificate_of_a_target_behind_a_proxy_is_verified_and_its_expiry_found(authority: Authority) -> None:
    with serving(authority.context("other.example")) as server, proxying() as proxy:
        target = target_of(f"https://localhost:{server.port}/", ca_file=str(authority.file), proxy=proxy.url)
        assert attempt(target).reason is Reason.CERTIFICATE

        async def expiry() -> int | None:
            async with prober() as one:
                return await one.inspect(target)

        assert run(expiry) is not None
        assert len(proxy.seen.tunnels) == 2


def test_the_daemon_tells_of_the_proxy_and_of_no_secret(authority: Authority, tmp_path: Path) -> None:
    file = credentials(tmp_path, b"measure:open:sesame\n")
    with (
        serving(authority.context()) as server,
        serving(authority.context(), body=b'{"ip": "203.0.113.7"}') as endpoint,
        proxying(authorization=BASIC) as proxy,
    ):
        way = f'proxy = "{proxy.url}"\nproxy_credentials_file = "{file}"\n'
        text = (
            target("api", server.port, authority, way)
            + target("refused", server.port, authority, f'proxy = "{proxy.url}"\n')
            + f'[egress]\nurl = "https://127.0.0.1:{endpoint.port}/"\nca_file = "{authority.file}"\n'
            + f'interval_seconds = 0.1\nexpected_address = "203.0.113.7"\n{way}'
        )
        with running(MODULE, "--config", str(config(tmp_path, text))) as program:
            for name, labels in (
                ("latency_probe_total_seconds_count", {"target": "api", "connection": "warm"}),
                ("latency_probe_failures_total", {"target": "refused", "reason": "proxy_authentication"}),
                ("latency_probe_phase_seconds_count", {"target": "egress", "connection": "cold", "phase": "tunnel"}),
                ("latency_probe_egress_match", {"target": "egress"}),
            ):
                until(lambda name=name, labels=labels: (value(program, name, **labels) or 0) > 0, name)  # type: ignore[misc]
            seen = metrics(program)
            phase = "latency_probe_phase_seconds_count"
            with_tunnel = {
                dict(labels)["connection"] for name, labels in seen if name == phase and ("phase", "tunnel") in labels
            }
            assert with_tunnel == {"cold"}
            info = [dict(labels) for name, labels in seen if name == "latency_probe_target_info"]
            assert {(one["target"], one["proxy"]) for one in info} == {
                ("api", f"127.0.0.1:{proxy.port}"),
                ("egress", f"127.0.0.1:{proxy.port}"),
            }
            shown = [
                fetched(program, path) for path in ("/metrics", "/probe?target=api&debug=true", "/probe?target=refused")
            ]
            assert f"proxy         127.0.0.1:{proxy.port}" in shown[1]
            assert "tunnel_done" in shown[1]
            program.terminate()
            told = "\n".join([*shown, *program.lines, program.log])
    assert BASIC.removeprefix(b"Basic ").decode() not in told
    assert "sesame" not in told


BEYOND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ODDITIES = (
    b"HTTP/1.0 200 Connection established\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 200 OK\n\n",
    b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nProxy-Connection: close\r\n\r\n",
    b"HTTP/1.1 200 \xe9tabli\r\nX: \xff\r\n folded\r\n\r\n",
    BEYOND,
    ESTABLISHED + b"220 mail.example ESMTP\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!",
    b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"220 mail.example ESMTP\r\n\r\n",
    b"\r\n" + ESTABLISHED,
)


def oddity(rng: random.Random) -> tuple[bytes, ...]:
    """Make up an answer of parts that proxies have been seen to send, cut into pieces anywhere.

    Interim answers are left out: curl before 8 takes them for refusals, although RFC 9110, section 15.2, has any
    number of them precede the final one.
    """
    if rng.random() < 0.3:
        answer = rng.choice(ODDITIES)
    else:
        end = rng.choice([b"\r\n", b"\n"])
        fields = [b"Content-Length: 0", b"Content-Length: 9", b"Via: 1.1 p", b"Transfer-Encoding: chunked", b"X:"]
        line = b"HTTP/1.%d %d" % (
            rng.choice([0, 1, 1, 1]),
            rng.choice([200, 200, 200, 204, 299, 300, 404, 407, 500, 502]),
        )
        answer = end.join([line + rng.choice([b"", b" ", b" OK"]), *rng.sample(fields, rng.randrange(4)), b"", b""])
        # A refusal's body is read by curl, as long as it is said to be.
        answer += b"" if b" 2" in line else b"123456789" * (b"Length: 9" in answer)
    cuts = sorted({0, len(answer), *(rng.randrange(len(answer)) for _cut in range(rng.randrange(3)))})
    return tuple(answer[since:until] for since, until in pairwise(cuts))


def test_curl_comes_to_the_same_end_whatever_the_proxy_answers(authority: Authority) -> None:
    rng = random.Random(3128)
    answers = [*((one,) for one in ODDITIES), *(oddity(rng) for _run in range(40))]
    with serving(authority.context()) as server:
        url = f"https://localhost:{server.port}/"
        for answer in answers:
            with proxying(*answer, then="tunnel" if b"".join(answer)[9:].startswith(b"2") else "close") as proxy:
                status, tunnel = curl(url, proxy.url, authority)
                record = attempt(target_of(url, ca_file=str(authority.file), proxy=proxy.url, timeout_seconds=AMPLE))
            assert (record.status or 0) == int(status), (answer, record.detail, tunnel)
            assert record.succeeded == (status == "200"), (answer, record.detail)
            assert record.reason is not Reason.INTERNAL
            assert (Phase.TUNNEL in phases(record)) == (tunnel[0] == "2" and len(tunnel) == 3), (answer, record.detail)
