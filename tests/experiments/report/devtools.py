"""Chromium as a reader has it: a width, a colour scheme, a picture of the page, and what scripts measure in it.

By the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), over the one socket that it needs.
"""

import base64
import contextlib
import itertools
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.processes import until
from tests.tools import required

__all__ = ["Tab", "opened"]


class RefusedError(Exception):
    """The browser refused a call."""


class Tab:
    """A page that is open."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method; events in between are not ours."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        for _message in range(10_000):
            answer = json.loads(self._socket.recv(timeout=300))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RefusedError(f"{method}: {answer['error']}")
                return answer["result"]
        raise AssertionError(method)

    def evaluate(self, script: str) -> Any:
        """Run a script in the page; return its value."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def look(self, width: int, *, dark: bool = False) -> None:
        """See the page at a width, in CSS pixels, and in a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, file: Path) -> None:
        """Save the whole page as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def opened(page: Path, profile: Path) -> Iterator[Tab]:
    """Open a file without any way to a network."""
    chromium = required("chromium", "google-chrome")
    command = [
        chromium,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", "--remote-debugging-port=0"),
        page.as_uri(),
    ]
    told = profile / "DevToolsActivePort"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: told.exists() and told.read_text().count("\n") > 0, "chromium listens")
            port = told.read_text().split()[0]
            tabs: list[dict[str, Any]] = []

            def found() -> bool:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=300) as answer:
                    tabs[:] = [tab for tab in json.load(answer) if tab["url"] == page.as_uri()]
                return bool(tabs)

            until(found, "the page is open")
            with connect(tabs[0]["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                tab = Tab(socket)
                # A tab has the page's address before it has the page.
                loaded = f"{page.as_uri()} complete"
                until(lambda: _state(tab) == loaded, "the page is there")
                yield tab
        finally:
            process.terminate()
            try:
                process.wait(300)
            except subprocess.TimeoutExpired:
                process.kill()


def _state(tab: Tab) -> str:
    """Tell what a tab shows and how far it is; nothing while the tab goes from one page to the next."""
    try:
        return str(tab.evaluate("location.href + ' ' + document.readyState"))
    except RefusedError:
        return ""
