"""What latency-probe's command line asks for, done: check its configuration, measure once, or run it."""

import sys
from typing import Any

from daemons.configuration.probe import ProbeConfig, bare_host, load_config, parsed_url
from daemons.errors import ConfigError, LatencyError
from daemons.probe.once.program import OnceProgram
from daemons.probe.program import ProbeProgram
from daemons.probe.target import prepared, secrets_of
from daemons.service.console.exits import die
from daemons.service.exporter import check_metrics
from daemons.service.lifecycle import run
from daemons.service.log.logs import configure
from daemons.service.settings.checking import report_check

__all__ = ["carry_out"]

NO_SUCCESS = 1
_ONCE_INTERVAL_SECONDS = 1.0


def carry_out(flags: dict[str, Any]) -> None:
    """Run with what the command line says.

    Args:
        flags: every option by its name, None where it was not given.

    Raises:
        SystemExit: at the end, with the exit code.
    """
    if flags["check_config"]:
        report_check(lambda unseen: _check(load_config(flags["config_file"], _overrides(flags)), unseen))
        return
    try:
        overrides = _overrides(flags)
        config = load_config(flags["config_file"], overrides)
        _check_once(flags, config)
        secrets = secrets_of(config)
    except LatencyError as error:
        die(error)
    configure(config.log.format, config.log.level, secrets)
    if flags["once"]:
        made: list[OnceProgram] = []

        def once() -> OnceProgram:
            made.append(OnceProgram(config, flags["count"], flags["json_output"], flags["csv_output"]))
            return made[0]

        code = run(once)
        sys.exit(code or (NO_SUCCESS if made and made[0].failed else 0))
    sys.exit(run(lambda: ProbeProgram(config, lambda: load_config(flags["config_file"], overrides))))


def _check(config: ProbeConfig, unseen: list[str]) -> None:
    prepared(config)
    check_metrics(config.metrics, unseen)


def _overrides(flags: dict[str, Any]) -> dict[str, Any]:
    """Shape the flags like the file."""
    once = flags["once"]
    overrides: dict[str, Any] = {
        "metrics": None if flags["metrics"] is None else {"listen": flags["metrics"]},
        "log": {
            # A measurement at a terminal is read by a person.
            "format": flags["log_format"] or ("console" if once else None),
            "level": flags["log_level"] or ("warning" if once else None),
        },
    }
    target = {
        "connections": flags["connections"],
        "interval_seconds": flags["interval"],
        "timeout_seconds": flags["timeout"],
        "http": flags["http"],
        "ca_file": flags["ca_file"],
        "source_address": flags["source_address"],
        "interface": flags["interface"],
        "proxy": flags["proxy"],
        "proxy_credentials_file": flags["proxy_credentials_file"],
    }
    pins = dict(map(_pin, flags["resolve"]))
    given = {key: value for key, value in target.items() if value is not None}
    if not flags["urls"]:
        if given or pins:
            flag = next(iter((*given, "resolve"))).removesuffix("_seconds").replace("_", "-")
            raise ConfigError(f"--{flag}", "there is no --target that it could belong to", "write it into the file")
        return overrides
    if once:
        given.setdefault("interval_seconds", _ONCE_INTERVAL_SECONDS)
    overrides["target"] = tuple({"url": url, **given, **_pins_of(url, pins, flags["urls"])} for url in flags["urls"])
    return overrides


def _pins_of(url: str, pins: dict[str, str], urls: tuple[str, ...]) -> dict[str, Any]:
    """Return the pins of this URL's host, and those that belong to none, for the configuration to refuse."""
    hosts = [bare_host(parsed_url("--target", one).hostname or "") for one in (url, *urls)]
    own = {name: pin for name, pin in pins.items() if bare_host(name) == hosts[0] or bare_host(name) not in hosts}
    return {"resolve": own} if own else {}


def _pin(text: str) -> tuple[str, str]:
    host, equals, pinned = text.partition("=")
    if not equals:
        raise ConfigError("--resolve", f"{text!r} is no pin", "write HOST=ADDRESS")
    return host, pinned


def _check_once(flags: dict[str, Any], config: ProbeConfig) -> None:
    if not flags["once"]:
        for flag in ("json", "csv"):
            if flags[f"{flag}_output"] is not None:
                raise ConfigError(f"--{flag}", "a daemon has no end at which to write it", "add --once")
    elif not (config.target or config.egress or config.route or config.overlay):
        raise ConfigError("--once", "there is no target to measure", "add --target URL")
