"""What takes in bytes of others, each as a function that raises nothing but what its documentation names.

A target returns for every input that its code deals with as documented; anything else that it raises is a find.
"""

import asyncio
import atexit
import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from websockets.http11 import Request
from websockets.server import ServerProtocol

from daemons.configuration.forwarder import load_forwarder
from daemons.configuration.probe import load_config
from daemons.configuration.receiver import load_receiver
from daemons.errors import ConfigError, FeedError, LinkError, WireError
from daemons.feed.binance import Decoder
from daemons.feed.sbe import SbeDecoder
from daemons.feed.session import FeedSession
from daemons.feed.streams import identity_of
from daemons.link.decoder import MAX_BODY, FrameDecoder
from daemons.link.events import datagram_events
from daemons.link.forwarded import LineDecoder, decode_forwarded
from daemons.link.messages import Transport
from daemons.link.seal import DatagramOpener, Opener
from daemons.link.session import ForwarderSession, Introduction, Offer, ReceiverSession
from daemons.records import UNKNOWN_CLOCK, Stamp, StampKind
from daemons.secret import Secret
from daemons.service.log import logs
from daemons.service.web.pages import Page, text
from daemons.service.web.pages import Request as HttpRequest
from daemons.service.web.server import HttpServer
from experiments.errors import InputError
from experiments.results.rows import load_rows
from experiments.results.summary import load_summary

__all__ = ["TARGETS"]

Target = Callable[[bytes], None]

_STAMP = Stamp(10, StampKind.KERNEL, 10, 10, 0)
_KEY = Secret(b"k" * 32)


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut an input in two at a place that its first byte names: any split has to come out the same way."""
    at = 1 + data[0] if data else 0
    yield data[1:at]
    yield data[at:]


def _frames(data: bytes) -> None:
    decoder = FrameDecoder(MAX_BODY)
    with contextlib.suppress(WireError):
        for piece in _pieces(data):
            decoder.feed(piece)


def _datagram(data: bytes) -> None:
    with contextlib.suppress(WireError):
        datagram_events(data, lambda _token, _number, whole: len(whole))
    with contextlib.suppress(WireError):
        datagram_events(data, lambda _token, number, whole: DatagramOpener(b"k" * 32).end_of_events(number, whole))


def _records(data: bytes) -> None:
    opener = Opener(b"k" * 32)
    with contextlib.suppress(WireError):
        for piece in _pieces(data):
            assert not opener.open(piece), "a record without the key's tag was taken"


def _receiver_session(data: bytes) -> None:
    for keys in ((), (_KEY,)):
        offer = Offer(keys=keys, path="backbone", transports=frozenset(Transport), highest_of=lambda _session: 0)
        # A port that two paths share chooses where that of one has no choice.
        for offers in ([offer], [offer, replace(offer, path="way")]):
            _receiver_session_of(offers, data)


def _receiver_session_of(offers: list[Offer], data: bytes) -> None:
    session = ReceiverSession(lambda: offers, nonce=bytes(16), token=1)
    session.data_to_send()
    session.ask_time(lambda: 1)
    with contextlib.suppress(LinkError):
        for piece in _pieces(data):
            assert not session.receive_data(piece, _STAMP) or not offers[0].keys, "a stranger was let in"
    session.data_to_send()


def _forwarder_session(data: bytes) -> None:
    for key in (None, _KEY):
        session = ForwarderSession(Introduction(key, 1, "backbone", Transport.TCP, 0, bytes(16)), UNKNOWN_CLOCK)
        with contextlib.suppress(LinkError):
            for piece in _pieces(data):
                session.receive_data(piece, _STAMP, lambda: 1)
        assert key is None or session.welcome is None, "a stranger was believed"
        session.data_to_send()


def _json_link(data: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_forwarded(data)
    lines = LineDecoder()
    with contextlib.suppress(WireError):
        for piece in _pieces(data):
            lines.feed(piece)


_DECODERS = [Decoder(names) for names in ((), ("btcusdt@trade",), ("btcusdt@depth", "!ticker@arr"))]


def _json_message(data: bytes) -> None:
    for decoder in _DECODERS:
        decoder.decode(data)
        decoder.symbol_of(data)
    identity_of(data.decode(errors="surrogateescape"))


def _sbe_message(data: bytes) -> None:
    SbeDecoder().decode(data)


def _feed_session(data: bytes) -> None:
    binary = bool(data and data[0] & 1)
    session = FeedSession("ws://exchange.test/stream?streams=btcusdt@trade", max_message_bytes=4096, sbe=binary)
    session.start()
    said = b"".join(session.data_to_send())
    if data and data[0] & 2:
        server = ServerProtocol()
        server.receive_data(said)
        (request,) = server.events_received()
        assert isinstance(request, Request)
        server.send_response(server.accept(request))
        session.receive_data(b"".join(server.data_to_send()))
    try:
        for piece in _pieces(data):
            session.receive_data(piece)
            session.check()
            session.data_to_send()
        session.receive_eof()
    except FeedError:
        pass


class _Wire(asyncio.Transport):
    """Takes what a server says."""

    def __init__(self) -> None:
        super().__init__()
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        pass

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close


async def _page(_request: HttpRequest) -> Page:
    return Page(text("a page\n"))


class _Pages:
    """A server whose connections are made without sockets."""

    def __init__(self) -> None:
        self._server = HttpServer({"/": _page}, ("127.0.0.1", 0))

    def __call__(self, data: bytes) -> None:
        before = logs.counts.unexpected
        asyncio.run(self._visit(data))
        assert logs.counts.unexpected == before, "a request had an effect that nobody foresaw"

    async def _visit(self, data: bytes) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        protocol.connection_made(wire_of := _Wire())
        writer = asyncio.StreamWriter(wire_of, protocol, reader, asyncio.get_running_loop())
        for piece in _pieces(data):
            reader.feed_data(piece)
        reader.feed_eof()
        # In a task of its own, as asyncio does it.
        await asyncio.create_task(self._server._accept(reader, writer))


class _File:
    """Writes an input into a file in memory for what reads files."""

    def __init__(self, name: str, refused: type[Exception], *readers: Callable[[Path], object]) -> None:
        shared = Path("/dev/shm")
        folder = Path(mkdtemp(dir=shared if shared.is_dir() else None))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self._path = folder / name
        self._refused = refused
        self._readers = readers

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        for read in self._readers:
            try:
                read(self._path)
            except self._refused as error:
                # A message is for people, of one line.
                assert "\n" not in str(error)  # noqa: PT017 - no error is fine as well


_FLAGS: dict[str, Any] = {}
TARGETS: dict[str, Callable[[], Target]] = {
    "wire_frames": lambda: _frames,
    "wire_datagram": lambda: _datagram,
    "wire_records": lambda: _records,
    "receiver_session": lambda: _receiver_session,
    "forwarder_session": lambda: _forwarder_session,
    "json_link": lambda: _json_link,
    "json_message": lambda: _json_message,
    "sbe_message": lambda: _sbe_message,
    "feed_session": lambda: _feed_session,
    "pages": _Pages,
    "configuration": partial(
        _File,
        "daemon.toml",
        ConfigError,
        lambda path: load_receiver(path, _FLAGS, None, _FLAGS, _FLAGS),
        lambda path: load_forwarder(path, _FLAGS, (), _FLAGS),
        lambda path: load_config(path, _FLAGS),
    ),
    "summary": partial(_File, "run.json", InputError, load_summary),
    "rows": partial(_File, "run.csv", InputError, lambda path: load_rows(path, "direct")),
}
"""By name, what makes a target: in the process that is going to use it."""
