"""What latency-forwarder's command line asks for, done: check its configuration, or run it."""

import sys
from functools import partial
from typing import Any

from msgspec.structs import replace

from daemons.configuration.feed import feed_settings
from daemons.configuration.forwarder import ForwarderConfig, link_settings, load_forwarder
from daemons.forwarder.program import Forwarder
from daemons.service import lifecycle
from daemons.service.console.options import shared_sections
from daemons.service.exporter import check_metrics
from daemons.service.log import logs
from daemons.service.settings.checking import loaded, with_credentials

__all__ = ["carry_out"]


def carry_out(flags: dict[str, Any]) -> None:
    """Run with what the command line says.

    Args:
        flags: every option by its name, None where it was not given.

    Raises:
        SystemExit: at the end, with the exit code.
    """

    def load(unseen: list[str] | None = None) -> ForwarderConfig:
        longest: dict[str, Any] = {"reconnect_max_seconds": flags["reconnect_max"]}
        streams = list(flags["streams"]) or None
        feed = {"url": flags["feed_url"], "streams": streams, "ca_file": flags["ca_file"], **longest}
        links = {name: flags[name] for name in ("path_name", "transport", "key_file")} | longest
        links["format"] = flags["wire_format"]
        shared = shared_sections(flags["metrics"], flags["log_format"], flags["log_level"])
        overrides = {"feed": feed, "busy_poll": flags["busy_poll"], **shared}
        config = load_forwarder(flags["config_file"], overrides, flags["destinations"], links)
        with_credentials(partial(feed_settings, "feed", "feed"), config.feed, None, unseen)
        for section in config.destination:
            with_credentials(link_settings, section, lambda section: replace(section, key_file=None), unseen)
        check_metrics(config.metrics, unseen)
        return config

    config = loaded(load, check_only=flags["check_config"])
    if config is None:
        return
    logs.configure(config.log.format, config.log.level)
    sys.exit(lifecycle.run(lambda: Forwarder(config, load), busy_poll=config.busy_poll))
