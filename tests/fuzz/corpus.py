"""Inputs to begin from: good ones made by our own encoders and examples, and those that once broke something."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from websockets.frames import Frame, Opcode

from daemons.formats.rows import COLUMNS, ORIGINAL_COLUMNS
from daemons.link.control import encode_control
from daemons.link.events import datagram_head, encode_event
from daemons.link.forwarded import encode_forwarded
from daemons.link.messages import (
    VERSION,
    Ack,
    Bye,
    Challenge,
    ClockReply,
    Control,
    GaveUp,
    Heartbeat,
    Hello,
    Transport,
    Welcome,
)
from daemons.link.seal import DatagramSealer, Sealer
from daemons.records import UNKNOWN_CLOCK
from tests.experiments.made import summary

__all__ = ["DICTIONARY", "FOUND", "seeds"]

FOUND = Path(__file__).with_name("found.txt")
"""Lines ``TARGET BASE64``: what was found on the way, never to be found again."""

_EVENT = encode_event(7, 10, 0, 5, 20, 5, b"btcusdt@trade", b'{"e":"trade"}')
_SAID: tuple[Control, ...] = (
    Challenge(VERSION, bytes(16)),
    Hello(VERSION, Transport.TCP, 1, bytes(16), 0, "backbone", UNKNOWN_CLOCK, bytes(32)),
    Hello(VERSION, Transport.UDP, 1, bytes(16), 0, "", UNKNOWN_CLOCK),
    Welcome(VERSION, 1, 0),
)
_THEN: tuple[Control, ...] = (
    Heartbeat(7, 10, UNKNOWN_CLOCK, {}),
    Ack(1, 2, 3),
    ClockReply(1, 1, 2, 3),
    Bye(7),
    GaveUp(((1, 2),)),
)
_TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,"p":"0.001",'
    b'"T":1672515782136,"m":true}}'
)
_MESSAGES = (
    _TRADE,
    _TRADE[34:-1],
    b'{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}',
    b'{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"pu":149,"b":[["0.0024","10"]],"a":[]}',
    b'[{"e":"24hrTicker","E":1672515782136,"s":"BNBBTC"}]',
    b'{"result":null,"id":3}',
    b'{"code":2,"msg":"Invalid request"}',
    b'{"e":"serverShutdown","E":1672515782136}',
)
_TOML = (
    (
        b'[[path]]\nname = "direct"\nkind = "feed"\nurl = "wss://exchange.test/stream"\nstreams = ["btcusdt@trade"]\n'
        b'[[path]]\nname = "backbone"\nkind = "link"\nlisten = "127.0.0.1:1"\n[metrics]\nlisten = "[::1]:9472"\n'
    ),
    b'[feed]\nurl = "wss://exchange.test/ws/btcusdt@trade"\n[[destination]]\naddress = "192.0.2.1:1"\n',
    b'[[target]]\nname = "api"\nurl = "https://exchange.test/"\n[target.headers]\na = "b"\n[overlay]\npeer = "::1"\n',
)
_ROW = b",1718000000000,1718000000001000000,1718000000002000000,2.0,1.0"
_OF_PATH = b",direct,btcusdt@trade,9,1718000000000000000,,kernel,ok,0\n"
_ROWS = ",".join(COLUMNS).encode() + b"\n1" + _ROW + _OF_PATH + b"2" + _ROW + _OF_PATH
_ORIGINAL_ROWS = ",".join(ORIGINAL_COLUMNS).encode() + b"\n1" + _ROW + b"\n"
_REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /none?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET http://[bad HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
)
DICTIONARY: dict[str, tuple[bytes, ...]] = {
    "pages": (b"HTTP/1.1", b"\r\n", b"Host:", b"Transfer-Encoding: chunked", b"Content-Length:", b"http://["),
    "configuration": (b"[[path]]", b"[[target]]", b"[metrics]", b'"""', b" = ", b"kind", b"\\u", b"inf", b"1979-05-27"),
    "json_message": (b'"e":', b'"E":', b'"u":', b'"stream":', b'"data":', b'"s":', b"[[", b"\\ud800", b"1e999"),
}


def seeds(target: str) -> Iterator[bytes]:
    """Yield a target's inputs, those that were found before last."""
    yield from _GOOD[target]
    for line in FOUND.read_text().splitlines():
        name, _space, encoded = line.partition(" ")
        if name == target:
            yield base64.b64decode(encoded)


def _split(*inputs: bytes) -> tuple[bytes, ...]:
    """Put a place to cut at before each, for targets that want one."""
    return tuple(bytes([place]) + data for data in inputs for place in (0, 7, 255))


def _sbe() -> tuple[bytes, ...]:
    head = (50).to_bytes(2, "little") + (10001).to_bytes(2, "little") + bytes([1, 0, 0, 0])
    return (head + bytes(60) + b"\x07BTCUSDT",)


_FRAMES = tuple(map(encode_control, (*_SAID, *_THEN)))
_DATAGRAM = datagram_head(1, 1) + _EVENT
_MASKLESS = [Frame(Opcode.TEXT, message).serialize(mask=False) for message in _MESSAGES]
_CONTROL = [
    Frame(Opcode.TEXT, _TRADE[:9], fin=False).serialize(mask=False)
    + Frame(Opcode.PING, b"x").serialize(mask=False)
    + Frame(Opcode.CONT, _TRADE[9:]).serialize(mask=False),
    Frame(Opcode.CLOSE, b"\x03\xe8bye").serialize(mask=False),
    Frame(Opcode.BINARY, bytes(30)).serialize(mask=False),
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
]
_GOOD: dict[str, tuple[bytes, ...]] = {
    "wire_frames": _split(b"".join((*_FRAMES, _EVENT)), _EVENT * 3),
    "wire_datagram": (_DATAGRAM, DatagramSealer(1, b"k" * 32).wrap(_EVENT), datagram_head(1, 1)),
    # Under another key: under the right one it would be taken, and rightly.
    "wire_records": _split(Sealer(b"o" * 32).seal(_EVENT), Sealer(b"o" * 32).seal(b"")),
    "receiver_session": _split(_FRAMES[1] + _EVENT, b"".join((_FRAMES[2], *_FRAMES[4:], _EVENT))),
    "forwarder_session": _split(b"".join((_FRAMES[0], _FRAMES[3], _FRAMES[5]))),
    "json_link": _split(encode_forwarded(1, 2, 3_000_000, _TRADE) + b"\n" + b"{}\n"),
    "json_message": _MESSAGES,
    "sbe_message": _sbe(),
    "feed_session": tuple(bytes([place]) + data for data in (*_MASKLESS, *_CONTROL) for place in (2, 3, 0, 254)),
    "pages": _split(*_REQUESTS),
    "configuration": _TOML,
    "summary": (b'{"complete": false}', json.dumps(summary()).encode()),
    "rows": (_ROWS, _ORIGINAL_ROWS, b"\xef\xbb\xbf" + _ORIGINAL_ROWS.replace(b"2.0", b"")),
}
