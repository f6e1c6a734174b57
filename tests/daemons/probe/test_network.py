"""Between network namespaces: source address, overlay round trips, the route as mtr sees it, and a slow connect."""

import fcntl
import heapq
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemons.probe.server import Authority, serving
from tests.namespaces import entered, inside, ip
from tests.processes import Program, until

pytestmark = pytest.mark.process

NEAR, MIDDLE, FAR = (f"{name}{os.getpid()}" for name in ("near", "mid", "far"))


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """Near, with two addresses, a router, and far, which knows the way back."""
    made = []
    try:
        for name in (NEAR, MIDDLE, FAR):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        for one, other, network in ((NEAR, MIDDLE, "10.97.1"), (MIDDLE, FAR, "10.97.2")):
            ip("link", "add", "right", "netns", one, "type", "veth", "peer", "name", "left", "netns", other)
            ip("-n", one, "addr", "add", f"{network}.1/24", "dev", "right")
            ip("-n", other, "addr", "add", f"{network}.2/24", "dev", "left")
            ip("-n", one, "link", "set", "right", "up")
            ip("-n", other, "link", "set", "left", "up")
        ip("-n", NEAR, "addr", "add", "10.97.1.77/24", "dev", "right")
        ip("-n", NEAR, "route", "add", "default", "via", "10.97.1.2")
        ip("-n", FAR, "route", "add", "default", "via", "10.97.2.1")
        subprocess.run(inside(MIDDLE, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"), check=True)
        yield
    finally:
        for name in made:
            ip("netns", "del", name)


@contextmanager
def probing(config: str, tmp_path: Path) -> Iterator[Program]:
    """Run the daemon in the near namespace."""
    file = tmp_path / "probe.toml"
    file.write_text('[metrics]\nlisten = "127.0.0.1:0"\n' + config)
    command = inside(NEAR, sys.executable, "-m", "daemons.probe.main", "--config", str(file))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        program = Program(process)
        try:
            program.ready = program.wait_for_json("ready")
            yield program
            assert program.terminate() == 0
        except BaseException as error:
            error.add_note(program.log)
            raise
        finally:
            if program.exit_code is None:
                program.kill()


def page(program: Program) -> dict[str, float]:
    """The metrics page, asked for from inside the namespace: sample with its labels to value."""
    with entered(NEAR):
        host, _colon, port = program.ready["metrics"].rpartition(":")
        sock = socket.create_connection((host, int(port)), timeout=300)
    with sock:
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        received = b""
        while piece := sock.recv(65536):
            received += piece
            if b"\r\n0\r\n\r\n" in received[-16:]:
                break
    lines = [line for line in received.decode().splitlines() if line.startswith("latency_probe") and " " in line]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def once(url: str, authority: Authority, file: Path, *arguments: str) -> dict[str, Any]:
    command = inside(
        NEAR, sys.executable, "-m", "daemons.probe.main", "--once", "--target", url, "--ca-file", str(authority.file),
        "--json", str(file), *arguments,
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(file.read_text())["targets"].values()
    assert isinstance(found, dict)
    return found


@pytest.mark.usefixtures("hosts")
def test_the_source_address_and_interface_are_honoured(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    with ExitStack() as stack:
        with entered(FAR):
            far = stack.enter_context(serving(authority.context("10.97.2.2"), host="10.97.2.2"))
        url = f"https://10.97.2.2:{far.port}/"
        fast = ("--count", "2", "--interval", "0.05")
        assert once(url, authority, file, *fast)["source"].startswith("10.97.1.1:")
        assert set(far.seen.peers) == {"10.97.1.1"}
        far.seen.peers.clear()
        found = once(url, authority, file, *fast, "--source-address", "10.97.1.77", "--interface", "right")
        assert found["source"].startswith("10.97.1.77:")
        assert set(far.seen.peers) == {"10.97.1.77"}


@pytest.mark.usefixtures("hosts")
def test_the_overlay_peer_is_pinged_without_privilege_and_loss_is_seen(tmp_path: Path) -> None:
    config = '[overlay]\npeer = "10.97.2.2"\ninterval_seconds = 0.05\ntimeout_seconds = 0.2\n'
    peer = '{peer="10.97.2.2"}'
    with probing(config, tmp_path) as program:
        # Nobody may ping before the group is allowed to.
        until(lambda: page(program)[f"latency_probe_overlay_missed_slots_total{peer}"] > 0, "slots without a socket")
        assert page(program)[f"latency_probe_overlay_socket_open{peer}"] == 0
        assert "ping_group_range" in program.wait_for_log("cannot be pinged")
        allow = "echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range"
        subprocess.run(inside(NEAR, "sh", "-c", allow), check=True)
        until(lambda: page(program)[f"latency_probe_overlay_received_total{peer}"] >= 20, "twenty answers")
        seen = page(program)
        count = seen[f"latency_probe_overlay_rtt_seconds_count{peer}"]
        assert count >= 20
        assert seen[f"latency_probe_overlay_rtt_seconds_sum{peer}"] / count < 0.05
        assert seen[f"latency_probe_overlay_jitter_seconds{peer}"] < 0.05
        lost = seen[f"latency_probe_overlay_lost_total{peer}"]
        ip("-n", FAR, "link", "set", "left", "down")
        until(lambda: page(program)[f"latency_probe_overlay_lost_total{peer}"] >= lost + 10, "losses")
        ip("-n", FAR, "link", "set", "left", "up")
        ip("-n", FAR, "route", "replace", "default", "via", "10.97.2.1")
        received = page(program)[f"latency_probe_overlay_received_total{peer}"]
        until(lambda: page(program)[f"latency_probe_overlay_received_total{peer}"] > received, "answers again")
        seen = page(program)
        outstanding = seen[f"latency_probe_overlay_sent_total{peer}"] - sum(
            seen[f"latency_probe_overlay_{what}_total{peer}"] for what in ("received", "lost")
        )
        assert 0 <= outstanding <= 5


@pytest.mark.usefixtures("hosts")
def test_the_route_is_traced_by_mtr(tmp_path: Path) -> None:
    config = '[route]\ntarget = "10.97.2.2"\ninterval_seconds = 4\ncycles = 2\n'
    with probing(config, tmp_path) as program:
        until(lambda: page(program)['latency_probe_route_traces_total{target="10.97.2.2"}'] >= 1, "a trace")
        seen = page(program)
    assert seen['latency_probe_route_hops{target="10.97.2.2"}'] == 2
    for hop, address in (("1", "10.97.1.2"), ("2", "10.97.2.2")):
        assert seen[f'latency_probe_route_hop_info{{address="{address}",hop="{hop}",target="10.97.2.2"}}'] == 1
        labels = f'{{hop="{hop}",target="10.97.2.2"}}'
        assert seen[f"latency_probe_route_hop_loss_ratio{labels}"] == 0
        # mtr waits ten seconds for an answer; on a machine that stands still it may come as late as that.
        assert 0 < seen[f"latency_probe_route_hop_rtt_seconds{labels}"] < 10
    assert sum(count for name, count in seen.items() if name.startswith("latency_probe_route_failures")) == 0


TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
ONE_WAY = 0.010
BATCHES = 6


def tun(namespace: str, address: str, peer: str) -> int:
    with entered(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", b"slow0", IFF_TUN_NO_PI))
    ip("-n", namespace, "addr", "add", address, "peer", peer, "dev", "slow0")
    ip("-n", namespace, "link", "set", "slow0", "up")
    return descriptor


@contextmanager
def slow_link() -> Iterator[None]:
    """Join near and far by a link on which every packet takes :data:`ONE_WAY` seconds."""
    ends = (tun(NEAR, "10.97.3.1", "10.97.3.2"), tun(FAR, "10.97.3.2", "10.97.3.1"))
    stop = threading.Event()

    def carry() -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not stop.is_set():
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for end in select.select(ends, (), (), pause)[0]:
                packet = os.read(end, 2048)
                number += 1
                heapq.heappush(waiting, (time.monotonic() + ONE_WAY, number, ends[1 - ends.index(end)], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _due, _number, end, packet = heapq.heappop(waiting)
                os.write(end, packet)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(300)
        for end in ends:
            os.close(end)


@pytest.mark.usefixtures("hosts")
def test_a_slow_path_shows_in_every_phase_that_crosses_it(authority: Authority, tmp_path: Path) -> None:
    with slow_link(), ExitStack() as stack:
        with entered(FAR):
            far = stack.enter_context(serving(authority.context("10.97.3.2"), host="10.97.3.2"))
        url = f"https://10.97.3.2:{far.port}/"
        round_trip_ms = 2 * ONE_WAY * 1000
        least = dict.fromkeys(("connect", "tls", "processing", "transfer"), float("inf"))
        for _batch in range(BATCHES):
            found = once(url, authority, tmp_path / "out.json", "--count", "10", "--interval", "0.2")["connections"]
            for phase, before in least.items():
                kind = "warm" if phase == "processing" else "cold"
                least[phase] = min(before, found[kind]["phases"][phase]["min_ms"])
            # Link and server run on a machine that others use too: a request may be late, but none is early.
            if max(least["connect"], least["processing"], least["transfer"] + round_trip_ms) <= round_trip_ms + 1.0:
                break
    assert least["connect"] == pytest.approx(round_trip_ms, abs=1.0)
    assert least["processing"] == pytest.approx(round_trip_ms, abs=1.0)
    assert least["tls"] >= round_trip_ms - 0.1
    assert least["transfer"] < 1.0
