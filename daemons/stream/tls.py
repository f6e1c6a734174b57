"""TLS over memory BIOs, so that the socket stays ours and every read of it keeps its kernel stamp."""

import contextlib
import ssl
from pathlib import Path

from daemons.errors import ConfigError, StreamError
from daemons.reasons import StreamReason

__all__ = ["TlsSession", "client_context", "unverified_context"]


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """Make a context that verifies the server's certificate and name, TLS 1.2 or newer.

    Args:
        ca_file: a PEM file of certificate authorities to trust instead of the system's.

    Raises:
        ConfigError: the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        why = "is missing" if ca_file and not Path(ca_file).exists() else f"cannot be used: {error}"
        raise ConfigError("ca_file", f"{ca_file}: {why}", "give a PEM file of trusted authorities") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unverified_context() -> ssl.SSLContext:
    """Make a context that accepts any certificate: only to look at one, never to trust what is said over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TlsSession:
    """One TLS connection without I/O: bytes of the wire in, plain bytes out, and the other way.

    The server's name is sent and verified without the dot that an absolute name ends with (RFC 6066, section 3).

    Args:
        context: for the client's side; for the server's with ``server_side``.
        name: the server's, or, on the server's side, the client's address for messages.
        server_side: be the server.

    Call :meth:`handshake` with received bytes until it returns True; then :meth:`decrypt` and :meth:`encrypt`.

    Attributes:
        exact: the last bytes given to :meth:`decrypt` completed the last plain ones that it returned: no ticket, alert
            or part of a record came after them.
    """

    def __init__(self, context: ssl.SSLContext, name: str, *, server_side: bool = False) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        hostname = None if server_side else name.removesuffix(".")
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname
        )
        self._name = name
        self.exact = False

    def handshake(self, data: bytes = b"") -> bool:
        """Go on with the handshake.

        Returns:
            True when it is complete. Either way send what :meth:`data_to_send` gives.

        Raises:
            StreamError: with reason ``certificate`` or ``tls``.
        """
        if data:
            self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise StreamError(
                StreamReason.CERTIFICATE,
                f"{self._name}: certificate refused: {error.verify_message}; check the name and the authority",
            ) from error
        except ssl.SSLError as error:
            raise StreamError(
                StreamReason.TLS, f"{self._name}: TLS handshake failed: {error.reason or error}; is this a TLS port?"
            ) from error
        return True

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """Take received bytes; return the plain bytes that are complete, and whether the peer closed the session.

        Raises:
            StreamError: the peer broke the protocol.
        """
        if data:
            self._incoming.write(data)
        plain = []
        self.exact = False
        try:
            # OpenSSL takes one record at a time from what has come, and never more of it than the record.
            while piece := self._object.read(262144):
                plain.append(piece)
                self.exact = not self._incoming.pending
        except ssl.SSLWantReadError:
            return b"".join(plain), False
        except ssl.SSLZeroReturnError:
            return b"".join(plain), True
        except ssl.SSLError as error:
            raise StreamError(
                StreamReason.TLS, f"{self._name}: TLS broken: {error.reason or error}; reconnect"
            ) from error
        return b"".join(plain), True

    def encrypt(self, data: bytes) -> bytes:
        """Return the wire bytes for plain ones."""
        self._object.write(data)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """End the session; return the alert that tells the peer."""
        # The error says that it wants the peer's own alert, which nobody waits for.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        return self._outgoing.read()

    @property
    def version(self) -> str:
        """The TLS version negotiated, such as ``TLSv1.3``; only after the handshake, as those below."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """The cipher suite negotiated."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else ""

    @property
    def application_protocol(self) -> str:
        """The protocol chosen by ALPN (RFC 7301); empty when the peer chose none."""
        return self._object.selected_alpn_protocol() or ""

    @property
    def certificate(self) -> bytes:
        """The peer's own certificate in DER, verified or not."""
        return self._object.getpeercert(binary_form=True) or b""

    @property
    def peer_names(self) -> frozenset[str]:
        """The alternative names in the peer's verified certificate; none when it showed none."""
        return frozenset(str(name[1]) for name in (self._object.getpeercert() or {}).get("subjectAltName", ()))

    def data_to_send(self) -> bytes:
        """Return wire bytes that the protocol itself wants sent (handshake, alerts, key updates)."""
        return self._outgoing.read()
