"""Squid as it comes from the distribution, asked by the probe and by curl: the same end, with the right reason."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from daemons.probe.attempt import Phase, Reason
from tests.daemons.probe.probing import attempt, target_of
from tests.daemons.probe.server import Authority, serving
from tests.daemons.probe.test_proxy import credentials, curl
from tests.squid import squid

pytestmark = pytest.mark.process

PASSWORD = "o%40pen:se same#@/ü"
"""Nothing in it is decoded, for it stands in no URL; only the first colon divides it from the user."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that squid can walk to; those of pytest are for one user only."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def both(url: str, proxy: str, authority: Authority, **settings: Any) -> tuple[Reason | None, int, str]:
    record = attempt(target_of(url, ca_file=str(authority.file), proxy=proxy, **settings))
    status, tunnel = curl(url, proxy, authority)
    assert (record.status or 0) == int(status), record.detail
    assert record.succeeded == (status == "200"), record.detail
    return record.reason, int(tunnel), record.detail


def test_squid_tunnels_and_refuses(authority: Authority, folder: Path) -> None:
    rules = """
        acl allowed dstdomain localhost 127.0.0.1
        http_access allow allowed
        http_access deny all
    """
    with (
        serving(authority.context(alpn=("h2", "http/1.1"))) as server,
        serving(None) as plain,
        squid(folder, rules) as url,
    ):
        assert both(f"https://127.0.0.1:{server.port}/", url, authority)[:2] == (None, 200)
        assert both(f"https://127.0.0.1:{server.port}/", url, authority, http="2")[:2] == (None, 200)
        assert both(f"http://127.0.0.1:{plain.port}/", url, authority)[0] is None
        assert plain.seen.requests[0].startswith(b"GET / HTTP/1.1\r\n")
        reason, tunnel, detail = both("https://192.0.2.1/", url, authority)
        assert (reason, tunnel) == (Reason.PROXY_DENIED, 403)
        assert "ERR_ACCESS_DENIED" in detail
        reason, tunnel, detail = both("https://127.0.0.1:1/", url, authority)
        assert (reason, tunnel) == (Reason.PROXY_UNAVAILABLE, 503)
        assert "ERR_CONNECT_FAIL" in detail


def test_squid_asks_for_user_and_password(authority: Authority, folder: Path, tmp_path: Path) -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "users").write_text(f"measure:{hashed}\n")
    rules = f"""
        auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/users
        auth_param basic realm measurements
        acl known proxy_auth REQUIRED
        http_access allow known
        http_access deny all
    """
    with serving(authority.context()) as server, serving(None) as plain, squid(folder, rules) as proxy:
        settings = {"ca_file": str(authority.file), "proxy": proxy}
        file = credentials(tmp_path, f"measure:{PASSWORD}\n".encode())
        for url in (f"https://127.0.0.1:{server.port}/", f"http://127.0.0.1:{plain.port}/"):
            assert both(url, proxy, authority)[0] is Reason.PROXY_AUTHENTICATION
            record = attempt(target_of(url, proxy_credentials_file=file, **settings))
            assert record.reason is None, record.detail
            # curl takes even what -U holds for percent-encoded.
            assert curl(url, proxy, authority, "-U", f"measure:{quote(PASSWORD)}")[0] == "200"


def test_a_measurement_through_squid_tells_the_tunnel_and_no_secret(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    file = credentials(tmp_path, b"measure:open:sesame\n")
    with serving(authority.context()) as server, squid(folder, "http_access allow all") as proxy:
        command = [
            *(sys.executable, "-m", "daemons.probe.main", "--target", f"https://127.0.0.1:{server.port}/", "--once"),
            *("--count", "3", "--interval", "0.05", "--ca-file", str(authority.file), "--proxy", proxy),
            *(
                "--proxy-credentials-file",
                file,
                "--json",
                str(tmp_path / "out.json"),
                "--csv",
                str(tmp_path / "out.csv"),
            ),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert f"{Phase.TUNNEL}_ms" in header.split(",")
    assert len(rows) == 6
    told = (tmp_path / "out.json").read_text()
    assert f'"proxy": "{proxy.removeprefix("http://")}"' in told
    assert '"tunnel"' in told
    assert "sesame" not in "".join((ended.stdout, ended.stderr, told, *rows))
