"""The host's own program, run whole in a root directory of its own: real S3 requests to moto, a metadata service, and
stand-ins for what only a booted host has (systemctl, the bundle's installer)."""

import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest

from provisioning import bootstrap
from provisioning.bundle import archive
from tests.daemons.probe.proxy import ESTABLISHED, proxying

pytestmark = pytest.mark.process

PROGRAM = Path(bootstrap.__file__)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"

INSTALLER = """#!/bin/sh
# what the real installer is told is what counts here, and its two links
echo "$@" >> "$LATENCY_ROOT/../installer.log"
while [ $# -gt 0 ]; do
  case "$1" in --root) root=$2;; --role) role=$2;; --wheelhouse) wheels=$2;; --rollback) back=yes;; esac; shift
done
top=$root/opt/backbone-latency
mkdir -p "$top"
if [ "$back" ]; then new=$(readlink "$top/previous"); else test -d "$wheels" || exit 3; new={version}; fi
{extra}
if [ "$(readlink "$top/current")" != "$new" ]; then
  if [ -L "$top/current" ]; then ln -sfn "$(readlink "$top/current")" "$top/previous"; fi
  ln -sfn "$new" "$top/current"
fi
echo "$new" > "$root/opt/version"
if [ "$role" ]; then echo "$role" > "$root/opt/role"; fi
"""

SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$LATENCY_ROOT/../systemctl.log"
if [ "$1" = is-active ]; then
  case "$3" in latency-overlay.service) exec test ! -e "$LATENCY_ROOT/../tunnel-down";; esac
  ! grep -qx sick "$LATENCY_ROOT/opt/version"
fi
"""


class Metadata(http.server.BaseHTTPRequestHandler):
    """IMDS, version 2 only."""

    tags: ClassVar[dict[str, str]] = {}

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "300"
        self.reply(200, "a token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "a token":
            self.reply(401, "")
        elif self.path == "/latest/meta-data/iam/security-credentials/":
            self.reply(200, "the-profile")
        elif self.path == "/latest/meta-data/iam/security-credentials/the-profile":
            self.reply(200, json.dumps({"AccessKeyId": "testing", "SecretAccessKey": "testing", "Token": "session"}))
        elif (tag := self.path.removeprefix("/latest/meta-data/tags/instance/")) in self.tags:
            self.reply(200, self.tags[tag])
        else:
            self.reply(404, "")

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def metadata() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def bundle(tmp_path: Path, version: str, extra: str = "") -> bytes:
    source = tmp_path / f"source-{version}"
    (source / "wheelhouse").mkdir(parents=True)
    (source / "wheelhouse/x.whl").write_text(version)
    (source / "systemd").mkdir()
    install = source / "systemd/install"
    install.write_text(INSTALLER.format(version=version, extra=extra))
    install.chmod(0o755)
    return archive({"wheelhouse/x.whl": source / "wheelhouse/x.whl", "systemd/install": install})


class Machine:
    def __init__(self, tmp_path: Path, endpoint: str, metadata: str) -> None:
        self.place = tmp_path
        self.root = tmp_path / "root"
        commands = tmp_path / "bin"
        commands.mkdir()
        (commands / "systemctl").write_text(SYSTEMCTL)
        (commands / "systemctl").chmod(0o755)
        (self.root / "etc/latency").mkdir(parents=True)
        (self.root / "etc/ssh").mkdir()
        (self.root / "dev").mkdir()
        (self.root / "dev/console").touch()
        (self.root / "etc/ssh/ssh_host_ed25519_key.pub").write_text(f"{KEY} root@host\n")
        self.environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "LATENCY_ROOT": str(self.root),
            "LATENCY_IMDS": metadata,
        }
        self.s3 = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1")
        self.s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.config: dict[str, Any] = {
            "host": "receiver",
            "role": "receiver",
            "bucket": "bucket",
            "bucket_region": "eu-central-1",
            "endpoint": endpoint,
            "objects": ["bundle.tar.gz", "link.key"],
            "units": ["latency-receiver.service"],
            "extra": {},
            "packages": {},
            "packages_wished": {},
            "proxy": "",
            "serves": {},
            "overlay": None,
            "ptp": False,
            "settle_seconds": 0.6,
        }

    def put(self, name: str, content: bytes, digest: str | None = None) -> None:
        import hashlib  # noqa: PLC0415

        told = digest or hashlib.sha256(content).hexdigest()
        self.s3.put_object(Bucket="bucket", Key=name, Body=content, Metadata={"sha256": told})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.root / "etc/latency/bootstrap.json").write_text(json.dumps(self.config))
        return subprocess.run(
            [sys.executable, str(PROGRAM), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def version(self) -> str:
        return (self.root / "opt/version").read_text().strip()

    def console(self) -> str:
        return (self.root / "dev/console").read_text()


@pytest.fixture
def machine(tmp_path: Path, endpoint: str, metadata: str) -> Machine:
    machine = Machine(tmp_path, endpoint, metadata)
    machine.put("bundle.tar.gz", bundle(tmp_path, "one"))
    machine.put("link.key", b"0123456789abcdef")
    return machine


def test_first_boot_installs_and_reports_and_the_next_only_reports(machine: Machine) -> None:
    done = machine.run("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.version() == "one"
    assert (machine.root / "opt/role").read_text() == "receiver\n"
    key = machine.root / "etc/latency/link.key"
    assert key.read_bytes() == b"0123456789abcdef"
    assert key.stat().st_mode & 0o777 == 0o600
    assert f"backbone-latency: host-key {KEY}" in machine.console()
    assert "backbone-latency: ready host=receiver bundle=" in machine.console()
    machine.s3.delete_object(Bucket="bucket", Key="bundle.tar.gz")
    machine.s3.delete_object(Bucket="bucket", Key="link.key")
    (machine.root / "opt/role").unlink()
    again = machine.run("run")
    assert again.returncode == 0, again.stdout
    assert not (machine.root / "opt/role").exists()
    assert (machine.place / "systemctl.log").read_text().count("restart latency-receiver.service") == 1


def powered_off(machine: Machine, stop_after: str | None, *, synchronized: str = "yes") -> bool:
    timedatectl = machine.place / "bin/timedatectl"
    timedatectl.write_text(f"#!/bin/sh\necho {synchronized}\n")
    timedatectl.chmod(0o755)
    Metadata.tags = {} if stop_after is None else {"latency:stop-after": stop_after}
    log = machine.place / "systemctl.log"
    log.unlink(missing_ok=True)
    done = machine.run("expire")
    assert done.returncode == 0, done.stdout + done.stderr
    return log.exists() and log.read_text() == "poweroff\n"


def test_a_host_powers_itself_off_once_its_tag_is_past_and_only_by_a_clock_that_is_kept(machine: Machine) -> None:
    for text in ("2026-01-31T00:00:00+00:00", "2026-02-01T08:59:59+09:00"):
        assert powered_off(machine, text)
        assert f"backbone-latency: expired {text}: powering off" in machine.console()
        assert not powered_off(machine, text, synchronized="no")
    for other in ("2126-12-31T00:00:00+00:00", "never", None):
        assert not powered_off(machine, other)


def test_nothing_starts_before_the_tunnel_is_verified(machine: Machine) -> None:
    machine.config["overlay"] = {"kind": "ipip"}
    (machine.place / "tunnel-down").touch()
    done = machine.run("run")
    assert done.returncode == 1
    assert "failed run: the tunnel is not verified yet" in machine.console()
    assert not (machine.root / "opt").exists()
    (machine.place / "tunnel-down").unlink()
    assert machine.run("run").returncode == 0


def test_a_client_of_a_proxy_fetches_by_it_and_asks_the_metadata_service_itself(machine: Machine) -> None:
    with proxying() as proxy:
        machine.config["proxy"] = proxy.url
        done = machine.run("run")
        assert done.returncode == 0, done.stdout + done.stderr
        asked = [head.split(b" ")[1].decode() for head in proxy.seen.heads]
    bucket = f"{machine.config['endpoint']}/bucket"
    assert asked == [f"{bucket}/link.key", f"{bucket}/bundle.tar.gz"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ESTABLISHED, "bucket.s3.eu-central-1.amazonaws.com/link.key"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answers CONNECT bucket.s3.eu-central-1.amazonaws.com:443 with 403"),
        (b"", "RemoteDisconnected"),
    ],
)
def test_nothing_starts_before_the_proxy_leads_to_the_bucket(machine: Machine, answer: bytes, words: str) -> None:
    with proxying(answer, then="close") as proxy:
        machine.config |= {"proxy": proxy.url, "endpoint": ""}
        done = machine.run("run")
        assert proxy.seen.heads[0].startswith(b"CONNECT bucket.s3.eu-central-1.amazonaws.com:443 HTTP/1.1\r\n")
    assert done.returncode == 1
    assert f"failed run: {'https://' if answer == ESTABLISHED else proxy.url}" in machine.console()
    assert words in machine.console()
    assert not (machine.root / "opt").exists()


@pytest.mark.parametrize(("answer", "code"), [(b"HTTP/1.1 403 Forbidden\r\n\r\n", 0), (ESTABLISHED, 1)])
def test_a_proxy_is_ready_when_it_refuses_a_stranger(machine: Machine, answer: bytes, code: int) -> None:
    with proxying(answer, then="close") as proxy:
        machine.config["serves"] = {"proxy": proxy.url, "authority": "bucket.example:443"}
        assert machine.run("run").returncode == code
        assert proxy.seen.heads[0].startswith(b"CONNECT bucket.example:443 HTTP/1.1\r\n")
    assert ("ready host=" in machine.console()) == (code == 0)
    assert ("answers a stranger with 200, not 403" in machine.console()) == (code == 1)


def test_a_damaged_bundle_is_not_installed(machine: Machine) -> None:
    machine.put("bundle.tar.gz", b"not it", digest="0" * 64)
    done = machine.run("run")
    assert done.returncode == 1
    assert "6 bytes do not match their digest" in machine.console()
    machine.put("bundle.tar.gz", b"not an archive")
    assert machine.run("run").returncode == 1
    assert not (machine.root / "opt").exists()
    machine.put("bundle.tar.gz", bundle(machine.place, "two"))
    assert machine.run("run").returncode == 0
    assert machine.version() == "two"


def test_an_archive_cannot_write_outside_its_place(machine: Machine) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../../../escaped"), io.BytesIO(b""))
    machine.put("bundle.tar.gz", packed.getvalue())
    assert machine.run("run").returncode == 1
    assert not list(machine.place.rglob("escaped"))


def test_a_failing_installer_is_told(machine: Machine) -> None:
    machine.put("bundle.tar.gz", bundle(machine.place, "bad", extra="echo no space left >&2; exit 9"))
    assert machine.run("run").returncode == 1
    assert "exit 9: no space left" in machine.console()
    assert "ready" not in machine.console()


def test_deploy_puts_the_old_bundle_back_when_the_new_one_is_sick(machine: Machine) -> None:
    assert machine.run("run").returncode == 0
    new = machine.place / "new.tar.gz"
    new.write_bytes(bundle(machine.place, "sick"))
    done = machine.run("deploy", str(new))
    assert done.returncode == 1
    assert "latency-receiver.service is not active" in done.stdout
    assert "was put back and is healthy" in done.stdout
    assert machine.version() == "one"
    assert "--rollback" in (machine.place / "installer.log").read_text().splitlines()[-1]
    new.write_bytes(bundle(machine.place, "three"))
    assert machine.run("deploy", str(new)).returncode == 0
    assert machine.version() == "three"
    assert machine.run("rollback").returncode == 0
    assert machine.version() == "one"


def test_units_are_looked_at_though_the_time_to_settle_is_over(machine: Machine) -> None:
    """A host may stand still for that long between the start and the first look."""
    assert machine.run("run").returncode == 0
    machine.config["settle_seconds"] = 0
    new = machine.place / "new.tar.gz"
    new.write_bytes(bundle(machine.place, "sick"))
    assert machine.run("deploy", str(new)).returncode == 1
    assert machine.version() == "one"


def test_deploy_of_a_bundle_that_cannot_be_installed_leaves_the_old(machine: Machine) -> None:
    assert machine.run("run").returncode == 0
    new = machine.place / "new.tar.gz"
    new.write_bytes(bundle(machine.place, "broken", extra="exit 9"))
    assert machine.run("deploy", str(new)).returncode == 1
    assert machine.version() == "one"
    assert "--rollback" not in (machine.place / "installer.log").read_text()
    assert machine.run("rollback").returncode == 1


def test_the_metadata_service_of_version_one_is_not_used(machine: Machine) -> None:
    machine.environment["LATENCY_IMDS"] = "http://127.0.0.1:9"
    done = machine.run("run")
    assert done.returncode == 1
    assert "failed run:" in machine.console()


def test_the_signature_is_the_one_that_boto_makes() -> None:
    """The same request signed by botocore has the same signature."""
    import datetime as dt  # noqa: PLC0415

    from botocore.auth import S3SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    url = "https://bucket.s3.eu-central-1.amazonaws.com/bundle.tar.gz"
    keys = {"AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "session"}
    ours = bootstrap.signed(url, "eu-central-1", keys, dt.datetime(2026, 11, 21, 10, 0, 0, tzinfo=dt.UTC))
    theirs = AWSRequest("GET", url)
    theirs.context["timestamp"] = "20261121T100000Z"
    auth = S3SigV4Auth(Credentials("AKID", "secret", "session"), "s3", "eu-central-1")
    theirs.headers["X-Amz-Date"] = "20261121T100000Z"
    theirs.headers["X-Amz-Security-Token"] = "session"
    theirs.headers["X-Amz-Content-SHA256"] = ours.headers["X-amz-content-sha256"]
    canonical = auth.canonical_request(theirs)
    expected = auth.signature(auth.string_to_sign(theirs, canonical), theirs)
    assert ours.headers["Authorization"].endswith(f"Signature={expected}")
