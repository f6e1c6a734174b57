"""What systemd itself says about every unit, without booting anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(path.name for path in SYSTEMD.glob("latency-*.service"))
UNITS = sorted(path.name for pattern in ("*.service", "*.socket", "*.target") for path in SYSTEMD.glob(pattern))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a directory of their own, with programs that exist where they name them."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in (*(service.removesuffix(".service") for service in SERVICES), "restart-delay"):
        shutil.copy("/bin/true", programs / name)
    place = tmp_path / "units"
    for unit in (*UNITS, *(f"{service}.d" for service in SERVICES)):
        source = SYSTEMD / unit
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _made(place) / unit)
    for file in place.rglob("*.service"):
        text = file.read_text()
        for part in ("bin", "libexec"):
            text = text.replace(f"/opt/backbone-latency/current/{part}/", f"{programs}/")
        file.write_text(text)
    return place


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(units: Path, unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(units / unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "latency" in line]
    assert (done.returncode, said) == (0, [])


def test_a_wrong_unit_would_be_noticed(units: Path) -> None:
    unit = units / "latency-receiver.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSec="))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "WatchDogSec" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_exposed_by_no_more_than_two(units: Path, service: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(units / service)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_shared_hardening(service: str) -> None:
    drop_in = SYSTEMD / f"{service}.d" / "hardening.conf"
    assert drop_in.resolve() == SYSTEMD / "hardening.conf"


def test_both_ends_of_a_link_may_read_the_same_clock() -> None:
    ends = [(SYSTEMD / f"latency-{daemon}.service.d/vmclock.conf").read_text() for daemon in ("forwarder", "receiver")]
    assert ends[0] == ends[1]
    assert "DeviceAllow=/dev/vmclock0 r" in ends[0]


def test_every_drop_in_is_one_that_systemd_reads() -> None:
    drop_ins = sorted(SYSTEMD.glob("*.service.d/*.conf"))
    assert len(drop_ins) >= len(SERVICES)
    for file in drop_ins:
        # A link that was checked out as a file holds a path, which systemd only warns of.
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        assert lines[0].startswith("["), file


def test_provision_and_the_installer_set_up_the_same_time_source() -> None:
    # Whichever comes first stays, so they must not differ.
    assert (SYSTEMD / "overlay/chrony.conf").resolve() == SYSTEMD / "host/chrony-amazon.conf"
