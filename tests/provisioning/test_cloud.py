"""How AWS is reached: what the user's own files and variables say, and what is wrong with them."""

import re
from pathlib import Path

import pytest

from provisioning.cloud import Cloud
from provisioning.errors import ProvisionError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default\nregion = x\n", "Unable to parse config file.*correct the file"),
        ("[default]\ncredential_process = /no/such/program\n", "credential_process gave none.*/no/such/program"),
        ("[default]\ncredential_process = /bin/echo hello\n", "credential_process gave none.*print JSON"),
        ("[default]\ncredential_process = /bin/false\n", "log in again, or run it by hand"),
        ('[default]\ncredential_process = /bin/echo {"Version":1}\n', "credentials: "),
    ],
)
def test_what_gives_no_credentials_is_told(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(ProvisionError, match=f"(?s){message}"):
        Cloud.connect()


def test_an_endpoint_without_a_scheme_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:5000")
    with pytest.raises(ProvisionError, match=r"localhost:5000; an endpoint .* begins with https:// or http://"):
        Cloud.connect().account("eu-central-1")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE\n", "the access key of env has a line break, .* set it again"),
        ("AWS_SECRET_ACCESS_KEY", "EXAMPLE ", "the secret key of env has a line break, .* set it again"),
        ("AWS_SECRET_ACCESS_KEY", "EXAMPLE–x", "the secret key of env has a line break, .* set it again"),
        ("AWS_SESSION_TOKEN", "EXAMPLE\r\n", "the token of env has a line break, .* set it again"),
        ("HTTPS_PROXY", "http://:bad:port", "UnsendableRequest: .* HTTPS_PROXY is no URL"),
        ("HTTPS_PROXY", "http://127.0.0.1:9", "ProxyConnectionError: .* check the proxy that HTTPS_PROXY"),
        ("AWS_DEFAULT_REGION", "eu central", "'eu central' .*; correct the region"),
    ],
)
def test_what_a_variable_spoils_is_told_with_its_name_and_no_secret(
    config: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """Keys and tokens come with a line break from files and secrets of CI systems (public reports)."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://aws.example")
    monkeypatch.setenv(name, value)

    def ask() -> None:
        cloud = Cloud.connect()
        cloud.account(cloud.home)

    with pytest.raises(ProvisionError) as caught:
        ask()
    assert re.search(told, str(caught.value), re.DOTALL)
    assert "EXAMPLE" not in str(caught.value)
    assert caught.value.__cause__ is None or "EXAMPLE" not in repr(caught.value.__cause__)


@pytest.mark.process
def test_an_endpoint_that_speaks_no_tls_is_no_matter_of_the_profile(
    config: Path, monkeypatch: pytest.MonkeyPatch, moto: str
) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.replace("http:", "https:"))
    with pytest.raises(ProvisionError, match=r"SSLError: .*AWS_CA_BUNDLE.*nothing there speaks TLS"):
        Cloud.connect().account("eu-central-1")
