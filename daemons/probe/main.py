"""The command line of latency-probe."""

import sys
from pathlib import Path
from typing import Any

import click

from daemons.configuration.probe import METRICS_ADDRESS, ProbeConfig, bare_host, load_config, parsed_url
from daemons.errors import ConfigError, LatencyError
from daemons.probe.once.program import OnceProgram
from daemons.probe.program import ProbeProgram
from daemons.probe.target import prepared, secrets_of
from daemons.service.checking import report_check
from daemons.service.command_line import CONTEXT, version_option
from daemons.service.exporter import check_metrics
from daemons.service.lifecycle import die, run
from daemons.service.logs import configure
from daemons.service.spans import SPAN

__all__ = ["main"]

NO_SUCCESS = 1
_ONCE_INTERVAL_SECONDS = 1.0


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file; see docs/probe.md.")
@click.option("--check-config", is_flag=True, help="Check the configuration and the files it names, then end.")
@click.option(
    "--target",
    "urls",
    multiple=True,
    metavar="URL",
    help="Probe this URL instead of the file's targets; may be repeated.",
)
@click.option("--connections", type=click.Choice(["cold", "warm", "both"]), help="With --target: on which connections.")
@click.option("--interval", type=SPAN, help="With --target: between two requests.")
@click.option("--timeout", type=SPAN, help="With --target: for one request.")
@click.option("--resolve", multiple=True, metavar="HOST=ADDRESS", help="With --target: use this address for the host.")
@click.option("--http", type=click.Choice(["1.1", "2"]), help="With --target: the HTTP version.")
@click.option("--ca-file", metavar="FILE", help="With --target: authorities to trust instead of the system's.")
@click.option("--source-address", metavar="ADDRESS", help="With --target: send from this address.")
@click.option("--interface", metavar="NAME", help="With --target: send through this interface.")
@click.option("--proxy", metavar="URL", help="With --target: go through this HTTP proxy, http://HOST:PORT.")
@click.option(
    "--proxy-credentials-file", metavar="FILE", help="With --proxy: a private file with one line USER:PASSWORD."
)
@click.option("--once", is_flag=True, help="Make --count requests on each kind of connection, print a table, and end.")
@click.option("--count", type=click.IntRange(1, 10_000_000), default=100, help="With --once: how many requests.")
@click.option("--json", "json_output", type=click.Path(path_type=Path), help="With --once: write the statistics here.")
@click.option("--csv", "csv_output", type=click.Path(path_type=Path), help="With --once: write every request here.")
@click.option("--metrics", metavar="HOST:PORT", help=f"Where to serve metrics; '' for nowhere.  [{METRICS_ADDRESS}]")
@click.option("--log-format", type=click.Choice(["json", "console"]), help="Shape of the log lines.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Lowest level logged.")
@version_option()
def main(**flags: Any) -> None:
    """Measure HTTPS latency, cold and warm, phase by phase, and where we leave from."""
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


if __name__ == "__main__":
    main()
