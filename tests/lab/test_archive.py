"""The archive on a booted host, under the unit's hardening: without its library it is refused with what to install."""

import json
from pathlib import Path

import pytest

from tests.lab.bundle import INSTALL, make_bundle
from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import RECEIVER
from tests.lab.scrape import scrape

pytestmark = pytest.mark.lab

PYTHON = "/opt/backbone-latency/current/bin/python"
FOLDER = "/var/lib/latency/archive"
ROWS = "latency_receiver_archive_rows_total"
CONFIG = f"""
[archive]
folder = "{FOLDER}"
[[path]]
name = "direct"
kind = "feed"
url = "ws://127.0.0.1:9443"
streams = ["btcusdt@trade"]
[metrics]
listen = "0.0.0.0:9472"
"""


def test_a_host_keeps_an_archive_in_its_state_directory(installed: tuple[Path, ...], tmp_path: Path) -> None:
    with_extra = make_bundle(tmp_path / "layer", extras=("archive",))
    with Lab() as lab:
        site = lab.site("here", "10.86.1.0/24")
        host = lab.host("archiver", {site: "10.86.1.11"}, layers=(with_extra, *installed))
        host.write("/etc/latency/receiver.toml", CONFIG)
        command = ("/opt/backbone-latency/current/bin/latency-receiver", "--check-config")
        checked = host.run(*command, "--config", "/etc/latency/receiver.toml", check=False)
        assert checked.returncode == 2
        assert "archive: pyarrow not installed; install again with systemd/install --extra archive" in checked.stderr
        host.run(*INSTALL, "--role", "receiver", "--role", "simulator", seconds=600)
        host.systemctl("start", "latency-simulator.service", RECEIVER)
        wait_until("rows are in the archive", lambda: scrape(host, 9472).total(ROWS) > 200)
        archiver = host.shell("pgrep -u latency -f daemons.archiver.main").split()
        assert len(archiver) == 1
        # The archiver, the receiver's child, is of the unit and in its sandbox.
        assert RECEIVER in host.shell(f"cat /proc/{archiver[0]}/cgroup")
        kilobytes = host.shell(f"ps -o rss= -p {archiver[0]},{host.main_pid(RECEIVER)}").split()
        # What the unit allows before it slows down; pages that both share count twice here.
        assert sum(map(int, kilobytes)) < 384 << 10
        host.systemctl("stop", RECEIVER)
        assert host.property(RECEIVER, "Result") == "success"
        files = host.shell(f"find {FOLDER} -name '*.parquet' -printf '%m %u %p\\n'").splitlines()
        assert files
        assert {line.split()[1] for line in files} == {"latency"}
        assert host.shell(f"find {FOLDER}/.open -type f") == ""
        read = "import sys, pyarrow.parquet as pq; print(sum(pq.read_metadata(file).num_rows for file in sys.argv[1:]))"
        assert int(host.run(PYTHON, "-c", read, *(line.split()[2] for line in files)).stdout) > 200
        said = host.events(RECEIVER)
        assert [one for one in said if one["level"] in ("error", "warning") and "archive" in json.dumps(one)] == []
