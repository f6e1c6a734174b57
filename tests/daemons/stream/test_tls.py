"""Records of a real server's TLS, cut into packets and reads in every way."""

import ssl
from bisect import bisect_right
from itertools import accumulate

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.stream.tls import TlsSession
from tests.daemons.arrivals import arrivals, judge

NAME = "exchange.test"
RECORD = st.binary(min_size=1, max_size=40)


@pytest.fixture(scope="module", params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def contexts(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.maximum_version = request.param
    authority.issue_cert(NAME).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Server:
    """The other end, without a socket."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake(self, client: TlsSession) -> bytes:
        """Complete both handshakes; return what the server said that the client has not read."""
        client.handshake()
        done = False
        while not done:
            self._incoming.write(client.data_to_send())
            try:
                self._object.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                client.handshake(self._outgoing.read())
        # With TLS 1.2 the server's last word is part of the handshake; with 1.3 it is tickets.
        if self._object.version() == "TLSv1.2":
            client.handshake(self._outgoing.read())
        return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        self._object.write(data)
        return self._outgoing.read()

    def close(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self._object.unwrap()
        return self._outgoing.read()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_read_is_exact_when_its_last_byte_completed_plain_ones(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], data: st.DataObject
) -> None:
    server, client = Server(contexts[0]), TlsSession(contexts[1], NAME)
    wire = server.shake(client)
    said = data.draw(st.lists(RECORD, min_size=1, max_size=6))
    ends = []
    for plain in said:
        wire += server.say(plain)
        ends.append(len(wire))
    if data.draw(st.booleans()):
        wire += server.close()
    came = data.draw(arrivals(wire))
    totals = list(accumulate(map(len, said)))
    heard, done, batches = b"", 0, []
    for read, stamp in came:
        plain, _ended = client.decrypt(read)
        heard += plain
        complete = bisect_right(totals, len(heard))
        if complete > done:
            batches.append((complete - done, stamp, client.exact))
            done = complete
    assert heard == b"".join(said)
    judge(came, ends, batches)
