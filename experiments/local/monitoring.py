"""Real Prometheus and Alertmanager (and Grafana, if it is here) on the running demo.

The configuration is that of the repository, copied so that the targets of this run and the address for messages can be
put beside it. Messages of Alertmanager come to this program, which prints them.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from rich.console import Console

from daemons.errors import LatencyError
from daemons.service.console.screen import sentence
from daemons.service.shipped import shipped
from experiments.live.targets import ScrapeTarget
from experiments.local.defaults import ALERTMANAGER, GRAFANA, PROMETHEUS
from experiments.local.demo import Demo
from experiments.local.simulated import Injected

__all__ = ["monitor"]

START_SECONDS = 60.0
POLL_SECONDS = 0.1
STOP_SECONDS = 60.0
MESSAGE_BYTES = 1 << 20
READY_PATH = "/-/ready"
"""Of Prometheus and Alertmanager alike (their "management API")."""
"""Where they listen by default; the first two are those of ``prometheus.yml``."""


class MonitoringError(LatencyError):
    """A server is not installed, or does not serve."""


async def monitor(
    console: Console,
    targets: Sequence[ScrapeTarget],
    prometheus: str,
    alertmanager: str,
    duration_seconds: float | None,
) -> None:
    """Run the servers on these targets, or on a demo of its own, until the time is over or a signal comes.

    Args:
        console: where addresses and Alertmanager's messages are shown.
        targets: daemons that run; none means that the demo is run.
        prometheus: where it listens.
        alertmanager: where it listens.
        duration_seconds: None means until a signal comes.

    Raises:
        MonitoringError: a server is not installed, or does not serve.
    """
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backbone-latency-monitoring-")))
        deployment = "local" if targets else "demo"
        if not targets:
            demo = Demo(Injected(), folder)
            stack.push_async_callback(demo.abort)
            await demo.start()
            targets = (
                ScrapeTarget("receiver", demo.receiver_metrics),
                ScrapeTarget("forwarder", demo.forwarder_metrics),
                ScrapeTarget("probe", demo.probe_metrics),
            )
        messages = await asyncio.start_server(lambda *streams: _message(console, *streams), "127.0.0.1", 0)
        stack.push_async_callback(_close, messages)
        _configure(folder, deployment, targets, {PROMETHEUS: prometheus, ALERTMANAGER: alertmanager}, messages)
        await stack.enter_async_context(
            _server(
                folder / "prometheus",
                alertmanager,
                READY_PATH,
                "prometheus-alertmanager",
                *("--config.file=alertmanager.yml", f"--storage.path={folder / 'alertmanager-data'}"),
                *(f"--web.listen-address={alertmanager}", "--cluster.listen-address="),
            )
        )
        await stack.enter_async_context(
            _server(
                folder / "prometheus",
                prometheus,
                READY_PATH,
                "prometheus",
                *("--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'prometheus-data'}"),
                f"--web.listen-address={prometheus}",
            )
        )
        for role, address in targets:
            sentence(console, f"{role:<13} http://{address}/metrics")
        sentence(console, f"Prometheus    http://{prometheus}/alerts\nAlertmanager  http://{alertmanager}")
        if home := _grafana_home():
            await stack.enter_async_context(_grafana(folder, home, prometheus))
            sentence(console, f"Grafana       http://{GRAFANA}/d/latency-overview")
        else:
            sentence(
                console,
                "Grafana       not installed; docs/monitoring.md says how to point one at this Prometheus",
                indent=14,
            )
        sentence(console, "Messages of Alertmanager follow; Ctrl-C ends it all.")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), duration_seconds)


def _configure(
    folder: Path,
    deployment: str,
    targets: Sequence[ScrapeTarget],
    addresses: Mapping[str, str],
    messages: asyncio.Server,
) -> None:
    copy = folder / "prometheus"
    shutil.copytree(shipped("prometheus"), copy)
    config = (copy / "prometheus.yml").read_text(encoding="utf-8")
    for usual, address in addresses.items():
        config = config.replace(f'"{usual}"', f'"{address}"')
    (copy / "prometheus.yml").write_text(config, encoding="utf-8")
    port = messages.sockets[0].getsockname()[1]
    labels = {"deployment": deployment, "site": "local", "region": "local", "host": socket.gethostname()}
    groups = [{"targets": [address], "labels": {**labels, "role": role}} for role, address in targets]
    (copy / "targets" / "localhost.json").write_text(json.dumps(groups, indent=2), encoding="utf-8")
    (copy / "secrets").mkdir()
    for name in ("page", "ticket"):
        (copy / "secrets" / f"{name}-url").write_text(f"http://127.0.0.1:{port}/{name}\n", encoding="utf-8")


async def _message(console: Console, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take one message in the form of Slack's incoming webhooks, and print it."""
    with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = json.loads(await reader.readexactly(min(length, MESSAGE_BYTES)))
        for attachment in body.get("attachments", []):
            sentence(console, attachment["title"], style="bold")
            sentence(console, attachment["text"].strip(), indent=0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def _server(
    folder: Path, address: str, health: str, *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Run a server in a folder; go on when it says at the path ``health`` that it is ready.

    Raises:
        MonitoringError: it is not installed, its port is taken, or it ends or does not listen.
    """
    name = command[0]
    if not shutil.which(name):
        raise MonitoringError(f"{name} is not installed; apt-get install prometheus prometheus-alertmanager")
    if await _listening(address):
        raise MonitoringError(f"{address} is in use; stop what listens there, {name} needs it")
    log = folder.parent / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C on the terminal is for us alone: we end the servers in order.
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(START_SECONDS):
            url = f"http://{address}{health}"
            while process.returncode is None and not await asyncio.to_thread(_ready, url):  # noqa: ASYNC110 no event
                await asyncio.sleep(POLL_SECONDS)
        if process.returncode is not None:
            raise MonitoringError(f"{name} ended with code {process.returncode}: {log.read_text()[-2000:]}")
        yield
    except TimeoutError as error:
        late = f"{name} is not ready on {address} after {START_SECONDS:g} s"
        raise MonitoringError(f"{late}: {log.read_text()[-2000:]}") from error
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _listening(address: str) -> bool:
    host, _colon, port = address.rpartition(":")
    try:
        _reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


def _ready(url: str) -> bool:
    try:
        # Not by a proxy of the environment's (http_proxy): the address is this machine's own.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=START_SECONDS) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def _grafana_home() -> Path | None:
    """Return Grafana's own folder, if Grafana is installed as its packages install it."""
    home = Path(os.environ.get("GF_PATHS_HOME", "/usr/share/grafana"))
    return home if shutil.which("grafana") and home.is_dir() else None


def _grafana(folder: Path, home: Path, prometheus: str) -> contextlib.AbstractAsyncContextManager[None]:
    host, _colon, port = GRAFANA.rpartition(":")
    environment = {
        "GF_SERVER_HTTP_ADDR": host,
        "GF_SERVER_HTTP_PORT": port,
        "GF_PATHS_DATA": str(folder / "grafana-data"),
        "GF_PATHS_LOGS": str(folder / "grafana-logs"),
        "GF_PATHS_PROVISIONING": str(shipped("grafana") / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "PROMETHEUS_URL": f"http://{prometheus}",
        "LATENCY_DASHBOARDS": str(shipped("grafana") / "dashboards"),
    }
    return _server(home, GRAFANA, "/api/health", "grafana", "server", "--homepath", str(home), environment=environment)
