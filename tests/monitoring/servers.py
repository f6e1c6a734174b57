"""Real monitoring servers for tests: Prometheus, Alertmanager, VictoriaMetrics, and the webhook that they call."""

import http.server
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.monitoring.expressions import ROOT, loaded, write
from tests.processes import until
from tests.programs import free_port
from tests.tools import required

__all__ = ["Webhook", "alertmanager", "ask", "configured", "prometheus", "served", "webhook"]


def ask(address: str, path: str, **parameters: str) -> Any:
    """Ask an HTTP API for JSON."""
    query = urllib.parse.urlencode(parameters).encode()
    with urllib.request.urlopen(f"http://{address}{path}", query or None, timeout=300) as answer:
        return json.load(answer)


@contextmanager
def served(address: str, health: str, log: Path, *command: str, folder: Path) -> Iterator[str]:
    """Run a server until the block ends; enter the block when its health page answers."""
    required(command[0])
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as process:
        try:
            until(lambda: process.poll() is not None or _answers(address + health), f"{command[0]} serves")
            assert process.poll() is None, log.read_text()
            yield address
        finally:
            process.terminate()
            try:
                process.wait(300)
            except subprocess.TimeoutExpired:
                process.kill()


def configured(folder: Path, targets: dict[str, str], alertmanager_address: str, **limits: float) -> Path:
    """Copy ``prometheus/`` with quick intervals, these targets by role, this Alertmanager, and other limits."""
    copy = folder / "prometheus"
    shutil.copytree(ROOT / "prometheus", copy)
    config = loaded(copy / "prometheus.yml")
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager_address]
    config["scrape_configs"] = [each for each in config["scrape_configs"] if each["job_name"] == "latency"]
    write(copy / "prometheus.yml", config)
    labels = {"deployment": "local", "site": "local", "region": "local", "host": "localhost"}
    groups = [{"targets": [address], "labels": {**labels, "role": role}} for role, address in targets.items()]
    (copy / "targets" / "localhost.json").write_text(json.dumps(groups))
    for file in (copy / "rules").glob("*.yml"):
        content = loaded(file)
        for group in content["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                name = rule.get("record", "").removeprefix("latency:threshold:")
                rule["expr"] = f"vector({limits[name]})" if name in limits else rule["expr"]
        write(file, content)
    return copy


@contextmanager
def prometheus(config: Path, *flags: str) -> Iterator[str]:
    """Run Prometheus in a folder made by :func:`configured`; yields its address."""
    address = f"127.0.0.1:{free_port()}"
    command = (
        "prometheus",
        f"--config.file={config / 'prometheus.yml'}",
        f"--web.listen-address={address}",
        *(flags or (f"--storage.tsdb.path={config.parent / 'tsdb'}",)),
    )
    with served(address, "/-/ready", config.parent / "prometheus.log", *command, folder=config):
        yield address


@contextmanager
def alertmanager(folder: Path, address: str, webhook_address: str) -> Iterator[str]:
    """Run Alertmanager with the shipped configuration, its secrets pointing at a webhook."""
    copy = folder / "alertmanager"
    (copy / "secrets").mkdir(parents=True)
    shutil.copy(ROOT / "prometheus" / "alertmanager.yml", copy)
    for name in ("page", "ticket"):
        (copy / "secrets" / f"{name}-url").write_text(f"http://{webhook_address}/{name}\n")
    command = (
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        f"--storage.path={folder / 'alertmanager-data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    with served(address, "/-/ready", folder / "alertmanager.log", *command, folder=copy):
        yield address


class Webhook:
    """What a chat system was told.

    Attributes:
        lines: for each alert of each message the receiver (page or ticket) and the text, in order of arrival.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def told(self, receiver: str, begin: str) -> bool:
        """Whether the receiver got a line that begins so."""
        return any(name == receiver and line.startswith(begin) for name, line in self.lines)


@contextmanager
def webhook() -> Iterator[tuple[str, Webhook]]:
    """Listen for messages in the form of Slack's incoming webhooks; yields address and messages.

    To GET it answers like a service that tells its callers their address.
    """
    got = Webhook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for attachment in body["attachments"]:
                got.lines += [(self.path.strip("/"), line) for line in attachment["text"].splitlines() if line.strip()]
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ip": "203.0.113.10", "city": "Tokyo", "country": "JP"}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class calls it so
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", got
        finally:
            server.shutdown()
            thread.join()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{url}", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
