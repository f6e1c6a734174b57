"""The daemons themselves read what is generated for them."""

from pathlib import Path

import pytest

from daemons.configuration.forwarder import link_settings, load_forwarder
from daemons.configuration.probe import load_config
from daemons.configuration.receiver import listener_of, load_receiver
from daemons.link.receiving.settings import LinkPathSection
from provisioning.loading import BUILT_IN, adjusted, load_topology
from provisioning.roleconfig import role_files
from provisioning.topology import Topology


def written(topology: Topology, name: str, place: Path) -> Path:
    ((path, mode, text),) = role_files(topology, topology.named_host(name), "desk")
    assert mode == 0o644
    file = place / Path(path).name
    file.write_text(text)
    return file


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "link.key").write_text("0123456789abcdef" * 4)
    (directory / "link.key").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("monitor", [False, True])
def test_both_ends_of_the_link_agree(tmp_path: Path, monitor: bool) -> None:
    topology = adjusted(load_topology("backbone"), types={}, monitor=monitor)
    forwarder = load_forwarder(written(topology, "forwarder", tmp_path), {}, (), {})
    receiver = load_receiver(written(topology, "receiver", tmp_path), {}, None, {}, {})
    settings = link_settings(forwarder.destination[0])
    link = next(path for path in receiver.path if isinstance(path, LinkPathSection))
    where, listener = listener_of(0, link)
    assert (settings.host, settings.port) == ("10.1.1.10", where[1])
    assert where == ("0.0.0.0", 8080)  # what latency-receiver.socket holds
    assert settings.section.path_name == link.name
    assert (settings.key,) == listener.keys
    assert receiver.setup_type == "race"
    assert receiver.metrics.listen == f"{'10.1.1.10' if monitor else '127.0.0.1'}:9472"


@pytest.mark.parametrize("name", BUILT_IN)
def test_probes_read_theirs(tmp_path: Path, name: str) -> None:
    topology = load_topology(name)
    for host in topology.host:
        if host.role == "probe":
            config = load_config(written(topology, host.name, tmp_path), {})
            assert [target.url for target in config.target] == [target.url for target in host.target]
            proxied = host.name == "proxied"
            assert {target.proxy for target in config.target} == ({"http://10.1.1.20:3128"} if proxied else {""})
            tunnelled = topology.overlay is not None and topology.overlay.client == host.name
            assert (config.overlay.peer if config.overlay else None) == ("10.99.0.2" if tunnelled else None)


def test_a_pinned_address_is_passed_on(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "provisioning/topologies/egress.toml").read_text()
    pinned = text.replace('time" }]', 'time", resolve = "192.0.2.7" }]')
    (tmp_path / "mine.toml").write_text(pinned)
    config = load_config(written(load_topology(str(tmp_path / "mine.toml")), "client", tmp_path), {})
    assert config.target[0].resolve == {"api.binance.com": "192.0.2.7"}


def test_another_port_reaches_the_socket_unit(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "provisioning/topologies/backbone.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace('receiver = "receiver"', 'receiver = "receiver"\nport = 7000'))
    topology = load_topology(str(tmp_path / "mine.toml"))
    files = {path: content for path, _, content in role_files(topology, topology.named_host("receiver"), "desk")}
    drop_in = files["/etc/systemd/system/latency-receiver.socket.d/ports.conf"]
    assert drop_in.splitlines() == [
        "[Socket]",
        "ListenStream=",
        "ListenDatagram=",
        "ListenStream=0.0.0.0:7000",
        "ListenDatagram=0.0.0.0:7000",
    ]
