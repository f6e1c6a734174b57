"""The Debian package on booted hosts: installed, started, upgraded, rolled back, removed and purged."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.bundle import INSTALL, PLACE
from tests.lab.host import Host
from tests.lab.lab import Lab, Site
from tests.lab.main_job import RECEIVER
from tests.lab.scrape import scrape

pytestmark = pytest.mark.lab

APT = ("apt-get", "--quiet", "--yes", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
COMMANDS = ("forwarder", "probe", "receiver", "simulator")
NOT_OURS = r"^/(dev|proc|run|srv|sys|tmp|var/cache|var/lib/apt|var/lib/dpkg|var/log|var/tmp)/|^/etc/[a-z]*-$"
"""Where a host, apt and dpkg keep their own books."""


@pytest.fixture(scope="module")
def packages(bundle: Path, next_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with the checkout's package, and a later one with other configuration files."""
    layer = tmp_path_factory.mktemp("packages") / "layer"
    for made in (bundle, next_bundle):
        sources = made.with_name(f"{made.name}-sources")
        if made is next_bundle:
            sources = shutil.copytree(sources, layer.with_name("later"))
            for role in ("probe", "receiver"):
                with (sources / f"systemd/examples/{role}.toml").open("a") as example:
                    example.write("# later\n")
        build(sources, made / PLACE / "wheelhouse", layer / "srv")
    return layer


def build(sources: Path, wheelhouse: Path, output: Path) -> None:
    command: list[str | Path] = [sources / "debian/build-package", "--wheelhouse", wheelhouse, "--output", output]
    subprocess.run(command, check=True, timeout=900)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.site("here", "10.83.1.0/24")
        yield lab


@pytest.fixture
def site(lab: Lab) -> Site:
    return lab.sites["here"]


def package(host: Host, *, later: bool = False) -> str:
    """Name the package's file on a host."""
    names = host.shell("ls /srv/backbone-latency_*.deb").split()
    (name,) = [one for one in names if ("_99.0-1_" in one) is later]
    return name


def everything(host: Host) -> set[str]:
    """List the files of a host, but for what the system itself writes."""
    found = host.shell(f"find / -xdev -printf '%p\\n' | grep -vE '{NOT_OURS}'").splitlines()
    return {*found, *host.shell("cut -d: -f1,7 /etc/passwd; cut -d: -f1 /etc/group").splitlines()}


def version(host: Host) -> str:
    (labels,) = [its for name, its, _ in scrape(host, 9472).samples if name == "latency_build_info"]
    return labels["version"]


def test_lintian_has_neither_errors_nor_warnings(packages: Path) -> None:
    for file in sorted((packages / "srv").glob("*.deb")):
        command: list[str | Path] = ["lintian", "--allow-root", "--fail-on", "error,warning", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_the_same_sources_give_the_same_bytes(bundle: Path, packages: Path, tmp_path: Path) -> None:
    sources = bundle.with_name(f"{bundle.name}-sources")
    build(sources, bundle / PLACE / "wheelhouse", tmp_path)
    (again,) = tmp_path.glob("*.deb")
    assert again.read_bytes() == (packages / "srv" / again.name).read_bytes()


def test_a_host_from_installation_to_purge(lab: Lab, site: Site, packages: Path) -> None:
    host = lab.host("packaged", {site: "10.83.1.11"}, layers=(packages,))
    before = everything(host)
    host.run(*APT, "install", package(host))
    for role in COMMANDS:
        unit = f"latency-{role}.service"
        assert host.property(unit, "FragmentPath") == f"/lib/systemd/system/{unit}"
        assert host.property(unit, "ActiveState") == "inactive"
        assert host.property(unit, "UnitFileState") == "disabled"
        host.run("systemd-analyze", "verify", "--man=no", unit)
        host.run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit)
    assert host.shell("stat -c '%a %U %s' /etc/latency/link.key") == "600 root 65\n"
    for place in ("/usr/share/man/man1/latency-receiver.1.gz", "/usr/share/bash-completion/completions/latency-probe"):
        host.run("test", "-s", place)

    host.systemctl("start", RECEIVER)
    first = version(host)
    assert host.shell("latency-receiver --version").split()[-1] == first
    assert "/usr/lib/backbone-latency/bin/python" in host.shell(f"cat /proc/{host.main_pid(RECEIVER)}/cmdline")
    key = host.shell("cat /etc/latency/link.key")
    host.shell("echo '# mine' >> /etc/latency/receiver.toml")

    listening_since = host.property("latency-receiver.socket", "ActiveEnterTimestamp")
    host.run(*APT, "install", package(host, later=True))
    assert version(host) == "99.0"
    assert host.property("latency-receiver.socket", "ActiveEnterTimestamp") == listening_since
    assert host.restarts(RECEIVER) == 0
    assert host.property("latency-simulator.service", "ActiveState") == "inactive"
    assert host.shell("tail -n 1 /etc/latency/receiver.toml") == "# mine\n"
    assert host.shell("tail -n 1 /etc/latency/probe.toml") == "# later\n"
    host.run(*APT, "--allow-downgrades", "install", package(host))
    assert version(host) == first
    assert host.shell("tail -n 1 /etc/latency/receiver.toml") == "# mine\n"
    assert host.shell("cat /etc/latency/link.key") == key

    host.shell("echo 1 > /var/lib/latency/results.json; chown latency /var/lib/latency/results.json")
    host.run(*APT, "remove", "backbone-latency")
    assert host.property(RECEIVER, "ActiveState") == "inactive"
    assert {"link.key", "receiver.toml"} <= set(host.shell("ls /etc/latency").split())
    host.run(*APT, "purge", "backbone-latency")
    data = {"/var/lib/latency", "/var/lib/latency/results.json"}
    assert everything(host) - before == {*data, "latency", "latency:/usr/sbin/nologin"}
    assert before - everything(host) == set()

    # Without data the user goes too; and a host that was purged can be given the package again.
    host.shell("rm /var/lib/latency/results.json")
    host.run(*APT, "install", package(host))
    assert host.shell("cat /etc/latency/link.key") != key
    host.run(*APT, "purge", "backbone-latency")
    assert everything(host) == before


@pytest.fixture(scope="module")
def daemons(lab: Lab, packages: Path) -> Host:
    """A host on which the package is, and nothing of it was started."""
    host = lab.host("daemons", {lab.sites["here"]: "10.83.1.12"}, layers=(packages,))
    host.run(*APT, "install", package(host))
    return host


def test_every_daemon_starts_with_the_packages_own_configuration(daemons: Host) -> None:
    for role in COMMANDS:
        daemons.systemctl("start", f"latency-{role}.service")
        assert daemons.systemctl("is-active", f"latency-{role}.service").strip() == "active"


def test_units_that_an_administrator_has_masked_are_left_alone_and_hinder_nothing(daemons: Host) -> None:
    # One that ran and is enabled, one that goes on running, and one that another unit wants.
    masked = {"latency-probe.service", "latency-receiver.socket", "latency-simulator.service"}
    daemons.systemctl("enable", "--now", RECEIVER, "latency-probe.service")
    daemons.systemctl("mask", "--now", "latency-probe.service")
    daemons.systemctl("mask", *masked)
    before = daemons.main_pid(RECEIVER)
    daemons.run(*APT, "install", package(daemons, later=True))
    assert version(daemons) == "99.0"
    assert daemons.main_pid(RECEIVER) not in (0, before)
    assert {unit for unit in masked if daemons.property(unit, "LoadState") == "masked"} == masked
    assert daemons.property("latency-probe.service", "ActiveState") == "inactive"
    daemons.run(*APT, "purge", "backbone-latency")
    left = daemons.shell("cd /etc/systemd/system; find . -name '*latency*'; find -L . -name '*latency*'")
    assert sorted(left.split()) == sorted(f"./{unit}" for unit in (*masked, *masked))
    assert "latency" not in daemons.systemctl("--failed", "--plain", "--no-legend")


def test_two_ways_of_installation_keep_out_of_each_others_way(
    lab: Lab, site: Site, packages: Path, installed: tuple[Path, ...]
) -> None:
    host = lab.host("both", {site: "10.83.1.13"}, layers=(packages, *installed))
    done = host.run(*APT, "install", package(host), check=False)
    assert done.returncode != 0
    assert "systemd/install --uninstall" in done.stdout + done.stderr
    host.run(INSTALL[0], "--uninstall")
    host.run(*APT, "install", package(host))
    done = host.run(*INSTALL, check=False)
    assert done.returncode == 1
    assert "apt-get remove backbone-latency" in done.stderr
    host.systemctl("start", RECEIVER)
