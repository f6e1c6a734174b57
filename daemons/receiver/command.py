"""What latency-receiver's command line asks for, done: check its configuration, or run it."""

import sys
from functools import partial
from typing import Any, cast

import click
from msgspec.structs import replace

from daemons.configuration.feed import feed_settings
from daemons.configuration.receiver import FeedPathSection, Mode, ReceiverConfig, listener_of, load_receiver
from daemons.receiver.program import Receiver
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
        UsageError: options exclude each other.
        SystemExit: at the end, with the exit code.
    """
    listen, port = flags["listen"], flags["port"]
    if listen is not None and port is not None:
        raise click.UsageError("--listen and --port exclude each other")
    overrides: dict[str, Any] = {
        "run": {"duration_seconds": flags["duration"], "output": flags["output"], "csv_output": flags["csv_output"]},
        "clock": {
            "max_error_ms": flags["max_clock_error_ms"],
            "allow_unsynchronized": flags["allow_unsynchronized_clock"],
        },
        "busy_poll": flags["busy_poll"],
        **shared_sections(flags["metrics"], flags["log_format"], flags["log_level"]),
    }
    feed = {"url": flags["feed_url"], "streams": list(flags["streams"]) or None, "ca_file": flags["ca_file"]}
    link = {
        "listen": listen if port is None else f"0.0.0.0:{port}",
        "transport": flags["transport"],
        "format": flags["wire_format"],
        "key_file": list(flags["key_files"]) or None,
        "allowed_sources": list(flags["allowed"]) or None,
    }

    def load(unseen: list[str] | None = None) -> ReceiverConfig:
        config = load_receiver(flags["config_file"], overrides, cast("Mode | None", flags["mode"]), feed, link)
        for index, path in enumerate(config.path):
            if isinstance(path, FeedPathSection):
                settings = partial(feed_settings, path.name, f"path[{index}]")
                with_credentials(settings, path, None, unseen)
            else:
                check = partial(listener_of, index)
                with_credentials(check, path, lambda path: replace(path, key_file=None), unseen)
        check_metrics(config.metrics, unseen)
        return config

    config = loaded(load, check_only=flags["check_config"])
    if config is None:
        return
    logs.configure(config.log.format, config.log.level)
    sys.exit(lifecycle.run(lambda: Receiver(config, load), busy_poll=config.busy_poll))
