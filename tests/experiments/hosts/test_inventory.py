from pathlib import Path

import pytest

from daemons.errors import ConfigError
from experiments.hosts.inventory import load_inventory
from experiments.hosts.shell import LocalShell, SshShell

HOSTS = """
ssh_config = "ssh_config"

[[host]]
name = "tokyo"
role = "forwarder"

[[host]]
name = "frankfurt"
role = "receiver"
managed = false
"""


def written(folder: Path, text: str) -> Path:
    (folder / "ssh_config").write_text("Host tokyo frankfurt\n  User admin\n")
    file = folder / "hosts.toml"
    file.write_text(text)
    return file


def test_hosts_have_the_places_that_the_installer_gives_them(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, HOSTS))
    assert inventory.ssh_config == str(tmp_path / "ssh_config")
    tokyo, frankfurt = inventory.host
    assert tokyo.programs == "/opt/backbone-latency/current/bin"
    assert tokyo.config_file == "/etc/latency/forwarder.toml"
    assert (tokyo.managed, frankfurt.managed) == (True, False)
    assert inventory.of_role("receiver") is frankfurt


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("role", "rolle"), r"host\[0\].rolle: unknown key; did you mean `role`\?"),
        (('"forwarder"', '"relay"'), r"host\[0\].role: 'relay' is not known here; use forwarder, receiver, "),
        (('"frankfurt"', '"tokyo"'), r"host\[0\].name: 'tokyo' is used twice"),
        (('"ssh_config"', '"missing"'), "missing is not a file; name an OpenSSH configuration file"),
    ],
)
def test_a_bad_file_is_refused_with_the_key_at_fault(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_inventory(written(tmp_path, HOSTS.replace(*change)))


def test_a_role_that_none_or_several_have_is_refused(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, HOSTS))
    with pytest.raises(ConfigError, match=r"--probe: 0 hosts are probes; there are tokyo \(forwarder\), frankfurt"):
        inventory.of_role("probe")
    with pytest.raises(ConfigError, match="--receiver: 'tokyo' is no receiver"):
        inventory.of_role("receiver", "tokyo")
    with pytest.raises(ConfigError, match="no host 'osaka'; there are tokyo, frankfurt"):
        inventory.named("osaka")


def test_what_is_run_by_ssh_is_quoted_and_the_host_key_always_checked() -> None:
    line = SshShell(Path("c"), "tokyo").line(["echo", "two words", "$HOME; rm"])
    assert line[:1] == ["ssh"]
    assert "StrictHostKeyChecking=yes" in line
    assert line[-1] == "echo 'two words' '$HOME; rm'"
    assert LocalShell().line(["echo", "x"]) == ["echo", "x"]
