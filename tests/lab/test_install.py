"""systemd/install on booted hosts: a stock Debian without pip or ensurepip, and with no way to the internet."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.lab.bundle import INSTALL, PLACE
from tests.lab.deadline import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab, Site
from tests.lab.main_job import RECEIVER
from tests.lab.paths import CHECKOUT
from tests.lab.scrape import scrape

pytestmark = pytest.mark.lab

CURRENT = "/opt/backbone-latency/current"
PROBE = "latency-probe.service"
DAEMONS = ("forwarder", "receiver", "probe", "simulator")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.site("here", "10.82.1.0/24")
        yield lab


@pytest.fixture
def site(lab: Lab) -> Site:
    return lab.sites["here"]


@pytest.fixture(scope="module")
def host(lab: Lab, bundle: Path) -> Host:
    host = lab.host("stock", {lab.sites["here"]: "10.82.1.11"}, layers=(bundle,))
    assert host.run("/usr/bin/python3", "-c", "import ensurepip", check=False).returncode != 0
    host.run(*INSTALL, "--role", "receiver", "--role", "simulator")
    return host


def fingerprint(host: Host, *places: str) -> str:
    where = " ".join(places)
    return host.shell(
        f"find {where} -printf '%p %m %u %y %l %T@\\n' | sort; find {where} -type f | sort | xargs md5sum"
    )


def test_programs_units_user_and_first_configuration_are_in_place(host: Host) -> None:
    assert host.shell(f"{CURRENT}/bin/latency-simulator --version").startswith("latency-simulator")
    for daemon in DAEMONS:
        assert host.property(f"latency-{daemon}.service", "LoadState") == "loaded"
        assert "hardening.conf" in host.property(f"latency-{daemon}.service", "DropInPaths")
    assert host.property("latency-receiver.socket", "LoadState") == "loaded"
    assert host.shell("getent passwd latency").split(":")[5:] == ["/var/lib/latency", "/usr/sbin/nologin\n"]
    assert host.shell("stat -c '%a %U' /etc/latency/link.key") == "600 root\n"
    assert len(host.shell("cat /etc/latency/link.key").strip()) == 64
    assert host.shell("ls /etc/latency").split() == ["link.key", "receiver.toml", "simulator.env"]


def test_the_bill_of_materials_has_all_that_is_installed(bundle: Path, host: Host) -> None:
    wheels = bundle / PLACE / "wheelhouse"
    text = (wheels / "backbone-latency.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    components = [bill["metadata"]["component"], *bill["components"]]
    digests = {
        unquote(one["url"]): one["hashes"][0]["content"] for part in components for one in part["externalReferences"]
    }
    assert digests == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in wheels.glob("*.whl")}
    told = "import importlib.metadata as m; print(*(f'{one.name}=={one.version}' for one in m.distributions()))"
    installed = set(host.run(f"{CURRENT}/bin/python", "-c", told).stdout.split())
    wanted = {f"{part['name']}=={part['version']}" for part in components if part.get("scope") != "excluded"}
    assert {name.lower() for name in installed} == {name.lower() for name in wanted}


def test_nothing_was_started_or_enabled(host: Host) -> None:
    for unit in ("latency-receiver.service", "latency-receiver.socket", "latency-simulator.service"):
        assert host.property(unit, "ActiveState") == "inactive"
        assert host.property(unit, "UnitFileState") == "disabled"


def test_a_second_run_changes_nothing(host: Host) -> None:
    places = ("/opt/backbone-latency", "/usr/local/lib", "/etc/latency", "/etc/passwd", "/etc/group")
    before = fingerprint(host, *places)
    said = host.run(*INSTALL, "--role", "receiver", "--role", "simulator").stdout
    assert fingerprint(host, *places) == before
    assert "write" not in said
    assert "build" not in said


def test_what_an_administrator_wrote_stays(host: Host) -> None:
    host.shell("echo '# mine' > /etc/latency/receiver.toml")
    host.write("/etc/systemd/system/latency-receiver.service.d/mine.conf", "[Service]\nNice=-3\n")
    host.run(*INSTALL, "--role", "receiver")
    assert host.shell("cat /etc/latency/receiver.toml") == "# mine\n"
    assert host.property("latency-receiver.service", "Nice") == "-3"


def test_the_receiver_starts_with_what_one_command_has_installed(lab: Lab, site: Site, bundle: Path) -> None:
    host = lab.host("fresh", {site: "10.82.1.17"}, layers=(bundle,))
    host.run(*INSTALL, "--role", "receiver")
    host.systemctl("start", RECEIVER)
    assert host.systemctl("is-active", RECEIVER).strip() == "active"
    assert scrape(host, 9472).total("latency_receiver_link_connected", path="backbone") == 0


def check_by_hand(host: Host) -> None:
    """As docs/operations.md has it: a key that systemd hands over is looked at in two of the three ways."""
    check = f"{CURRENT}/bin/latency-receiver --config /etc/latency/receiver.toml --check-config"
    said = host.shell(check)
    assert said.startswith("the configuration is good\n")
    assert "the key itself was not looked at" in said
    key = "-p LoadCredential=link.key:/etc/latency/link.key"
    for command in (
        f"CREDENTIALS_DIRECTORY=/etc/latency {check}",
        f"systemd-run --pipe --wait --quiet -p User=latency {key} {check}",
    ):
        assert host.shell(command) == "the configuration is good\n"


def test_the_examples_are_accepted_and_every_daemon_starts_with_its_own(lab: Lab, site: Site, bundle: Path) -> None:
    host = lab.host("everything", {site: "10.82.1.18"}, layers=(bundle,))
    host.run(*INSTALL, *(word for daemon in DAEMONS for word in ("--role", daemon)))
    for daemon in DAEMONS:
        unit = f"latency-{daemon}.service"
        # Each start runs --check-config first, and ends when the daemon has said that it is ready.
        host.systemctl("start", unit)
        assert host.systemctl("is-active", unit).strip() == "active"
        host.run("systemd-analyze", "verify", "--man=no", unit)
        exposure = host.run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit).stdout
        assert "Overall exposure level" in exposure
    check_by_hand(host)
    # `latency.target` stands for all of them.
    host.systemctl("stop", "latency.target")
    for unit in (*(f"latency-{daemon}.service" for daemon in DAEMONS), "latency-receiver.socket"):
        wait_until(f"{unit} stopped", lambda unit=unit: host.property(unit, "ActiveState") == "inactive")  # type: ignore[misc]


def test_chrony_takes_the_time_source_and_what_provision_wrote_first_stays(
    lab: Lab, site: Site, installed: tuple[Path, ...]
) -> None:
    host = lab.host("timed", {site: "10.82.1.19"}, layers=installed)
    host.run(*INSTALL, "--time-source", "amazon")
    sources = [line for line in host.shell("chronyd -p").splitlines() if line.startswith("server")]
    assert sources == ["server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4"]
    hardware_clock = (CHECKOUT / "systemd/overlay/chrony-ptp.conf").read_text()
    host.write("/etc/chrony/conf.d/latency.conf", hardware_clock)
    host.run(*INSTALL, "--time-source", "amazon")
    assert host.shell("cat /etc/chrony/conf.d/latency.conf") == hardware_clock


def test_a_dry_run_tells_and_does_nothing(lab: Lab, site: Site, bundle: Path) -> None:
    host = lab.host("dry", {site: "10.82.1.12"}, layers=(bundle,))
    before = fingerprint(host, "/opt", "/usr/local", "/etc")
    said = host.run(*INSTALL, "--role", "receiver", "--dry-run").stdout
    assert fingerprint(host, "/opt", "/usr/local", "/etc") == before
    assert "would write /usr/local/lib/systemd/system/latency-receiver.service" in said
    assert "would write /etc/latency/link.key" in said


def test_a_wheel_that_was_tampered_with_is_refused(lab: Lab, site: Site, bundle: Path) -> None:
    host = lab.host("tampered", {site: "10.82.1.13"}, layers=(bundle,))
    host.shell(f"for wheel in /{PLACE}/wheelhouse/h11-*.whl; do echo >> $wheel; done")
    done = host.run(*INSTALL, check=False)
    assert done.returncode == 1
    assert "h11" in done.stderr
    assert "not what SHA256SUMS says" in done.stderr
    assert host.run("ls", CURRENT, check=False).returncode != 0


def test_an_upgrade_is_one_switch_and_a_rollback_another(
    lab: Lab, site: Site, installed: tuple[Path, ...], next_bundle: Path
) -> None:
    host = lab.host("upgraded", {site: "10.82.1.14"}, layers=(next_bundle, *installed))
    first = host.shell(f"readlink {CURRENT}").strip()
    host.run(*INSTALL)
    second = host.shell(f"readlink {CURRENT}").strip()
    assert second.startswith("99.0-")
    assert host.shell(f"{CURRENT}/bin/latency-simulator --version").strip().endswith("99.0")
    assert host.shell(f"readlink {CURRENT}/../previous").strip() == first
    host.run(INSTALL[0], "--rollback")
    assert host.shell(f"readlink {CURRENT}").strip() == first
    assert "99.0" not in host.shell(f"{CURRENT}/bin/latency-simulator --version")
    host.run(INSTALL[0], "--rollback")
    assert host.shell(f"readlink {CURRENT}").strip() == second


def test_units_that_an_administrator_has_masked_are_left_alone_and_hinder_nothing(
    lab: Lab, site: Site, installed: tuple[Path, ...], next_bundle: Path
) -> None:
    host = lab.host("masked", {site: "10.82.1.20"}, layers=(next_bundle, *installed))
    host.run(*INSTALL, "--role", "receiver", "--role", "probe")
    host.systemctl("enable", "--now", RECEIVER, PROBE)
    # One that ran and is enabled, one that does not run, and one that another unit wants.
    masked = (PROBE, "latency-simulator.service", "latency-receiver.socket")
    host.systemctl("mask", "--now", PROBE, "latency-simulator.service")
    host.systemctl("mask", "latency-receiver.socket")
    for command in ((INSTALL[0], "--rollback"), INSTALL):
        before = host.main_pid(RECEIVER)
        said = host.run(*command, "--restart").stdout
        assert "latency-probe.service is masked: left alone" in said
        assert "latency-simulator.service is masked: left alone" in said
        assert host.main_pid(RECEIVER) not in (0, before)
        assert [host.property(unit, "LoadState") for unit in masked] == ["masked"] * 3
        assert host.property(PROBE, "ActiveState") == "inactive"
    host.run(INSTALL[0], "--uninstall")
    ours = host.shell("cd /etc/systemd/system; find -L . -name '*latency*' | sort; find . -name '*latency*' | sort")
    assert ours.split() == [f"./{unit}" for unit in sorted(masked)] * 2
    assert "latency" not in host.systemctl("--failed", "--plain", "--no-legend")


def test_a_tree_becomes_a_host_that_works(lab: Lab, site: Site, bundle: Path) -> None:
    """The tree is filled by another host, as an image builder would."""
    host = lab.host("builder", {site: "10.82.1.15"}, layers=(bundle,))
    parts = "bin lib lib64 usr/bin usr/lib usr/lib64 usr/sbin etc"
    host.shell(f"mkdir /image && cd / && tar c --one-file-system {parts} | tar x -C /image")
    host.run(*INSTALL, "--root", "/image", "--role", "simulator")
    assert host.run("ls", CURRENT, check=False).returncode != 0
    said = host.shell("chroot /image /opt/backbone-latency/current/bin/latency-simulator --version")
    assert said.startswith("latency-simulator")
    assert host.run("grep", "-rlI", "/image", "/image/opt/backbone-latency/current/bin", check=False).stdout == ""
    assert "latency:" in host.shell("cat /image/etc/passwd")


def test_uninstalling_leaves_configuration_and_results_and_purging_nothing(
    lab: Lab, site: Site, installed: tuple[Path, ...]
) -> None:
    host = lab.host("leaving", {site: "10.82.1.16"}, layers=installed)
    host.run(*INSTALL, "--role", "simulator", "--time-source", "amazon")
    host.systemctl("enable", "--now", "latency-simulator.service")
    assert "latency-receiver.1" in host.shell("ls -L /usr/local/share/man/man1")
    host.shell("mkdir -p /var/lib/latency && echo 1 > /var/lib/latency/results.json")
    host.run(INSTALL[0], "--uninstall")
    assert host.property("latency-simulator.service", "LoadState") == "not-found"
    assert "latency" not in host.shell("ls -R /usr/local/share")
    assert host.shell("ls -A /opt /usr/local/lib/systemd/system | grep -c latency || true").strip() == "0"
    assert host.shell("ls /etc/latency /var/lib/latency").split() == [
        *("/etc/latency:", "simulator.env", "/var/lib/latency:", "results.json")
    ]
    host.run(INSTALL[0], "--uninstall", "--purge")
    ours = "/etc/latency /var/lib/latency /etc/chrony/conf.d/latency.conf"
    assert host.shell(f"ls -d {ours} 2>/dev/null || true") == ""
    assert host.run("getent", "passwd", "latency", check=False).returncode == 2
