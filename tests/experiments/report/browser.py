"""Headless Chromium, cut off from every network, as a judge of pages."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.tools import required

__all__ = ["Rendering", "render"]

_DEADLINE_SECONDS = 120
_CONSOLE = re.compile(r":CONSOLE[:(]\d+\)?[^\"]*\"(.*?)\", source: ")


@dataclass(frozen=True)
class Rendering:
    """What the browser made of a page: its document after loading, and what it wrote to its console."""

    document: str
    console: list[str]


def render(page: Path, profile: Path) -> Rendering:
    """Load a page with no name resolving and no proxy; give its final document and console messages."""
    chromium = required("chromium", "google-chrome")
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--log-level=0",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=True,
    )
    return Rendering(done.stdout, _CONSOLE.findall(done.stderr))
