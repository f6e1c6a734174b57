"""What a proxy may answer to CONNECT: any split of it ends the same, and no refusal goes without a reason."""

import base64
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.http.proxy import Proxy
from daemons.probe.http.tunnel import MAX_ANSWER_BYTES, Tunnel

PROXY = Proxy("10.1.1.10", 3128)
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Outcome = tuple[Reason | None, bytes]


def answered(pieces: list[bytes], proxy: Proxy = PROXY) -> Outcome:
    """Give a tunnel the pieces and then the end; return why it failed, or nothing and what came for the target."""
    tunnel = Tunnel(proxy, "api.example.com:443")
    try:
        for number, piece in enumerate(filter(None, pieces), start=1):
            if tunnel.receive(piece):
                return None, tunnel.surplus + b"".join([*filter(None, pieces)][number:])
        tunnel.receive(b"")
    except AttemptError as error:
        return error.reason, b""
    raise AssertionError("neither a tunnel nor a reason")


def complaint(answer: bytes, proxy: Proxy = PROXY) -> str:
    with pytest.raises(AttemptError) as caught:
        Tunnel(proxy, "api.example.com:443").receive(answer)
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ESTABLISHED, None),
        (b"HTTP/1.0 200 Connection established\r\n\r\n", None),
        (b"HTTP/1.1 200\r\n\r\n", None),
        (b"HTTP/1.1  200 OK\n\n", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        # RFC 9110, section 9.3.6: these MUST be ignored.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\nTransfer-Encoding: gzip\r\n\r\n", None),
        (b"HTTP/1.1 200 \xe9tabli\r\nX: \xff\r\n folded\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ESTABLISHED, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 60_000 + b"\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_ANSWER_BYTES + b"\r\n\r\n", Reason.TOO_LARGE),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, Reason.TOO_LARGE),
        (b"HTTP/1.1 200 " + b"a" * MAX_ANSWER_BYTES, Reason.TOO_LARGE),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", Reason.PROXY_DENIED),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Reason.PROXY_AUTHENTICATION),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Reason.PROXY_UNAVAILABLE),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Reason.PROXY_UNAVAILABLE),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", Reason.PROXY_UNAVAILABLE),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", Reason.PROXY_UNAVAILABLE),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Reason.PROXY_REFUSED),
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n", Reason.PROXY_REFUSED),
        (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", Reason.PROXY_REFUSED),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", Reason.PROXY_REFUSED),
        (b"HTTP/1.1 999 \r\n\r\n", Reason.PROXY_UNAVAILABLE),
        (b"220 mail.example ESMTP\r\n", Reason.PROTOCOL),
        (b"\r\n" + ESTABLISHED, Reason.PROTOCOL),
        (b"HTTP/2 200\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 20 OK\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 2000 OK\r\n\r\n", Reason.PROTOCOL),
        (b"http/1.1 200 OK\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 Connection establ", Reason.CLOSED),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Reason.CLOSED),
        (b"", Reason.CLOSED),
    ],
)
def test_an_answer_makes_a_tunnel_or_has_its_reason(answer: bytes, reason: Reason | None) -> None:
    assert answered([answer]) == (reason, b"")
    assert answered([answer[at : at + 1024] for at in range(0, len(answer), 1024)]) == (reason, b"")


HEADS = st.builds(
    lambda version, status, reason, fields, end: end.join(
        [b"HTTP/1.%d %d%s" % (version, status, reason), *fields, b"", b""]
    ),
    st.integers(0, 9),
    st.sampled_from([100, 101, 103, 199, 200, 201, 299, 300, 403, 407, 451, 500, 502, 503, 504, 599]),
    st.sampled_from([b"", b" ", b" OK", b" two words", b" \xff"]),
    st.lists(
        st.sampled_from(
            [b"Content-Length: 7", b"content-length: x", b"Via: 1.1 p", b"X-Squid-Error: E 0", b" fold", b"no"]
        ),
        max_size=4,
    ),
    st.sampled_from([b"\r\n", b"\n"]),
)


@given(st.lists(HEADS, max_size=4), st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=8))
@example([b"HTTP/1.1 200\r\n\r\n"], b"\n\r\n", [17])
def test_any_split_of_the_bytes_ends_the_same(heads: list[bytes], surplus: bytes, cuts: list[int]) -> None:
    answer = b"".join([*heads, surplus])
    ends = sorted({0, *(min(cut, len(answer)) for cut in cuts), len(answer)})
    split = [answer[since:until] for since, until in pairwise(ends)]
    assert answered(split) == answered([answer]) == answered([bytes([byte]) for byte in answer])


@given(st.binary(max_size=60))
def test_no_bytes_at_all_are_an_error_of_our_own(data: bytes) -> None:
    assert answered([data])[0] in {Reason.PROTOCOL, Reason.CLOSED, Reason.PROXY_REFUSED, None}


def test_what_follows_the_head_belongs_to_the_target() -> None:
    assert answered([ESTABLISHED + b"hello"]) == (None, b"hello")
    assert answered([ESTABLISHED[:-1], ESTABLISHED[-1:] + b"\n"]) == (None, b"\n")


def test_the_request_names_the_target_and_never_resolves_it() -> None:
    request = Tunnel(PROXY, "[2001:db8::1]:443").request()
    assert request.startswith(
        b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nUser-Agent: latency-probe/"
    )
    assert request.endswith(b"\r\n\r\n")
    assert b"authorization" not in request.lower()


def test_a_refusal_says_what_the_proxy_says_and_no_secret() -> None:
    secret = base64.b64encode(b"user:opensesame").decode()
    known = Proxy("10.1.1.10", 3128, f"Basic {secret}")
    assert f"Proxy-Authorization: Basic {secret}\r\n".encode() in Tunnel(known, "a:443").request()
    assert complaint(b"HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\nServer: squid\r\n\r\n") == (
        "proxy 10.1.1.10:3128: answers CONNECT api.example.com:443 with 503 Service Unavailable "
        "(x-squid-error: ERR_DNS_FAIL 0); see why the proxy does not reach the target, or whether it is overloaded"
    )
    asked = b'HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm="\x1b[31m\xff"\r\n\r\n'
    assert complaint(asked).endswith("give user and password by proxy_credentials_file")
    assert "\x1b" not in complaint(asked)
    assert complaint(asked, known).endswith("correct user and password in proxy_credentials_file")
    several = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"
    assert "(proxy-authenticate: Negotiate, NTLM); latency-probe knows Basic alone" in complaint(several, known)
    for words in (repr(known), complaint(asked, known), complaint(several, known)):
        assert secret not in words
        assert "opensesame" not in words
