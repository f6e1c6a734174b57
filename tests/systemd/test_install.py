"""What of a wheelhouse is used: what SHA256SUMS lists, and nothing that lies beside it."""

import hashlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

INSTALL = Path(__file__).parents[2] / "systemd" / "install"
PIP = "pip-26.3-py3-none-any.whl"


@pytest.fixture(scope="module")
def install() -> ModuleType:
    """The script as a module."""
    loader = importlib.machinery.SourceFileLoader("install", str(INSTALL))
    spec = importlib.util.spec_from_loader("install", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    made = tmp_path / "wheelhouse"
    made.mkdir()
    for name in (PIP, "requirements.txt", "backbone_latency-1.0-py3-none-any.whl"):
        (made / name).write_text(name)
    listed(made)
    return made


def listed(wheelhouse: Path, *names: str) -> None:
    """Write SHA256SUMS of these files, or of all."""
    chosen = names or tuple(sorted(file.name for file in wheelhouse.iterdir()))
    lines = [f"{hashlib.sha256((wheelhouse / name).read_bytes()).hexdigest()}  {name}\n" for name in chosen]
    (wheelhouse / "SHA256SUMS").write_text("".join(lines))


def private(tmp_path: Path) -> Path:
    place = tmp_path / "private"
    place.mkdir()
    return place


def test_what_is_not_listed_is_not_taken_not_even_a_pip(install: ModuleType, wheelhouse: Path, tmp_path: Path) -> None:
    sums = install.checked(wheelhouse)
    # Sorted before the real one, as glob may find it.
    (wheelhouse / "pip-0.0-py3-none-any.whl").write_text("evil")
    (wheelhouse / "h11-99-py3-none-any.whl").write_text("evil")
    place = private(tmp_path)
    assert install.taken(wheelhouse, sums, place) == place / PIP
    assert sorted(file.name for file in place.iterdir()) == sorted(sums)
    assert install.checked(wheelhouse) == sums


def test_what_is_changed_after_it_was_checked_is_refused(install: ModuleType, wheelhouse: Path, tmp_path: Path) -> None:
    sums = install.checked(wheelhouse)
    (wheelhouse / PIP).write_text("evil")
    with pytest.raises(install.RefusedError, match="was changed while it was read"):
        install.taken(wheelhouse, sums, private(tmp_path))


@pytest.mark.parametrize("missing", [PIP, "requirements.txt"])
def test_a_list_without_what_is_needed_is_refused(
    install: ModuleType, wheelhouse: Path, tmp_path: Path, missing: str
) -> None:
    listed(wheelhouse, *(name for name in install.checked(wheelhouse) if name != missing))
    with pytest.raises(install.RefusedError, match="lists no pip or no requirements"):
        install.taken(wheelhouse, install.checked(wheelhouse), private(tmp_path))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", ""])
def test_names_that_lead_elsewhere_are_refused(install: ModuleType, wheelhouse: Path, name: str) -> None:
    with (wheelhouse / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(install.RefusedError, match=r"is no file of it|missing, or not what"):
        install.checked(wheelhouse)


def released(root: Path, install: ModuleType, name: str, *pages: str) -> None:
    """Make a release with these manuals the current one."""
    release = root / install.PREFIX / name
    (release / "share/man/man1").mkdir(parents=True)
    for page in pages:
        (release / "share/man/man1" / page).write_text(name)
    current = root / install.PREFIX / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(name)


def test_manuals_are_linked_and_those_of_others_stay(install: ModuleType, tmp_path: Path) -> None:
    host = install.Host(tmp_path, dry=False)
    shelf = tmp_path / "usr/local/share/man/man1"
    released(tmp_path, install, "1.0-a", "latency-receiver.1", "latency-old.1", "provision.1")
    shelf.mkdir(parents=True)
    (shelf / "provision.1").write_text("of somebody else")
    install.publish(host)
    assert (shelf / "latency-receiver.1").readlink() == Path(
        "/opt/backbone-latency/current/share/man/man1/latency-receiver.1"
    )
    assert (shelf / "latency-old.1").is_symlink()
    released(tmp_path, install, "2.0-b", "latency-receiver.1", "provision.1")
    install.publish(host)
    assert {path.name for path in shelf.iterdir()} == {"latency-receiver.1", "provision.1"}
    install.publish(host)
    assert (shelf / "provision.1").read_text() == "of somebody else"
    assert [str(link) for link in install.shared(host)] == ["usr/local/share/man/man1/latency-receiver.1"]


def previous_on(root: Path, install: ModuleType, python: str) -> None:
    """Make a previous release that runs on this interpreter."""
    release = root / install.PREFIX / "1.0-a"
    (release / "bin").mkdir(parents=True)
    (release / "bin/python").symlink_to(python)
    (release / install.COMPLETE).touch()
    (root / install.PREFIX / "previous").symlink_to("1.0-a")


def test_there_is_no_way_back_to_a_release_whose_python_is_gone(install: ModuleType, tmp_path: Path) -> None:
    """As after an upgrade of the distribution, which has another Python."""
    previous_on(tmp_path, install, "/usr/bin/python3.8")
    host = install.Host(tmp_path, dry=False)
    with pytest.raises(
        install.RefusedError, match=r"release 1\.0-a runs on /usr/bin/python3\.8, which this host has no"
    ):
        install.rollback(host)
    assert not (tmp_path / install.PREFIX / "current").exists()
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3.8").touch()
    assert install.inside(tmp_path, tmp_path / install.PREFIX / "1.0-a/bin/python")


SYSTEMCTL = """#!/bin/sh
case "$1 $3 $4" in
"show --property=ActiveState latency-probe.service") echo active;;
"show --property=ActiveState"*) echo inactive;;
*) echo "$@" >> "$ASKED"
   case "$*" in *latency-probe*) echo "Failed: Unit latency-probe.service is masked." >&2; exit 1;; esac;;
esac
"""
"""The probe is masked, and runs (systemctl(1), `show` and `mask`)."""
ANALYZE = """#!/bin/sh
shift 3
for unit; do
    case $unit in
    latency-probe.service|latency-receiver.socket) echo "Unit $unit is masked."; code=1;;
    latency-receiver.service) echo "Unit latency-receiver.socket is masked."; code=1;;
    esac
done >&2
cat "$(dirname "$0")/said" >&2
exit ${code:-0}
"""
"""As systemd-analyze(1) of systemd 252 speaks of masked units, and of those that want one."""


def masked_on(root: Path, *units: str) -> None:
    for unit in units:
        (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")


def test_masked_units_are_told_of_and_the_others_restarted(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    masked_on(tmp_path, "latency-probe.service", "latency-simulator.service")
    host = install.Host(tmp_path, dry=False)
    host.live = True
    install.restart(host)
    assert (tmp_path / "asked").read_text() == "try-restart latency-forwarder.service latency-receiver.service\n"
    told = capsys.readouterr()
    assert told.err == (
        "warning: latency-probe.service is masked while it runs, and was not restarted: systemd's watchdog, which "
        "hears no masked unit, ends it within seconds; "
        "systemctl unmask latency-probe.service, or systemctl stop latency-probe.service\n"
    )
    assert told.out == "latency-simulator.service is masked: left alone\n"


def test_masked_units_are_not_verified_and_the_others_are(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "systemd-analyze").write_text(ANALYZE)
    (tmp_path / "systemd-analyze").chmod(0o755)
    (tmp_path / "usr/lib/systemd/system").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/system/sysinit.target").touch()
    for file, target in install.unit_files(install.HERE):
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / target).write_bytes(file.read_bytes())
    masked_on(tmp_path, "latency-probe.service", "latency-receiver.socket")
    host = install.Host(tmp_path, dry=False)
    (tmp_path / "said").touch()
    install.verify(host)
    (tmp_path / "said").write_text("latency-forwarder.service:3: Unknown key name 'Wnts', ignoring.\n")
    with pytest.raises(install.RefusedError, match="Wnts") as refused:
        install.verify(host)
    assert "is masked" not in str(refused.value)


def test_uninstalling_takes_away_the_links_that_disabling_leaves_of_masked_units(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    for file, target in install.unit_files(install.HERE):
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / target).write_bytes(file.read_bytes())
    masked_on(tmp_path, "latency-probe.service")
    system = tmp_path / install.ADMINISTRATOR
    for wanting in ("latency.target.wants", "multi-user.target.wants"):
        (system / wanting).mkdir()
        (system / wanting / "latency-probe.service").symlink_to(f"/{install.UNITS}/latency-probe.service")
    (system / "multi-user.target.wants/latency-other.service").symlink_to("/etc/systemd/system/latency-other.service")
    install.uninstall(install.Host(tmp_path, dry=False), purge=False)
    left = {str(path.relative_to(system)) for path in system.rglob("*")}
    assert left == {"latency-probe.service", "multi-user.target.wants", "multi-user.target.wants/latency-other.service"}


@pytest.mark.parametrize("python", ["/home/me/.pyenv/versions/3.12.1/bin/python3.12", "/opt/python/bin/python3.13"])
def test_a_python_that_the_units_do_not_let_daemons_run_is_refused(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    """Such as pyenv's in a home: units have none (systemd.exec(5), ProtectHome=, NoExecPaths=)."""
    monkeypatch.setattr(sys, "executable", python)
    host = install.Host(tmp_path, dry=False)
    with pytest.raises(install.RefusedError, match=f"{python}: daemons may run nothing.*: /usr/bin/python3 /"):
        install.build(host, tmp_path / "wheelhouse", {}, "1.0-a")
    assert not (tmp_path / install.PREFIX).exists()
    for good in ("/usr/bin/python3.11", "/usr/local/bin/python3.13"):
        assert install.runnable(Path(good)) == Path(good)
