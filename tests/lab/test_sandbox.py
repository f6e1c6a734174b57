"""What a daemon's unit keeps it from, shown by trying: a program that wants out runs with the unit's own settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.deadline import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab

DAEMONS = ("receiver", "forwarder", "probe", "simulator")
LINKED = ("receiver", "forwarder")
"""The daemons that have the link's key."""

UNITS = "/usr/local/lib/systemd/system"
ESCAPE = Path(__file__).with_name("escape.py")
CONFIGS = {
    "receiver": '[[path]]\nname = "backbone"\nkind = "link"\nlisten = "127.0.0.1:8080"\n',
    "forwarder": '[feed]\nurl = "ws://127.0.0.1:9443/ws/btcusdt@trade"\n[[destination]]\naddress = "127.0.0.1:8080"\n',
}
NET_RAW = 1 << 13
"""CAP_NET_RAW, as in capabilities(7)."""


@pytest.fixture(scope="module")
def host(installed: tuple[Path, ...]) -> Iterator[Host]:
    with Lab() as lab:
        host = lab.host("sandbox", {lab.site("here", "10.83.1.0/24"): "10.83.1.11"}, layers=installed)
        host.write("/etc/latency/link.key", "0123456789abcdef0123456789abcdef\n", 0o600)
        host.write("/etc/latency/receiver.toml", "")
        host.write("/usr/local/lib/latency-escape/escape.py", ESCAPE.read_text())
        yield host


@pytest.fixture(scope="module")
def tried(host: Host) -> dict[str, dict[str, Any]]:
    """What came of every attempt, for each daemon's unit."""
    return {daemon: try_to_escape(host, daemon) for daemon in DAEMONS}


def try_to_escape(host: Host, daemon: str) -> dict[str, Any]:
    """Run the escape program in place of the daemon, under a copy of its unit and with its drop-ins."""
    text = host.path(f"{UNITS}/latency-{daemon}.service").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("Exec", "Type=", "Restart", "WatchdogSec="))]
    service = kept.index("[Service]") + 1
    kept[service:service] = [
        "Type=oneshot",
        "ExecStart=/usr/bin/python3 /usr/local/lib/latency-escape/escape.py",
        f"StandardOutput=truncate:/run/escape-{daemon}.json",
    ]
    # An instance of the daemon's name, so that %p means what it means in the daemon's own unit.
    unit = f"latency-{daemon}@escape.service"
    host.write(f"/etc/systemd/system/{unit}", "\n".join(kept) + "\n")
    for drop_in in host.path(f"{UNITS}/latency-{daemon}.service.d").iterdir():
        host.write(f"/etc/systemd/system/{unit}.d/{drop_in.name}", drop_in.read_text())
    host.systemctl("daemon-reload")
    # As if all daemons ran here: their directories are the same user's.
    directories = " ".join(f"/run/latency-{other}" for other in DAEMONS)
    host.shell(f"install -d -o latency -g latency -m 0700 /var/lib/latency {directories}")
    host.systemctl("start", unit)
    result: dict[str, Any] = json.loads(host.run("cat", f"/run/escape-{daemon}.json").stdout)
    return result


@pytest.mark.parametrize("daemon", DAEMONS)
def test_only_its_own_directory_can_be_written(tried: dict[str, dict[str, Any]], daemon: str) -> None:
    writes = {what: how for what, how in tried[daemon].items() if what.startswith("write ")}
    assert writes.pop("write own directory") == "done"
    # Eleven places of the host and the other daemons' runtime directories; for the simulator, which keeps nothing, the
    # others' state as well.
    assert len(writes) == 11 + len(DAEMONS) - 1 + (daemon == "simulator")
    assert set(writes.values()) <= {"EROFS", "EACCES"}
    runs = [how for what, how in tried[daemon].items() if what.startswith("run own program")]
    assert len(runs) == (4 if daemon == "simulator" else 5), (
        "what the simulator has of its own is its runtime directory"
    )
    assert set(runs) <= {"EROFS", "EACCES"}
    assert tried[daemon]["leave a set-user-id program"] == "EPERM"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_key_comes_as_a_credential_alone(tried: dict[str, dict[str, Any]], daemon: str) -> None:
    assert tried[daemon]["read own configuration"] == "done"
    assert tried[daemon]["read the key's file"] == "EACCES"
    assert tried[daemon]["key by credential"] == ("done" if daemon in LINKED else "none")


@pytest.mark.parametrize("daemon", DAEMONS)
def test_nobody_else_is_seen(tried: dict[str, dict[str, Any]], daemon: str) -> None:
    assert tried[daemon]["processes seen"] == []
    assert tried[daemon]["devices seen"] == []
    assert tried[daemon]["signal the first process"] == "EPERM"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_it_speaks_ip_alone(tried: dict[str, dict[str, Any]], daemon: str) -> None:
    result = tried[daemon]
    assert (result["tcp socket"], result["udp socket"]) == ("done", "done")
    for other in ("netlink socket", "packet socket", "vsock socket"):
        assert result[other] == "EAFNOSUPPORT"
    assert result["raw socket"] == ("done" if daemon == "probe" else "EPERM")


@pytest.mark.parametrize("daemon", DAEMONS)
def test_it_gains_no_privilege(tried: dict[str, dict[str, Any]], daemon: str) -> None:
    result = tried[daemon]
    assert result["no new privileges"] is True
    assert int(result["capabilities"], 16) == (NET_RAW if daemon == "probe" else 0)
    for what in ("become root", "change root", "new user namespace", "new mount namespace", "mount"):
        assert result[what] in ("EPERM", "EINVAL"), what
    assert result["writable code"] == "EACCES" or result["writable code"] == "EPERM"
    assert result["real-time scheduling"] == "EPERM"
    assert result["kernel settings"] != "done"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_clock_can_be_read_and_not_set(tried: dict[str, dict[str, Any]], daemon: str) -> None:
    assert tried[daemon]["read the clock's state"] == "done"
    assert tried[daemon]["set the clock"] == "EPERM"


def test_the_program_that_tries_would_succeed_without_the_sandbox(host: Host) -> None:
    host.shell("mkdir -p /run/free")
    said = host.run(
        *("systemd-run", "--quiet", "--wait", "--pipe", "--setenv=STATE_DIRECTORY=/run/free"),
        *("/usr/bin/python3", "/usr/local/lib/latency-escape/escape.py"),
    ).stdout
    free = json.loads(said)
    for what in ("write /etc", "write /root", "run own program in /run/free", "netlink socket", "become root", "mount"):
        assert free[what] == "done", what
    assert free["processes seen"] != []


@pytest.mark.parametrize("daemon", LINKED)
def test_the_installed_unit_reads_the_clocks_device_which_is_roots_alone(host: Host, daemon: str) -> None:
    """A device of zeros stands in for it: that it is not understood is said by who has read it."""
    unit = f"latency-{daemon}.service"
    for name, text in CONFIGS.items():
        host.write(f"/etc/latency/{name}.toml", text)
    host.run("mknod", "--mode=600", "/dev/vmclock0", "c", "1", "5")
    try:
        host.systemctl("start", unit)

        def told() -> list[str]:
            lines = host.events(unit)
            return [line["why"] for line in lines if line["event"] == "disruptions of the clock are not noticed"]

        wait_until("the device was looked at", lambda: bool(told()))
        assert [why.split(":")[0] for why in told()] == ["/dev/vmclock0 is not understood"]
        assert host.systemctl("is-active", unit).strip() == "active"
    finally:
        host.systemctl("stop", unit)
        host.run("rm", "/dev/vmclock0")
