"""What hosts ask of the kernel: names that it knows, and the values on which measurement and links depend."""

import re
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "systemd/host/sysctl.conf"
SETTINGS = dict(re.findall(r"^(\S+) = (.+)$", FILE.read_text(), re.MULTILINE))


def test_every_line_is_a_setting_or_a_comment() -> None:
    said = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert len(said) == len(SETTINGS) > 0


# Those of net.core that are the whole machine's are not to be seen in a network namespace.
@pytest.mark.parametrize("name", [name for name in SETTINGS if name.startswith("net.ipv4.")])
def test_the_kernel_knows_the_name_and_its_value_has_as_many_numbers(name: str) -> None:
    standing = Path("/proc/sys", *name.split(".")).read_text().split()
    assert len(standing) == len(SETTINGS[name].split())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # RFC 4821: full packets that vanish without a word cost a connection its size and not its life.
        ("net.ipv4.tcp_mtu_probing", "1"),
        ("net.ipv4.tcp_slow_start_after_idle", "0"),
        ("net.ipv4.tcp_syncookies", "1"),
        ("net.ipv4.ping_group_range", "0 2147483647"),
    ],
)
def test_what_links_and_probes_depend_on_is_set(name: str, value: str) -> None:
    assert SETTINGS[name] == value


def test_a_socket_holds_half_a_second_of_a_burst() -> None:
    burst_bytes = 20_000 * 800 // 2
    for name in ("net.core.rmem_max", "net.core.wmem_max"):
        assert int(SETTINGS[name]) >= burst_bytes
    for name in ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"):
        least, usual, most = map(int, SETTINGS[name].split())
        assert least < usual < most
        assert most >= burst_bytes
