"""Random conversations in HTTP/2: well-formed, odd and broken, as scripts that a server plays."""

import random
from collections.abc import Callable

import hpack
from hyperframe import frame as frames

from tests.daemons.probe.grammar.case import BODY, MAX_REQUESTS, METHODS, STATUS, Case, Maker
from tests.daemons.probe.script import Close, Read, Reset, Step

__all__ = ["http2_case"]

_CODES = (0, 0, 1, 2, 3, 5, 7, 7, 8, 10, 11, 13)


def http2_case(seed: int) -> Case:
    """Make up a conversation in HTTP/2."""
    make = Maker(random.Random(seed))
    rng = make.rng
    method = rng.choice(METHODS)
    requests = rng.randrange(1, MAX_REQUESTS + 1)
    scripts = []
    for _connection in range(rng.randrange(1, 3)):
        script: list[Step] = list(make.cut(_settings(make, method)))
        answered = rng.randrange(1, MAX_REQUESTS + 1)
        for number in range(answered):
            stream = 2 * number + 1
            script.append(Read.request(stream, body=method == "POST"))
            answer, goes_on = _stream(make, method, stream)
            script += make.cut(answer)
            if not goes_on:
                break
        else:
            script.append(Read.request(2 * answered + 1))
        script.append(Reset() if make.odd(0.1, "reset") else Close())
        scripts.append(tuple(script))
    return Case("2", method, requests, tuple(scripts), tuple(make.traits))


def _settings(make: Maker, method: str) -> bytes:
    rng = make.rng
    settings: dict[int, int] = {}
    if make.odd(0.3, "settings"):
        settings = {
            rng.choice([1, 3, 4, 5, 6, 8, 99]): value for value in [rng.choice([0, 1, 100, 16384, 65535, 100_000])]
        }
        # Some values are forbidden for some settings (RFC 9113, section 6.5.2).
        if 5 in settings:
            settings[5] = max(settings[5], 16384)
        if 8 in settings:
            settings[8] = min(settings[8], 1)
        # No room for a body, and none made later, leaves the client waiting.
        if 4 in settings and method == "POST":
            settings[4] = max(settings[4], 100)
        make.traits += [f"setting {key}={value}" for key, value in settings.items()]
    return frames.SettingsFrame(0, settings=settings).serialize()


def _stream(make: Maker, method: str, stream: int) -> tuple[bytes, bool]:
    """Make up what is said on one stream and between; say whether the connection goes on after it."""
    rng = make.rng
    goes_on = not make.odd(0.05, "no answer")
    parts = _final(make, method, stream) if goes_on else []
    while make.odd(0.12, "interim"):
        parts.insert(
            0, _head(make, stream, [(":status", rng.choice(["103", "102", "100"])), ("link", "</a>")], end=False)
        )
    between: list[tuple[str, float, Callable[[], bytes]]] = [
        ("ping", 0.15, lambda: frames.PingFrame(0, opaque_data=b"12345678").serialize()),
        ("window", 0.15, lambda: frames.WindowUpdateFrame(0, window_increment=rng.randrange(1, 99_999)).serialize()),
        ("unknown frame", 0.1, lambda: b"\x00\x00\x03\xee\x00\x00\x00\x00\x00abc"),
        ("unknown frame of the stream", 0.05, lambda: b"\x00\x00\x03\xef\xff" + stream.to_bytes(4, "big") + b"abc"),
        ("settings again", 0.1, lambda: _settings(make, method)),
        ("alt-svc", 0.05, lambda: b'\x00\x00\x12\x0a\x00\x00\x00\x00\x00\x00\x09https://ah3=":1"'),
    ]
    for trait, probability, frame in between:
        if make.odd(probability, trait):
            parts.insert(_between(make, parts), frame())
    if make.odd(0.15, "goaway"):
        last = rng.choice([0, max(stream - 2, 0), stream, stream, stream + 2, 2**31 - 1])
        code = rng.choice(_CODES)
        make.traits.append(f"goaway last={last - stream:+d} code={code}")
        parts.insert(_between(make, parts), goaway(last, code))
        goes_on = False
    if make.odd(0.08, "rst"):
        code = rng.choice(_CODES)
        at = _between(make, parts)
        make.traits.append(f"rst code={code} at={at}/{len(parts)}")
        parts = [*parts[:at], frames.RstStreamFrame(stream, error_code=code).serialize()]
    if make.odd(0.06, "breach"):
        parts.insert(_between(make, parts), make.pick("breach", _breaches(stream)))
        goes_on = False
    answer = b"".join(parts)
    if make.odd(0.05, "cut off"):
        return answer[: rng.randrange(len(answer) + 1)], False
    return answer, goes_on


def _between(make: Maker, parts: list[bytes]) -> int:
    return make.rng.randrange(len(parts) + 1)


def goaway(last_stream: int, code: int = 0) -> bytes:
    return frames.GoAwayFrame(0, last_stream_id=last_stream, error_code=code).serialize()


def _final(make: Maker, method: str, stream: int) -> list[bytes]:
    rng = make.rng
    status = rng.choice(STATUS)
    body = BODY[: rng.choice([0, 1, 5, 5, 100, 1000, 20_000])]
    fields = [(":status", str(status))]
    if make.odd(0.1, "long field"):
        fields.append(("x", "y" * rng.choice([3000, 20_000, 60_000])))
    if method == "HEAD" or status in (204, 304):
        return [_head(make, stream, fields, end=True)]
    length = len(body)
    if make.odd(0.5, "content-length"):
        if make.odd(0.1, "wrong length"):
            length += rng.choice([-1, 1, 1000])
        fields.append(("content-length", str(max(length, 0))))
    if not body and make.odd(0.5, "no data"):
        return [_head(make, stream, fields, end=True)]
    return [_head(make, stream, fields, end=False), *_content(make, stream, body)]


def _content(make: Maker, stream: int, body: bytes) -> list[bytes]:
    """Make frames of a body, now and then with padding, empty ones among them, or trailers after them."""
    rng = make.rng
    parts = []
    trailers = make.odd(0.1, "trailers")
    pieces = []
    while body:
        size = min(rng.randrange(1, len(body) + 1), 16_000)
        pieces.append(body[:size])
        body = body[size:]
    if make.odd(0.1, "empty data"):
        pieces.insert(rng.randrange(len(pieces) + 1), b"")
    pieces = pieces or [b""]
    for number, piece in enumerate(pieces):
        data = frames.DataFrame(stream, data=piece)
        if make.odd(0.05, "padding"):
            data.pad_length = rng.randrange(1, 200)
            data.flags.add("PADDED")
        if number == len(pieces) - 1 and not trailers:
            data.flags.add("END_STREAM")
        parts.append(data.serialize())
    if trailers:
        parts.append(_head(make, stream, [("x-checksum", "1")], end=True))
    return parts


def _head(make: Maker, stream: int, fields: list[tuple[str, str]], *, end: bool) -> bytes:
    """Encode a head, now and then in several frames; never into the table that the connections would share."""
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)
    pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    if len(block) > 2 and make.odd(0.1, "continuation"):
        at = make.rng.randrange(1, len(pieces[0]))
        pieces[:1] = [pieces[0][:at], pieces[0][at:]]
    out: list[frames.Frame] = [frames.HeadersFrame(stream, data=pieces[0])]
    out += [frames.ContinuationFrame(stream, data=piece) for piece in pieces[1:]]
    if end:
        out[0].flags.add("END_STREAM")
    out[-1].flags.add("END_HEADERS")
    return b"".join(one.serialize() for one in out)


def _breaches(stream: int) -> dict[str, bytes]:
    def block(*fields: tuple[str, str]) -> bytes:
        return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)

    def headers(at: int, data: bytes) -> bytes:
        frame = frames.HeadersFrame(at, data=data)
        for flag in ("END_HEADERS", "END_STREAM"):
            frame.flags.add(flag)
        return frame.serialize()

    return {
        "headers on stream 0": b"\x00\x00\x01\x01\x05\x00\x00\x00\x00\x88",
        "data on stream 0": b"\x00\x00\x01\x00\x00\x00\x00\x00\x00a",
        "data on an idle stream": frames.DataFrame(stream + 100, data=b"a").serialize(),
        "window of zero": b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        "frame too long": b"\x01\x00\x01\x00\x00" + stream.to_bytes(4, "big") + bytes(65537),
        "bad compression": headers(stream, b"\xff\xff\xff\xff\xff\xff"),
        "no status": headers(stream, block(("x", "y"))),
        "upper case": headers(stream, block((":status", "200"), ("X-Upper", "y"))),
        "connection field": headers(stream, block((":status", "200"), ("connection", "close"))),
        "pushed": b"\x00\x00\x05\x05\x04" + stream.to_bytes(4, "big") + b"\x00\x00\x00\x02\x82",
        "ping too short": b"\x00\x00\x02\x06\x00\x00\x00\x00\x00ab",
        "settings of a stream": b"\x00\x00\x00\x04\x00" + stream.to_bytes(4, "big"),
        "goaway of a stream": b"\x00\x00\x08\x07\x00" + stream.to_bytes(4, "big") + bytes(8),
        "goaway too short": b"\x00\x00\x02\x07\x00\x00\x00\x00\x00ab",
        "continuation alone": frames.ContinuationFrame(stream, data=b"a").serialize(),
        "http/1.1": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        "status of letters": headers(stream, block((":status", "abc"))),
        "status of two digits": headers(stream, block((":status", "20"))),
        "two statuses": headers(stream, block((":status", "200"), (":status", "404"))),
        "even stream": headers(2, block((":status", "200"))),
    }
