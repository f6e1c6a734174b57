"""What is secret in a configuration is shown nowhere: looked for by value in everything that the probe tells."""

import contextlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_plus

import pytest

from tests.daemons.probe.faulty_probe import FAULTY_PATH
from tests.processes import running, until

pytestmark = pytest.mark.process

MODULE = "tests.daemons.probe.faulty_probe"
SECRETS = {
    "header": "header-1f0c3d5e7a9b",
    "bearer": "bearer-2f0c3d5e7a9b",
    "query": "query%2D3f0c3d5e7a9b",
    "signature": "signature-4f0c3d5e7a9b",
    "egress": "egress-5f0c3d5e7a9b",
    "token": "token-6f0c3d5e7a9b",
    "quoted": 'quoted-"7f0c3d\\\\5e7a9b',
}


@contextlib.contextmanager
def echoing() -> Iterator[int]:
    """Serve what a careless server does: everything that was asked stands in the answer, which is a refusal."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _peer = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(300)
                request: bytes = sock.recv(65536)
                if not request:
                    continue
                target = request.split()[1]
                # The secret among the sixty bytes that are shown of an answer.
                asked = b"\n".join(line for line in request.splitlines() if b"f0c3d" in line) + target
                location = b"location: http://elsewhere.example" + target
                status = b"302 Found" if b"moved" in target else b"401 Unauthorized"
                sock.sendall(
                    b"HTTP/1.1 %b\r\n%b\r\ncontent-length: %d\r\n\r\n%b" % (status, location, len(asked), asked)
                )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(300)


def written(tmp_path: Path, port: int, style: str) -> Path:
    base = f"http://127.0.0.1:{port}"
    common = "interval_seconds = 0.05\ntimeout_seconds = 10.0\n"
    headers = f"headers = {{X-MBX-APIKEY = '{SECRETS['header']}', Authorization = 'Bearer {SECRETS['bearer']}'}}\n"
    file = tmp_path / "probe.toml"
    file.write_text(
        f'[log]\nformat = "{style}"\nlevel = "debug"\n[metrics]\nlisten = "127.0.0.1:0"\n'
        + "".join(
            f'[[target]]\nname = "{name}"\n{common}{more or headers}'
            f'url = "{base}{path}?symbol=A&key={SECRETS["query"]}"\n'
            for name, path, more in (
                ("refused", "/", f"headers = {{X-Quoted = '{SECRETS['quoted']}'}}\n"),
                ("moved", "/moved", ""),
                ("faulty", FAULTY_PATH, ""),
                ("body", FAULTY_PATH, f'{headers}method = "POST"\nbody = "a=1&signature={SECRETS["signature"]}"\n'),
            )
        )
        + f'[egress]\nurl = "{base}/json?token={SECRETS["token"]}"\n{common}'
        + f"headers = {{X-Key = '{SECRETS['egress']}'}}\n"
    )
    return file


def found_in(text: str) -> set[str]:
    """Name the secrets that a text holds."""
    return {
        name
        for name, secret in SECRETS.items()
        for shape in (secret, unquote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1])
        if shape in text
    }


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_secret_is_in_the_log_nor_on_any_page(tmp_path: Path, style: str) -> None:
    names = ("refused", "moved", "faulty", "body", "egress")
    with echoing() as port:
        file = written(tmp_path, port, style)
        with running(MODULE, "--config", str(file)) as program:

            def page(path: str) -> str:
                with urllib.request.urlopen(f"http://{program.ready['metrics']}{path}", timeout=300) as answer:
                    return str(answer.read().decode())

            def failed() -> bool:
                text = page("/metrics")
                wanted = [("status", "egress"), ("status", "refused"), ("redirect", "moved")]
                wanted += [("internal", "faulty"), ("internal", "body")]
                return all(
                    f'latency_probe_failures_total{{target="{name}",reason="{reason}"}} 0.0' not in text
                    for reason, name in wanted
                )

            until(failed, "every target has failed in its way")
            file.write_text(file.read_text() + "[route]\ntarget = 1\n")
            program.send_signal(signal.SIGHUP)
            program.wait_for_log("reload refused")
            file.write_text(file.read_text().replace("[route]\ntarget = 1\n", ""))
            program.send_signal(signal.SIGHUP)
            program.wait_for_log("reloaded")
            pages = [page(path) for path in ("/", "/metrics", "/health")]
            for name, more in itertools.product(names, ("", "&debug=true", "&connection=warm")):
                pages.append(page(f"/probe?target={name}{more}"))
    told = "\n".join((*pages, *program.lines, program.log))
    # The texts that would have held them are there.
    for expected in ("401 instead of 200", "302 to http://elsewhere.example", "a fault of the probe", "symbol=***"):
        assert expected in told
    assert "fault in the probe" in program.log
    assert found_in(told) == set()


def test_no_secret_is_in_the_results(tmp_path: Path) -> None:
    json_file, csv_file = tmp_path / "out.json", tmp_path / "out.csv"
    with echoing() as port:
        command = [sys.executable, "-m", MODULE, "--config", str(written(tmp_path, port, "json")), "--once"]
        command += ["--count", "2", "--json", str(json_file), "--csv", str(csv_file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    told = f"{done.stdout}\n{done.stderr}\n{json_file.read_text()}\n{csv_file.read_text()}"
    assert "401 instead of 200" in told
    assert "symbol=***" in told
    assert found_in(told) == set()


@pytest.mark.parametrize(
    "text",
    [
        'url = "https://user:{secret}@a/"',
        'url = "https://user:{secret}@a:port/"',
        'url = "ftp://a/?key={secret}"',
        'url = "https://[a/?key={secret}"',
        'url = "https://a/"\nheaders = {{X-Key = "{secret}\\n"}}',
        'url = "https://a/"\nheaders = {{X-Key = " {secret}"}}',
        'url = "https://a/"\nheaders = {{X-Key = ["{secret}"]}}',
        'url = "https://a/"\nheaders = {{Host = "{secret}"}}',
        'url = "https://a/"\nbody = 1\nheaders = {{X-Key = "{secret}"}}',
    ],
)
def test_a_refused_file_shows_no_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "probe.toml"
    file.write_text("[[target]]\n" + text.format(secret=SECRETS["header"]))
    command = [sys.executable, "-m", "daemons.probe.main", "--check-config", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert re.match(r"error: (\S+probe\.toml:\d+: )?target\[0\]\.", done.stderr)
    assert found_in(done.stdout + done.stderr) == set()
