"""Random conversations in HTTP/1.1: well-formed, odd and broken, as scripts that a server plays."""

import random

from tests.daemons.probe.grammar.case import BODY, MAX_REQUESTS, METHODS, STATUS, Case, Maker
from tests.daemons.probe.script import Close, Read, Reset, Step

__all__ = ["http1_case"]

_FIELDS = {
    "empty value": b"X-Empty:",
    "blank value": b"X-Blank:   \t ",
    "no space": b"X:y",
    "many spaces": b"X:     y     ",
    "latin-1": b"X: S\xe3o",
    "utf-8": "X: São".encode(),
    "long": b"X: " + b"y" * 20_000,
    "longer": b"X: " + b"y" * 60_000,
    "cookies": b"Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d; Path=/",
    "many": b"\r\n".join(b"X-%d: y" % number for number in range(90)),
    "keep-alive": b"Keep-Alive: timeout=5, max=100",
    "connection": b"Connection: keep-alive",
    "upper case": b"CONTENT-TYPE: text/plain",
    "alt-svc": b'Alt-Svc: h3=":443"; ma=60',
    "encoding": b"Content-Encoding: identity",
    "trailer": b"Trailer: X-Checksum",
    "upgrade": b"Upgrade: h2c",
}
_ODD_FIELDS = {
    "folded": b"X: a\r\n b",
    "folded tab": b"X: a\r\n\tb",
    "no colon": b"nonsense",
    "space before colon": b"X : y",
    "space in name": b"X Y: z",
    "empty name": b": y",
    "control": b"X: a\x01b",
    "nul": b"X: a\x00b",
    "lone cr": b"X: a\rb",
    "odd name": b"X@(): y",
    "latin-1 name": b"X\xe3: y",
}
_LENGTHS = {
    "letters": b"abc",
    "negative": b"-1",
    "plus": b"+5",
    "hexadecimal": b"0x5",
    "empty": b"",
    "huge": b"99999999999999999999999",
    "endless": b"9" * 5000,
    "list of equal": b"5, 5",
    "list of different": b"5, 6",
    "fraction": b"5.0",
    "blanks inside": b"1 0",
}
_CODINGS = {"capital": b"Chunked", "identity": b"identity", "twice": b"chunked, chunked", "other": b"x", "empty": b""}
_BEGINNINGS = {
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "smtp": b"220 mail.example ESMTP\r\n\r\n",
    "empty line": b"\r\n",
    "icy": b"ICY 200 OK\r\n\r\n",
    "http/2": b"HTTP/2 200\r\n\r\n",
    "http/3": b"HTTP/3.0 200 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "html": b"<html><body>hello</body></html>",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "tab": b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n",
    "glued": b"HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "version 1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "version 1": b"HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "head only": b"HTTP/1.1 200 OK\r\n",
    "half a word": b"HTT",
    "nothing": b"",
    "tls alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "zeros": b"\x00" * 64,
}


def http1_case(seed: int) -> Case:
    """Make up a conversation in HTTP/1.1."""
    make = Maker(random.Random(seed))
    rng = make.rng
    method = rng.choice(METHODS)
    requests = rng.randrange(1, MAX_REQUESTS + 1)
    scripts = []
    for _connection in range(rng.randrange(1, 3)):
        script: list[Step] = []
        for _request in range(rng.randrange(1, MAX_REQUESTS + 1)):
            script.append(Read())
            if script[:-1] and make.odd(0.06, "closed when asked again"):
                break
            answer, goes_on = _response(make, method)
            script += make.cut(answer)
            if not goes_on:
                break
        else:
            # Nothing is said to what comes then.
            script.append(Read())
        script.append(Reset() if make.odd(0.1, "reset") else Close())
        scripts.append(tuple(script))
    return Case("1.1", method, requests, tuple(scripts), tuple(make.traits))


def _response(make: Maker, method: str) -> tuple[bytes, bool]:
    """Make up an answer; say whether the connection goes on after it."""
    rng = make.rng
    if make.odd(0.08, "beginning"):
        return make.pick("beginning", _BEGINNINGS), False
    interim = b""
    while make.odd(0.12, "interim"):
        interim += rng.choice(
            [
                b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
                b"HTTP/1.1 102 Processing\r\n\r\n",
                b"HTTP/1.1 100\r\n\r\n",
            ]
        )
    end = b"\n" if make.odd(0.05, "lf") else b"\r\n"
    status = rng.choice(STATUS)
    version = b"HTTP/1.0" if make.odd(0.08, "1.0") else b"HTTP/1.1"
    reason = rng.choice([b" OK", b" OK", b" ", b"", b" Tr\xe8s bien", b' It\'s (fine) "really"'])
    fields = [make.pick("field", _FIELDS) for _field in range(rng.randrange(3))]
    if make.odd(0.05, "odd field"):
        fields.append(make.pick("odd field", _ODD_FIELDS))
    framing, body, goes_on = _body(make, method, status)
    fields += framing
    if make.odd(0.08, "connection: close"):
        fields.append(b"Connection: close")
        goes_on = False
    if version == b"HTTP/1.0":
        goes_on = False
    rng.shuffle(fields)
    answer = interim + end.join([version + b" %d" % status + reason, *fields, b"", b""]) + body
    if make.odd(0.06, "cut off"):
        return answer[: rng.randrange(len(answer) + 1)], False
    if goes_on and make.odd(0.06, "surplus"):
        answer += rng.choice(
            [b"x", b"\r\n", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", b"surplus" * 1000]
        )
    return answer, goes_on


def _body(make: Maker, method: str, status: int) -> tuple[list[bytes], bytes, bool]:
    """Make up a body: the fields that say how long it is, its bytes, and whether the connection goes on after it."""
    rng = make.rng
    body = BODY[: rng.choice([0, 1, 5, 5, 100, 1000, 20_000])]
    silent = method == "HEAD" or status in (204, 304)
    told = b"Content-Length: %d" % len(body)
    if silent:
        if make.odd(0.1, "body where none belongs"):
            return [told], body, True
        return ([] if status == 204 else [told]), b"", True
    kind = rng.choices(["length", "chunked", "close", "wrong length", "odd length", "both"], [8, 5, 2, 1, 1, 1])[0]
    if kind == "length":
        return [told], body, True
    if kind == "close":
        return [], body, False
    make.traits.append(kind)
    if kind == "wrong length":
        if make.odd(0.5, "short"):
            return [b"Content-Length: %d" % (len(body) + rng.choice([1, 7, 1000]))], body, False
        return [told], body + b"more", True
    if kind == "odd length":
        return [b"Content-Length: " + make.pick("length", _LENGTHS)], body, False
    if kind == "both":
        other = rng.choice([told, b"Content-Length: 3", told + b"\r\n" + told, told + b"\r\nContent-Length: 3"])
        if make.odd(0.5, "lengths alone"):
            return [other], body, False
        return [other, b"Transfer-Encoding: chunked"], _chunked(make, body)[0], False
    coding = make.pick("coding", _CODINGS) if make.odd(0.1, "coding") else b"chunked"
    coded, whole = _chunked(make, body)
    return [b"Transfer-Encoding: " + coding], coded, whole and coding == b"chunked"


def _chunked(make: Maker, body: bytes) -> tuple[bytes, bool]:
    """Encode a body in chunks; say whether its end can be known from it."""
    rng = make.rng
    out, whole = b"", True
    while body:
        size = rng.randrange(1, len(body) + 1)
        piece, body = body[:size], body[size:]
        digits, stop = b"%x" % size, b"\r\n"
        if make.odd(0.03, "chunk size"):
            digits = make.pick("chunk size", _chunk_sizes(digits))
            whole = False
        if make.odd(0.02, "chunk end"):
            stop = make.pick("chunk end", _CHUNK_ENDS)
            whole = False
        out += digits + b"\r\n" + piece + stop
    if make.odd(0.05, "no last chunk"):
        return out, False
    trailers = make.pick("trailers", _TRAILERS) if make.odd(0.1, "trailers") else b""
    whole = whole and b"nonsense" not in trailers
    return out + rng.choice([b"0", b"0", b"0", b"000", b"0;a=b"]) + b"\r\n" + trailers + b"\r\n", whole


def _chunk_sizes(digits: bytes) -> dict[str, bytes]:
    return {
        "upper case": digits.upper(),
        "zeros": b"000" + digits,
        "blank after": digits + b" ",
        "extension": digits + b";a=b",
        "quoted extension": digits + b';a="b\\"c"',
        "no digit": b"g",
        "negative": b"-1",
        "prefix": b"0x" + digits,
        "nothing": b"",
        "huge": b"f" * 20,
        "blank before": b" " + digits,
        "semicolon": digits + b";",
    }


_CHUNK_ENDS = {"lf": b"\n", "none": b"", "other": b"xx", "cr": b"\r"}
_TRAILERS = {
    "one": b"X-Checksum: 1\r\n",
    "two": b"X: y\r\nX: z\r\n",
    "long": b"X-Long: " + b"y" * 9000 + b"\r\n",
    "nonsense": b"nonsense\r\n",
}
