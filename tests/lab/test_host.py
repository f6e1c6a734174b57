"""The lab's own promises about hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.host import Host
from tests.lab.inventory import Inventory, started
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.site("here", "10.80.1.0/24")
        yield lab


@pytest.fixture(scope="module")
def host(lab: Lab) -> Host:
    return lab.host("one", {lab.sites["here"]: "10.80.1.11"})


def test_systemd_is_the_first_process_and_content(host: Host) -> None:
    assert host.run("cat", "/proc/1/comm").stdout == "systemd\n"
    assert host.systemctl("is-system-running").strip() == "running"


def test_a_failing_command_is_told_with_its_words(host: Host) -> None:
    with pytest.raises(AssertionError, match="no-such-file"):
        host.run("ls", "/no-such-file")


def test_the_clock_can_be_read_and_not_set(host: Host) -> None:
    before = host.run("date", "+%s").stdout
    assert host.run("date", "--set", "2001-01-01", check=False).returncode != 0
    assert 0 <= int(host.run("date", "+%s").stdout) - int(before) < 60
    read = "import ctypes; b = ctypes.create_string_buffer(512); print(ctypes.CDLL(None).adjtimex(b))"
    assert int(host.run("/usr/bin/python3", "-c", read).stdout) >= 0


def test_the_journal_is_read_as_entries(host: Host) -> None:
    host.run("systemd-cat", "--identifier=lab-test", "echo", "one sentence")
    unit = "systemd-journald.service"
    assert any("Journal started" in str(entry["MESSAGE"]) for entry in host.journal(unit))


def test_hosts_of_one_site_reach_each_other_and_nothing_else(lab: Lab, host: Host) -> None:
    other = lab.host("two", {lab.sites["here"]: "10.80.1.12"})
    other.run("ping", "-c", "1", "-W", "10", host.name)
    assert other.run("ping", "-c", "1", "-W", "1", "192.0.2.1", check=False).returncode != 0
    assert "eth0" in other.shell("ip -br link")
    assert other.shell("ip -br link").count("\n") == 2


def test_what_is_written_survives_a_reboot_and_a_power_cut(lab: Lab) -> None:
    host = lab.host("three", {lab.sites["here"]: "10.80.1.13"})
    host.shell("echo kept > /var/lib/kept && sync")
    host.reboot()
    assert host.run("cat", "/var/lib/kept").stdout == "kept\n"
    host.crash()
    assert host.run("cat", "/var/lib/kept").stdout == "kept\n"
    boots = {entry["_BOOT_ID"] for entry in host.journal("systemd-journald.service")}
    assert len(boots) == 3


def test_a_full_disk_is_full_and_freed(lab: Lab) -> None:
    host = lab.host("four", {lab.sites["here"]: "10.80.1.14"})
    host.mount_small_disk("/var/lib/small", 1)
    host.fill("/var/lib/small")
    refused = host.run("/bin/cp", "/etc/hosts", "/var/lib/small/more", check=False)
    assert "No space left" in refused.stderr
    host.free("/var/lib/small")
    host.run("/bin/cp", "/etc/hosts", "/var/lib/small/more")


def test_units_of_one_host_are_not_those_of_another(lab: Lab) -> None:
    twins = [lab.host(f"twin{n}", {lab.sites["here"]: f"10.80.1.2{n}"}) for n in (1, 2)]
    for twin in twins:
        twin.write(
            "/etc/systemd/system/same.service",
            "[Service]\nType=exec\nExecStart=/usr/bin/sleep infinity\nRestart=always\nRestartSec=0\n",
        )
        twin.systemctl("daemon-reload")
        twin.systemctl("start", "same.service")
    twins[0].kill("same.service", "KILL")
    twins[0].wait_for("same.service")
    twins[0].systemctl("stop", "same.service")
    assert twins[1].property("same.service", "ActiveState") == "active"
    assert twins[1].restarts("same.service") == 0


def test_nothing_is_left_behind() -> None:
    with Lab() as lab:
        site = lab.site("gone", "10.80.9.0/24")
        host = lab.host("gone", {site: "10.80.9.11"})
        root, leader, namespace = host.machine.root, host.machine.leader, site.router.path
        directory = root.parents[1]
        assert namespace.exists()
    assert not namespace.exists()
    assert not directory.exists()
    assert not started(leader)
    assert str(root) not in Path("/proc/mounts").read_text()


def test_a_lab_whose_run_was_killed_is_cleaned_from_its_inventory_alone() -> None:
    with Lab() as lab:
        site = lab.site("left", "10.80.8.0/24")
        host = lab.host("left", {site: "10.80.8.11"})
        leader, directory = host.machine.leader, host.machine.root.parents[1]
        Inventory(directory).clean()
        assert not started(leader)
        assert not directory.exists()
        assert not site.router.path.exists()
