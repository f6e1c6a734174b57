"""The real Prometheus scrapes all daemons over TLS, with a certificate and a password, by the shipped examples."""

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.daemons.service.web.certificates import issue, web_file
from tests.processes import running, until
from tests.programs import address_of, forwarder, free_port, receiver, simulator
from tests.scenarios.test_prometheus import ask, ready
from tests.tools import required

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def documented() -> str:
    """Return the web configuration of docs/security.md."""
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/security.md").read_text(), re.DOTALL)
    return str(example)


def shipped() -> str:
    """Return the shipped configuration, with what it has for locked pages in force."""
    text = (ROOT / "prometheus/prometheus.yml").read_text()
    head, comment, rest = text.partition("    # scheme: https\n")
    assert comment
    block, job, tail = (comment + rest).partition("  - job_name: prometheus")
    return head + re.sub(r"(?m)^    # ", "    ", block) + job + tail


def certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issue(authority, folder, "metrics", "127.0.0.1")
    issue(authority, folder, "prometheus", "prometheus.test")
    (folder / "password").write_text("a long password\n")


def found(server: str, query: str) -> bool:
    return bool(ask(server, "query", query=query, time=str(time.time()))["result"])


def test_prometheus_scrapes_locked_pages_by_the_shipped_examples(tmp_path: Path) -> None:
    program = required("prometheus")
    latency = tmp_path / "latency"
    latency.mkdir()
    certificates(latency)
    web = web_file(latency, documented())
    (tmp_path / "targets").mkdir()
    (tmp_path / "rules").symlink_to(ROOT / "prometheus/rules")
    config = tmp_path / "locked.toml"
    config.write_text(f'[metrics]\nlisten = "127.0.0.1:0"\nweb_config_file = "{web}"\n')
    probe = tmp_path / "probe.toml"
    with simulator("--rate", "500") as exchange:
        probe.write_text(f'{config.read_text()}[[target]]\nname = "api"\nurl = "http://{exchange.ready["near"]}/"\n')
        feed = ("--config", str(config), "--feed-url", f"ws://{exchange.ready['near']}")
        with (
            receiver(*feed, "--mode", "baseline") as sink,
            forwarder(*feed, "--destination", f"127.0.0.1:{free_port()}") as source,
            running("daemons.probe.main", "--config", str(probe)) as prober,
        ):
            addresses = [address_of(sink, "metrics"), address_of(source, "metrics"), prober.ready["metrics"]]
            targets = [{"targets": [address], "labels": {"role": "x"}} for address in addresses]
            (tmp_path / "targets/local.json").write_text(json.dumps(targets))
            # Sooner than in the file, whose way of scraping is what is tested.
            text = shipped().replace("5s\n", "1s\n").replace("scrape_timeout: 4s", "scrape_timeout: 1s")
            (tmp_path / "prometheus.yml").write_text(text)
            server = f"127.0.0.1:{free_port()}"
            with (tmp_path / "log").open("w") as log:
                process = subprocess.Popen(
                    [
                        *(program, f"--config.file={tmp_path / 'prometheus.yml'}"),
                        *(f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={server}"),
                    ],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            try:
                until(lambda: ready(server), "Prometheus is ready")
                query = 'sum(sum_over_time(up{job="latency"}[5m])) >= 9 and min(up{job="latency"}) == 1'
                until(lambda: found(server, query), query, every_seconds=0.2)
                # Renewed while it scrapes: by another authority, which both sides are given.
                certificates(latency)
                before = time.time()
                again = f'count(timestamp(up{{job="latency"}}) > {before + 1} and up{{job="latency"}} == 1) == 3'
                until(lambda: found(server, again), again, every_seconds=0.2)
                (refusals,) = ask(server, "query", query='sum(latency_page_refusals_total{reason="credentials"})')[
                    "result"
                ]
                assert refusals["value"][1] == "0"
            finally:
                process.terminate()
                process.wait(300)


def test_a_locked_page_is_refused_with_the_remedy_at_the_start_and_by_a_check(tmp_path: Path) -> None:
    (tmp_path / "receiver.toml").write_text(
        f'[metrics]\nlisten = "127.0.0.1:0"\nweb_config_file = "{tmp_path / "web.yml"}"\n'
    )
    web_file(tmp_path, "client_ca_file: x\n")
    for module, arguments in (
        ("receiver", ["--mode", "baseline", "--feed-url", "ws://127.0.0.1:1/ws/a@trade"]),
        ("forwarder", ["--feed-url", "ws://127.0.0.1:1/ws/a@trade", "--destination", "127.0.0.1:1"]),
        ("probe", ["--target", "http://127.0.0.1:1/"]),
    ):
        for check in ([], ["--check-config"]):
            command = ["-m", f"daemons.{module}.main", "--config", str(tmp_path / "receiver.toml"), *arguments, *check]
            done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
            assert done.returncode == 2
            assert "client_ca_file: unknown key; it belongs into [tls_server_config]" in done.stdout + done.stderr


def test_a_certificate_that_has_expired_is_served_and_told(tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))
    (tmp_path / "metrics.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    (tmp_path / "metrics.key").write_bytes(leaf.private_key_pem.bytes())
    (tmp_path / "metrics.key").chmod(0o600)
    web = web_file(tmp_path, "tls_server_config:\n  cert_file: metrics.pem\n  key_file: metrics.key\n")
    config = tmp_path / "receiver.toml"
    config.write_text(f'[metrics]\nlisten = "127.0.0.1:0"\nweb_config_file = "{web}"\n')
    flags = ("--config", str(config), "--mode", "baseline", "--feed-url", "ws://127.0.0.1:1/ws/a@trade")
    command = [sys.executable, "-m", "daemons.receiver.main", *flags, "--check-config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = f"{tmp_path / 'metrics.pem'}: certificate has expired; renew it, or set the clock"
    assert (done.returncode, done.stdout) == (0, f"the configuration is good\n{told}\n")
    with receiver(*flags) as program:
        assert json.loads(program.wait_for_log("are kept out"))["why"] == told
