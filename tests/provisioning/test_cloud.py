"""How AWS is reached: what the user's own files and variables say, and what is wrong with them."""

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
