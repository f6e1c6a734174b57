"""Against ss of iproute2, which reads the same structure with code of its own, the kernel's own header, as a compiler
lays it out, and the kernel's start values."""

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.stream.tcp_info import OUT_OF_ORDER_AT, SINCE_DATA_AT, SIZE, TcpAccount, parse, read, send_queue_bytes
from daemons.tcp_metrics import tcp_families

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _source = server.accept()
    with client, accepted:
        yield client, accepted


def made(rtt_us: int = 0, rttvar_us: int = 250_000, least_us: int = 0xFFFFFFFF, **words: int) -> bytes:
    """A ``struct tcp_info`` of a connection; by default one on which nothing was measured yet."""
    data = bytearray(232)
    for at, value in {
        68: rtt_us,
        72: rttvar_us,
        148: least_us,
        88: 3,
        **{int(k[1:]): v for k, v in words.items()},
    }.items():
        struct.pack_into("=I", data, at, value)
    return bytes(data)


def by_ss(sock: socket.socket) -> tuple[int, dict[str, str]]:
    """What ss says of one end: its send queue, and its fields."""
    # Another connection, to somewhere else, may have the same port of its own.
    ends = f"sport = :{sock.getsockname()[1]} and dport = :{sock.getpeername()[1]}"
    shown = subprocess.run(["ss", "-Htinm", ends], capture_output=True, text=True, check=True, timeout=300).stdout
    _state, _received, queue, *_addresses = shown.split()
    return int(queue), dict(re.findall(r"(\w+):(\S+)", shown))


@pytest.mark.parametrize("sent", [0, 1, 100_000, 3_000_000])
def test_all_figures_are_those_that_ss_shows(pair: Pair, sent: int) -> None:
    client, accepted = pair
    for number in range(20):
        client.sendall(bytes(100))
        assert len(accepted.recv(100, socket.MSG_WAITALL)) == 100, number
    client.setblocking(False)
    left = sent
    while left:
        try:
            left -= client.send(bytes(min(left, 65536)))
        except BlockingIOError:
            break
    for _attempt in range(100):
        before, queue = read(client), send_queue_bytes(client)
        its_queue, fields = by_ss(client)
        if read(client) == before and send_queue_bytes(client) == queue:
            break
    else:
        pytest.fail("the connection never came to rest")
    rtt_ms, rttvar_ms = map(float, fields["rtt"].split("/"))
    assert before.rtt_ns is not None
    assert before.rttvar_ns is not None
    assert (before.rtt_ns / 1e6, before.rttvar_ns / 1e6) == pytest.approx((rtt_ms, rttvar_ms), abs=1e-3)
    assert (before.least_rtt_ns or 0) / 1e6 == pytest.approx(float(fields["minrtt"]), abs=1e-3)
    assert queue == its_queue
    assert before.unsent_bytes == int(fields.get("notsent", 0))
    assert before.reordering == int(fields.get("reordering", 3))
    assert before.retransmitted == int(fields.get("retrans", "0/0").split("/")[1])
    assert before.out_of_order == int(fields.get("rcv_ooopack", 0))


def test_what_was_not_measured_yet_is_none_and_no_time() -> None:
    """The kernel starts from a deviation of 250 ms and a least round trip of 2^32 - 1 µs; neither was measured."""
    info = parse(made())
    assert (info.rtt_ns, info.rttvar_ns, info.least_rtt_ns) == (None, None, None)
    info = parse(made(43_000, 1_500, 42_000))
    assert (info.rtt_ns, info.rttvar_ns, info.least_rtt_ns) == (43_000_000, 1_500_000, 42_000_000)
    assert parse(made(43_000, 1_500)).least_rtt_ns is None


def test_retransmissions_are_those_of_the_connections_life_not_of_the_segment_in_hand() -> None:
    """``tcpi_retransmits`` (byte 2) falls back to 0 with an answer; ``tcpi_retrans`` is what is unanswered now."""
    data = bytearray(made(w100=17, w220=4, w224=9))
    data[2] = 5
    struct.pack_into("=I", data, 36, 6)
    info = parse(bytes(data))
    assert (info.retransmitted, info.reorderings, info.out_of_order) == (17, 4, 9)


WORDS = {
    "tcpi_rtt": "rtt_ns",
    "tcpi_rttvar": "rttvar_ns",
    "tcpi_min_rtt": "least_rtt_ns",
    "tcpi_total_retrans": "retransmitted",
    "tcpi_reordering": "reordering",
    "tcpi_reord_seen": "reorderings",
    "tcpi_rcv_ooopack": "out_of_order",
    "tcpi_notsent_bytes": "unsent_bytes",
}


def test_each_figure_is_read_from_where_the_kernels_header_has_it(tmp_path: Path) -> None:
    """A compiler says where that is; each field in turn is the only one that is not zero."""
    words = ("tcpi_last_data_recv", *WORDS)
    source, program = tmp_path / "offsets.c", tmp_path / "offsets"
    shown = "".join(f'printf("%zu ", offsetof(struct tcp_info, {word}));' for word in words)
    source.write_text(f"#include <linux/tcp.h>\n#include <stddef.h>\n#include <stdio.h>\nint main() {{ {shown} }}\n")
    subprocess.run(["gcc", str(source), "-o", str(program)], check=True, timeout=300)
    offsets = subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=300).stdout
    at = dict(zip(words, map(int, offsets.split()), strict=True))
    assert (at["tcpi_last_data_recv"], at["tcpi_rcv_ooopack"]) == (SINCE_DATA_AT, OUT_OF_ORDER_AT)
    for word, name in WORDS.items():
        data = bytearray(SIZE)
        # Without a round trip nothing else of it was measured.
        struct.pack_into("=I", data, at["tcpi_rtt"], 1)
        struct.pack_into("=I", data, at[word], 0x01020304)
        info = parse(bytes(data))
        assert getattr(info, name) == 0x01020304 * (1000 if name.endswith("_ns") else 1)
        others = {one: getattr(info, one) for one in WORDS.values() if one not in (name, "rtt_ns")}
        assert set(others.values()) == {0}, others


@given(st.binary(max_size=400))
def test_a_structure_of_any_length_is_read_as_far_as_it_goes(data: bytes) -> None:
    """A kernel older or newer than the header has a shorter or longer one."""
    info, whole = parse(data), parse(data.ljust(232, b"\0"))
    for name in ("rtt_ns", "rttvar_ns", "least_rtt_ns", "retransmitted", "reordering"):
        assert getattr(info, name) in (getattr(whole, name), None, 0)
    assert (info.out_of_order is None) == (len(data) < 228)
    assert (info.unsent_bytes is None) == (len(data) < 148)
    assert parse(data + bytes(64)[: 400 - len(data)]).retransmitted == whole.retransmitted


def test_counts_go_on_over_reconnects_and_sockets_that_were_cut(pair: Pair) -> None:
    client, accepted = pair
    account = TcpAccount()
    account.add(client)
    account.add(accepted)
    assert [info.rtt_ns is not None for info in account.now()] == [True, True]
    client.sendall(bytes(1000))
    assert accepted.recv(1000, socket.MSG_WAITALL) == bytes(1000)
    account.discard(client)
    client.close()
    assert len(account.now()) == 1
    accepted.close()
    # The kernel is asked about a descriptor that is none any more: the last answer stands.
    assert len(account.now()) == 1
    assert account.send_queue_bytes() == 0
    account.discard(accepted)
    account.discard(accepted)
    assert account.now() == []
    assert [account.total(name) for name in ("retransmitted", "reorderings", "out_of_order")] == [0, 0, 0]
    account.add(client)
    assert account.now() == []


class Older:
    """A socket of a kernel whose structure is shorter: Linux 4.18 has nothing of what came out of order."""

    def __init__(self, length: int) -> None:
        self.length = length

    def fileno(self) -> int:
        return -1

    def getsockopt(self, _level: int, _option: int, size: int) -> bytes:
        return made(43_000, 1_500, w100=7, w220=8, w224=9)[: min(size, self.length)]


@pytest.mark.parametrize(
    ("length", "told"), [(232, (7, 8, 9)), (224, (7, 8, None)), (192, (7, None, None)), (104, (7, None, None))]
)
def test_what_an_older_kernel_does_not_count_is_absent_and_not_nought(
    length: int, told: tuple[int | None, ...]
) -> None:
    account = TcpAccount()
    sock = cast("socket.socket", Older(length))
    names = ("retransmitted", "reorderings", "out_of_order")

    def shown() -> tuple[float | None, ...]:
        samples = {one.name: one.value for family in tcp_families({"path": account}) for one in family.samples}
        return tuple(
            samples.get(f"latency_tcp_{name}_total")
            for name in ("retransmitted_segments", "reorderings", "out_of_order_segments")
        )

    account.add(sock)
    assert tuple(map(account.total, names)) == told == shown()
    account.discard(sock)
    # And stays so: what the connections before it had is not known either.
    assert tuple(map(account.total, names)) == told == shown()


def test_an_account_of_some_counts_for_the_whole_too(pair: Pair) -> None:
    whole = TcpAccount()
    first, second = TcpAccount(whole), TcpAccount(whole)
    near, far = pair[0], pair[1]
    first.add(near)
    second.add(far)
    assert len(first.now()) == len(second.now()) == 1
    assert len(whole.now()) == 2
    for name in ("retransmitted", "reorderings", "out_of_order"):
        assert whole.total(name) == (first.total(name) or 0) + (second.total(name) or 0)
    first.discard(near)
    assert (first.now(), len(whole.now())) == ([], 1)
