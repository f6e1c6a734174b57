"""Secrets looked for by value, wherever text is made of what holds them."""

import copy
import io
import json
import logging
import pickle
import traceback

import msgspec
import pytest
import structlog

from daemons.link.messages import Transport
from daemons.link.receiving.settings import LinkPathSection, ListenerSettings
from daemons.link.sending.settings import DestinationSection, LinkSettings
from daemons.link.session import ForwarderSession, Introduction, Offer, ReceiverSession
from daemons.records import UNKNOWN_CLOCK, Stamp, StampKind
from daemons.secret import Secret

VALUE = b"correct-horse-battery-staple"
KEY = Secret(VALUE)
INTRODUCTION = Introduction(KEY, 7, "backbone", Transport.TCP, 0, bytes(16))


def receiver() -> ReceiverSession:
    return ReceiverSession(
        lambda: [Offer(keys=(KEY,), path="backbone", transports=frozenset(Transport), highest_of=lambda _session: 0)],
        nonce=bytes(16),
        token=1,
    )


HOLDERS = [
    KEY,
    [KEY],
    {"key": KEY},
    INTRODUCTION,
    LinkSettings(DestinationSection(address="there:1"), "there", 1, key=KEY),
    ListenerSettings(LinkPathSection(name="backbone"), keys=(KEY, KEY)),
    ForwarderSession(INTRODUCTION, UNKNOWN_CLOCK),
    receiver(),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_text_of_what_holds_a_key_shows_it(holder: object) -> None:
    texts = [repr(holder), str(holder), f"{holder}", f"{holder!r:>5}", f"{holder!a}"]
    with pytest.raises(ValueError, match="boom") as caught:
        raise ValueError("boom", holder)
    texts.append("".join(traceback.format_exception(caught.value)))
    stream = io.StringIO()
    logging.StreamHandler(stream).emit(logging.LogRecord("x", logging.ERROR, "x", 1, "%s %r", (holder, holder), None))
    texts.append(stream.getvalue())
    texts.append(str(structlog.processors.JSONRenderer()(None, "error", {"event": "x", "holder": holder})))
    texts.append(str(structlog.dev.ConsoleRenderer()(None, "error", {"event": "x", "holder": holder})))
    assert not [text for text in texts if VALUE.decode() in text]


def test_no_traceback_shows_it_even_with_local_variables() -> None:
    session = ForwarderSession(INTRODUCTION, UNKNOWN_CLOCK)
    with pytest.raises(TypeError) as caught:
        session.receive_data(None, Stamp(0, StampKind.KERNEL, 0, 0), lambda: 0)  # type: ignore[arg-type]
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=True, locals_max_string=10_000)
    text = json.dumps(transform((type(caught.value), caught.value, caught.tb)))
    assert "INTRODUCTION" not in text
    assert "ForwarderSession" in text
    assert VALUE.decode() not in text
    assert VALUE.hex() not in text


def test_it_cannot_be_written_by_accident() -> None:
    for write in (pickle.dumps, copy.copy, msgspec.json.encode, msgspec.msgpack.encode, json.dumps):
        with pytest.raises(TypeError):
            write(KEY)


def test_secrets_are_equal_by_value() -> None:
    assert Secret(VALUE) == KEY
    assert hash(Secret(VALUE)) == hash(KEY)
    assert Secret(VALUE + b"x") != KEY
    assert KEY != VALUE
