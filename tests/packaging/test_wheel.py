"""The wheel is the product: what it holds, and its commands in an empty environment and an empty folder."""

import hashlib
import io
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import boto3
import pytest
from packaging.metadata import Metadata

from tests.programs import free_port
from tests.provisioning.emulator import serve

pytestmark = pytest.mark.process

CHECKOUT = Path(__file__).parents[2]
COMMANDS = (
    *("experiment", "latency-forwarder", "latency-probe", "latency-receiver", "latency-simulator", "provision"),
    *("frankfurt-receiver", "tokyo-forwarder"),
)
SHIPPED = ("constraints.txt", "grafana/dashboards", "grafana/provisioning", "prometheus", "schemas", "systemd")
OURS_ALONE = ("prometheus/tests/", "grafana/dashboards/.lint")
"""Beginnings of names of what tests and linters need beside what is shipped."""


def exported(folder: Path) -> Path:
    """Copy what git tracks, as a clone would have it; a build leaves nothing in the checkout."""
    archive = folder.with_suffix(".tar")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True).stdout
    with tarfile.open(archive, "w") as tar:
        for name in filter(None, listed.decode().split("\0")):
            if (CHECKOUT / name).exists():
                tar.add(CHECKOUT / name, name)
    with tarfile.open(archive) as tar:
        # Our own; Debian 12's Python has no filters yet.
        tar.extractall(folder)
    return folder


def built(source: Path, output: Path) -> Path:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "946684800"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", output, source], check=True, capture_output=True, env=environment)
    (wheel,) = output.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return built(exported(folder / "source"), folder / "dist")


class Installed:
    """The wheel in an environment of its own, used from an empty folder; libraries are those of the test's."""

    def __init__(self, wheel: Path, folder: Path, *, without: Sequence[str] = ()) -> None:
        self.folder = folder / "empty"
        self.folder.mkdir()
        environment = folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        self.programs = environment / "bin"
        pip = [sys.executable, "-m", "pip", "--python", str(self.programs / "python")]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", wheel], check=True, capture_output=True)
        own = sysconfig.get_path("purelib", vars={"base": str(environment)})
        hide = f"import sys; sys.modules.update(dict.fromkeys({list(without)!r}))\n" if without else ""
        (Path(own) / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n{hide}")

    def run(self, *command: str, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        words = [str(self.programs / command[0]), *command[1:]]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def test_it_holds_every_file_that_is_shipped(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name.partition("/data/share/backbone-latency/")[2] for name in archive.namelist()} - {""}
    tracked = subprocess.run(["git", "ls-files", *SHIPPED], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    wanted = {name for name in tracked.stdout.splitlines() if not name.startswith(OURS_ALONE)}
    assert held == wanted


def test_programs_among_the_shipped_files_stay_executable(installed: Installed) -> None:
    shipped = installed.run("python", "-c", "from daemons.service.shipped import shipped; print(shipped('systemd'))")
    systemd = Path(shipped.stdout.strip())
    assert systemd.is_relative_to(installed.programs.parent), shipped.stderr
    assert os.access(systemd / "install", os.X_OK)
    assert (systemd / "overlay" / "client.network").is_file()


@pytest.mark.parametrize("option", ["--target", "--prefix"])
def test_shipped_files_are_found_wherever_pip_was_told_to_install(wheel: Path, tmp_path: Path, option: str) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed"]
    subprocess.run([*install, option, str(tmp_path / "here"), wheel], check=True, capture_output=True)
    packages = next(file.parent for file in (tmp_path / "here").rglob("daemons") if (file / "records.py").exists())
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        " from daemons.service.shipped import shipped; print(shipped('grafana'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", ask, packages], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (Path(told.stdout.strip()) / "dashboards").is_dir(), told.stderr


def test_the_same_sources_give_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    again = built(exported(tmp_path / "elsewhere"), tmp_path / "dist")
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_its_metadata_is_valid_and_complete(wheel: Path) -> None:
    """Checked by the library that the package index itself checks uploads with."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
    assert metadata.license_expression == "MIT"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.requires_python is not None
    assert "3.11" in metadata.requires_python
    assert set(metadata.provides_extra or ()) == {"all", "archive", "aws", "compare", "demo", "doors", "report"}
    assert len(metadata.classifiers or ()) > 10
    assert metadata.keywords


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there_and_from_the_wheel(installed: Installed, command: str) -> None:
    done = installed.run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")
    where = installed.run("python", "-c", "import daemons, experiments, provisioning; print(daemons.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed.programs.parent)


def wheel_files(wheel: Path) -> dict[str, tuple[bytes, bool]]:
    """A wheel's files with whether they may be executed; its list of digests has an order of its own."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            item.filename: (archive.read(item), bool(item.external_attr >> 16 & 0o100))
            for item in archive.infolist()
            if not item.filename.endswith("/RECORD")
        }


OWN_WHEEL = """
import pathlib
from provisioning.ownwheel import own_wheel
name, content = own_wheel()
pathlib.Path(name).write_bytes(content)
print(name)
"""


def test_the_wheel_that_hosts_get_is_the_one_that_was_installed(wheel: Path, tmp_path: Path) -> None:
    own = Installed(wheel, tmp_path)
    again = own.run("python", "-c", OWN_WHEEL)
    assert again.stdout.strip() == wheel.name, again.stderr
    made = own.folder / wheel.name
    assert wheel_files(made) == wheel_files(wheel)
    # pip checks each digest of its list.
    (tmp_path / "other").mkdir()
    assert Installed(made, tmp_path / "other").run("latency-probe", "--help").returncode == 0
    changed = next(own.programs.parent.rglob("provisioning/targets.py"))
    changed.write_text(changed.read_text() + "#")
    refused = own.run("python", "-c", OWN_WHEEL)
    assert f"{changed}: was changed after the installation" in refused.stderr


def test_a_deployment_comes_and_goes_from_an_empty_folder_with_the_wheel_alone(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's two commands; what hosts run on is fetched from the package index."""
    installed = Installed(wheel, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server, endpoint = serve()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        policy = installed.run("provision", "policy")
        assert json.loads(policy.stdout or "{}").get("Version") == "2012-10-17", policy.stderr
        up = installed.run("provision", "up", "--yes", seconds=300)
        assert up.returncode == 0, up.stderr
        assert "building the software bundle from this installation" in up.stdout
        assert "backbone: built" in up.stdout
        assert_bundle(endpoint, wheel)
        full = installed.run("provision", "plan", "--topology", "full", "--name", "other", "--monitor")
        assert full.returncode == 0, full.stderr
        down = installed.run("provision", "down", "--yes")
        assert down.returncode == 0, down.stderr
        assert "nothing is left by tag" in down.stdout
        assert list(installed.folder.iterdir()) == []
    finally:
        server.shutdown()


def assert_bundle(endpoint: str, wheel: Path) -> None:
    """What hosts fetch is complete: the installer, its files, and every wheel with the digest that it checks."""
    s3 = boto3.client("s3", region_name="ap-northeast-1", endpoint_url=endpoint)
    (bucket,) = (item["Name"] for item in s3.list_buckets()["Buckets"])
    content = s3.get_object(Bucket=bucket, Key="bundle.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = set(tar.getnames())
        sums = tar.extractfile("wheelhouse/SHA256SUMS")
        assert sums is not None
        listed = {line.split("  ")[1] for line in sums.read().decode().splitlines()}
    assert {"systemd/install", "systemd/hardening.conf", "systemd/overlay/nic-exporter"} <= names
    assert {f"wheelhouse/{name}" for name in listed} | {"wheelhouse/SHA256SUMS"} == {
        name for name in names if name.startswith("wheelhouse/")
    }
    assert wheel.name in listed
    assert any(name.startswith("uvloop-") and "cp311" in name for name in listed)


def test_the_demo_runs(installed: Installed) -> None:
    done = installed.run("experiment", "demo", "--duration", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "events unaccounted for: 0." in done.stdout
    compared = installed.run("experiment", "compare", "demo-results/results.json")
    assert compared.returncode == 0, compared.stderr
    reported = installed.run("experiment", "report", "demo-results")
    assert reported.returncode == 0, reported.stderr
    assert (installed.folder / "demo-results" / "report.html").stat().st_size > 10_000


def test_monitoring_runs_with_the_shipped_rules(installed: Installed) -> None:
    prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    servers = ("--prometheus", prometheus, "--alertmanager", alertmanager, "--duration", "1")
    done = installed.run("experiment", "monitoring", *servers, "--target", f"receiver=127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"http://{prometheus}/alerts" in done.stdout


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("numpy", ("experiment", "compare", "x.json"), "compare"),
        ("matplotlib", ("experiment", "report", "."), "report"),
        ("dns", ("experiment", "doors", "wss://a.example"), "doors"),
        ("trustme", ("experiment", "demo", "--duration", "1"), "demo"),
        ("boto3", ("provision", "plan"), "aws"),
        ("boto3", ("experiment", "validate", "x.toml", "--deployment", "x"), "aws"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    wheel: Path, tmp_path: Path, missing: str, command: tuple[str, ...], extra: str
) -> None:
    bare = Installed(wheel, tmp_path, without=[missing])
    (bare.folder / "x.toml").write_text('[target]\nurl = "https://127.0.0.1/"\n[[scenario]]\nname = "a"\n')
    done = bare.run(*command)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"pip install 'backbone-latency[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_daemons_need_no_extra(wheel: Path, tmp_path: Path) -> None:
    bare = Installed(wheel, tmp_path, without=["boto3", "numpy", "matplotlib", "jinja2", "trustme"])
    for command in ("latency-forwarder", "latency-receiver", "latency-probe", "latency-simulator"):
        assert bare.run(command, "--help").returncode == 0
    assert bare.run("experiment", "run", "--help").returncode == 0
