"""An HTTPS endpoint that tells the time and keeps connections open, for the demo's probe.

Run as ``python -m experiments.local.https_server CHAIN.pem KEY.pem``; prints where it listens as one JSON line.
"""

import asyncio
import json
import signal
import ssl
import sys
import time

from daemons.service.announcing import announce
from daemons.service.web.pages import Page, Request, text
from daemons.service.web.server import HttpServer
from daemons.service.web.web_config import Web, WebFile

__all__: list[str] = []


async def _time(_request: Request) -> Page:
    return Page(text(json.dumps({"serverTime": time.time_ns() // 1_000_000})), "application/json")


async def _serve(chain: str, key: str) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = HttpServer({"/api/v3/time": _time}, ("127.0.0.1", 0), WebFile(lambda: Web(tls=context)))
    await server.start()
    host, port = server.address
    announce({"ready": True, "address": f"{host}:{port}"})
    await told.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
