"""Load what hosts would be given with the daemons' own loaders, so that `plan` refuses what a host would refuse."""

import tomllib
from collections.abc import Callable

import msgspec

from daemons.configuration.forwarder import link_settings, load_forwarder
from daemons.configuration.probe import load_config
from daemons.configuration.receiver import FeedPathSection, listener_of, load_receiver
from daemons.errors import ConfigError
from daemons.feed.endpoints import feed_urls
from provisioning.roleconfig import role_files
from provisioning.topology import Topology

__all__ = ["check_rendered"]


_EXAMPLES = {"address": "192.0.2.1", "accelerator": "198.51.100.1"}
"""For what AWS will choose (RFC 5737)."""


def check_rendered(topology: Topology) -> None:
    """Refuse a topology from which a daemon would be given a configuration that it refuses.

    Raises:
        ConfigError: the host, and the daemon's own words.
    """
    for host in topology.host:
        if host.role not in _LOADERS:
            continue
        outside = {key: _EXAMPLES[key.partition("/")[0]] for key in topology.outside(host)}
        for path, _, text in role_files(topology, host, "any", outside):
            if not path.endswith(".toml"):
                continue
            try:
                _LOADERS[host.role](text)
            except ConfigError as error:
                raise ConfigError(
                    f"host.{host.name}", f"its {host.role}.toml is refused: {error}", "correct the topology"
                ) from error


# The link's key comes into being with the deployment: everything but the key's file is checked.


def _forwarder(text: str) -> None:
    config = load_forwarder(None, tomllib.loads(text), (), {})
    feed_urls(config.feed.url, config.feed.streams, microseconds=config.feed.microseconds)
    for section in config.destination:
        link_settings(msgspec.structs.replace(section, key_file=None))


def _receiver(text: str) -> None:
    config = load_receiver(None, tomllib.loads(text), None, {}, {})
    for index, path in enumerate(config.path):
        if isinstance(path, FeedPathSection):
            feed_urls(path.url, path.streams, microseconds=path.microseconds)
        else:
            listener_of(index, msgspec.structs.replace(path, key_file=None))


def _probe(text: str) -> None:
    load_config(None, tomllib.loads(text))


_LOADERS: dict[str, Callable[[str], None]] = {"forwarder": _forwarder, "receiver": _receiver, "probe": _probe}
