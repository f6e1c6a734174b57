"""Calls to an emulator of this same process, handed over without a socket.

A socket, two threads and HTTP's own parsers for each of the thousands of calls of a test cost more than the emulator's
answers; what is sent and answered is the same, byte for byte.
"""

import io
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

APPLICATIONS: dict[str, Callable[..., Any]] = {}
"""What stands behind an endpoint of this process."""


_ONE_CALL = threading.RLock()


class _Raw(io.BytesIO):
    """A body as botocore reads one: whole, or in pieces."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def deliver(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
    """Answer a request for one of ``APPLICATIONS``; a handler of botocore's ``before-send``.

    Returns:
        The answer; None for whatever is to be sent.
    """
    url: Any = urlsplit(request.url)
    application = APPLICATIONS.get(f"{url.scheme}://{url.netloc}")
    if application is None:
        return None
    told: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
        told[:] = status, headers
        return lambda _: None

    try:
        # Of two calls at once moto gives both the same address. A call of AWS's is whole, whatever comes beside it.
        with _ONE_CALL:
            pieces = application(_environ(request, url), start)
            body = b"".join(pieces)
    except Exception:  # noqa: BLE001 - as a server does: what the emulator lacks is no answer of AWS's
        traceback.print_exc()
        return AWSResponse(request.url, 500, {}, _Raw(b""))  # type: ignore[arg-type]
    if hasattr(pieces, "close"):
        pieces.close()
    status, headers = told
    return AWSResponse(request.url, int(status.split()[0]), dict(headers), _Raw(body))  # type: ignore[arg-type]


def _environ(request: AWSPreparedRequest, url: Any) -> dict[str, Any]:
    """The request as PEP 3333 has it."""
    body: Any = request.body if request.body is not None else b""
    body = body.read() if hasattr(body, "read") else body
    body = body.encode() if isinstance(body, str) else bytes(body)
    path = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(url.path or "/", "latin-1"),
        "QUERY_STRING": url.query,
        "REQUEST_URI": path,
        "RAW_URI": path,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": url.netloc,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    headers: Any = request.headers
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = text
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body is whole
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
