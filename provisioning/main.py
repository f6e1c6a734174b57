"""The ``provision`` command."""

import datetime as dt
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from daemons.errors import ConfigError, LatencyError
from daemons.service.command_line import CONTEXT, version_option
from daemons.service.numbers import Number
from daemons.service.screen import error_line
from daemons.service.spans import Span
from provisioning import bundle as bundles
from provisioning.aftermath import NOTHING_STANDS, expires_at, standing, stop_after, stops_at
from provisioning.cloud import Cloud
from provisioning.console import host_report
from provisioning.cost import Estimate, Item, Traffic, estimate
from provisioning.desired import BUCKET, BUNDLE_OBJECT, desired
from provisioning.engine import Engine, Step
from provisioning.errors import PendingError, ProvisionError
from provisioning.images import python_version
from provisioning.kinds.storage import put_object
from provisioning.loading import adjusted, default_name, deployment_name, load_topology
from provisioning.model import Deployment, View
from provisioning.permissions import policy_text
from provisioning.preflight import preflight
from provisioning.remote import Remote, choose
from provisioning.screen import Screen
from provisioning.targets import targets as targets_text
from provisioning.targets import unscraped
from provisioning.topology import Access, Topology
from provisioning.validation import expiry

__all__ = ["main"]

F = TypeVar("F", bound=Callable[..., Any])
_CHECKOUT = Path(__file__).parent.parent


@dataclass
class Settings:
    """The options that hold for every command, and how AWS is reached, which tests replace."""

    topology: str = "backbone"
    name: str = ""
    yes: bool = False
    json: bool = False
    profile: str | None = None
    monitor: bool = False
    overlay: str = ""
    instance_type: tuple[str, ...] = ()
    image: str = ""
    volume_gib: int = 0
    precision_time: bool = False
    cpu_credits: str = ""
    ssh_from: tuple[str, ...] = ()
    ssh_key: str = ""
    owner: str = ""
    expires: str = ""
    stop_at_expiry: bool = False
    connect: Callable[[str | None], Cloud] = field(default=Cloud.connect, repr=False)

    @property
    def called(self) -> str:
        """The deployment's name: as given, or its topology's."""
        return deployment_name(self.name) if self.name else default_name(self.topology)

    def deployment(self) -> Deployment:
        """The deployment's name and tags."""
        topology = self.loaded()
        return Deployment(self.called, topology.owner, topology.expires, stop_after(topology))

    def loaded(self) -> Topology:
        """The topology with the command line's wishes."""
        types = {}
        for text in self.instance_type:
            name, equals, kind = text.partition("=")
            if not equals:
                raise ConfigError("--instance-type", f"{text!r} has no `=`", "write ROLE=TYPE or HOST=TYPE")
            types[name] = kind
        access = None
        if self.ssh_from or self.ssh_key:
            access = Access(ssh_from=self.ssh_from, ssh_key=_key_text(self.ssh_key))
        return adjusted(
            load_topology(self.topology),
            types=types,
            image=self.image,
            volume_gib=self.volume_gib,
            precision_time=self.precision_time,
            cpu_credits=self.cpu_credits,
            monitor=self.monitor,
            overlay=self.overlay,
            access=access,
            owner=self.owner,
            expires=self.expires,
            stop_at_expiry=self.stop_at_expiry,
        )


def _key_text(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--ssh-key", f"{file}: cannot be read: {error}", "give a public key's file") from error


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE:
        setattr(context.ensure_object(Settings), parameter.name or "", value)


_SHARED = (
    click.option(
        "--topology", "-t", metavar="backbone|egress|full|proxy|FILE", help="What to build.  [default: backbone]"
    ),
    click.option("--name", "-n", metavar="DEPLOYMENT", help="Which of several.  [default: the topology's]"),
    click.option("--yes", "-y", is_flag=True, help="Do not ask before changing anything."),
    click.option("--json", is_flag=True, help="Print the result as JSON."),
    click.option("--profile", help="Profile of the AWS configuration files."),
    click.option("--monitor", is_flag=True, help="Add a host that scrapes the others."),
    click.option("--overlay", type=click.Choice(["ipip", "wireguard"]), help="The tunnel's kind.  [default: ipip]"),
    click.option("--instance-type", multiple=True, metavar="ROLE=TYPE", help="Instance type of a role or host."),
    click.option("--image", metavar="NAME|AMI", help="debian-12, debian-13, ubuntu-24.04 or an ami- id."),
    click.option("--volume-gib", type=click.IntRange(1), help="Size of every root volume."),
    click.option(
        "--precision-time", is_flag=True, help="Placement groups with a PTP hardware clock (not for t types)."
    ),
    click.option(
        "--cpu-credits",
        type=click.Choice(["standard", "unlimited"]),
        help="Of every t type.  [default: unlimited, a monitor's standard]",
    ),
    click.option("--ssh-from", multiple=True, metavar="CIDR", help="Who may log in.  [default: nobody]"),
    click.option("--ssh-key", metavar="FILE", help="Public key for logging in."),
    click.option("--owner", help="Owner tag."),
    click.option("--expires", help="Expiry tag, such as 2026-12-31."),
    click.option("--stop-at-expiry", is_flag=True, help="Hosts power themselves off when --expires is past."),
)


def shared(function: F) -> F:
    """Give a command the options that hold for all."""
    for option in reversed(_SHARED):
        function = option(function)
    for parameter in function.__click_params__:  # type: ignore[attr-defined]  # click's own attribute
        if parameter.name in Settings.__dataclass_fields__:
            parameter.expose_value = False
            parameter.callback = _keep
    return function


class _Group(click.Group):
    """Ends with the message and exit code of our own errors, not with a stack trace."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LatencyError as error:
            for line in (str(error), *getattr(error, "__notes__", ())):
                error_line(line)
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted: what was made stays; run the command again to go on, or `down`", err=True)
            context.exit(130)


@click.group(cls=_Group, context_settings=CONTEXT)
@version_option()
@shared
@click.pass_context
def main(context: click.Context) -> None:
    """Build either experiment's network on AWS, and take it away again.

    Nothing is stored on this machine: a deployment is recognised by its tags, so any operator can go on where
    another stopped. The options can be given before or after the command.
    """
    context.ensure_object(Settings)


def _engine(settings: Settings, screen: Screen, *, bundle: str = "") -> Engine:
    """What brings a deployment into being and reads it."""
    topology, deployment = settings.loaded(), settings.deployment()
    cloud = settings.connect(settings.profile)
    home = topology.regions[0]
    account = cloud.account(home)
    graph = desired(topology, deployment, account, lambda: _bundle(bundle, topology, screen))
    return Engine(View(cloud, deployment, home, account, graph), screen.event)


def _remover(settings: Settings, screen: Screen) -> Engine:
    """What takes a deployment away: by its name alone, for its topology may be another one by now, or lost."""
    deployment = Deployment(settings.called)
    cloud = settings.connect(settings.profile)
    return Engine(View(cloud, deployment, cloud.home, cloud.account(cloud.home)), screen.event)


@contextmanager
def _told_what_stands(settings: Settings, engine: Engine) -> Iterator[None]:
    """Add to a failure what stands, what that costs, and the two commands: to go on, and to take it away."""
    try:
        yield
    except ProvisionError as error:
        lines = standing(engine)
        for line in lines:
            error.add_note(line)
        error.add_note(f"to go on: {shlex.join(['provision', *sys.argv[1:]])}")
        if lines == [NOTHING_STANDS]:
            raise
        down = ["provision", "down", "--name", engine.view.deployment.name]
        if settings.profile:
            down += ["--profile", settings.profile]
        error.add_note(f"to take it away: {shlex.join(down)}")
        raise


def _bundle(file: str, topology: Topology, screen: Screen) -> bytes:
    if file:
        try:
            return Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(
                "--bundle", f"{file}: {error.strerror}", "give an archive made by an earlier run"
            ) from error
    checkout = _CHECKOUT if (_CHECKOUT / "pyproject.toml").exists() else None
    screen.say(f"building the software bundle from this {'checkout' if checkout else 'installation'}")
    pythons = sorted({python_version(host.image) for host in topology.host})
    return bundles.build(checkout, pythons)


def _agree(settings: Settings, question: str) -> None:
    if settings.yes:
        return
    if settings.json or not sys.stdin.isatty():
        raise ConfigError("--yes", "is missing", "without a terminal to ask on, changes need --yes")
    click.confirm(question, abort=True, err=True)


@main.command()
@shared
@click.pass_obj
def plan(settings: Settings) -> None:
    """Show what `up` would do. Changes nothing."""
    screen = Screen(as_json=settings.json)
    engine = _engine(settings, screen)
    engine.read()
    steps = engine.plan()
    screen.plan(steps)
    _warn(settings.loaded(), engine, screen)
    preflight(engine.view, _to_make(steps))


def _to_make(steps: Sequence[Step]) -> set[str]:
    return {step.key for step in steps if step.verb in ("create", "replace")}


def _warn(topology: Topology, engine: Engine, screen: Screen) -> None:
    """Tell what can be built and will not do all that was hoped for."""
    if topology.monitors and (names := unscraped(topology)):
        screen.say(f"not scraped: {', '.join(names)}: no monitor stands in their site or a peered one; add a peering")
    if topology.expires and expiry(topology.expires) <= dt.datetime.now(dt.UTC):
        screen.say(f"expired: {topology.expires} is past; give a later --expires, or `provision down`")
    elif (end := expires_at(engine.view.found.values())) and end <= dt.datetime.now(dt.UTC):
        screen.say(f"expired: it was to end {end.isoformat()}; `up` with a later --expires, or `provision down`")
    if stop := _stop(topology, engine):
        screen.say(
            f"hosts power themselves off after {stop.isoformat()}; volumes, addresses and the bucket stay, and cost, "
            "until `provision down` or `provision reap`"
        )


def _stop(topology: Topology, engine: Engine) -> dt.datetime | None:
    """When hosts power themselves off: as it is wished now, or where nothing is, as the standing ones were told."""
    if topology.expires:
        return expiry(topology.expires) if topology.stop_at_expiry else None
    return stops_at(engine.view.found.values())


@main.command()
@shared
@click.option("--bundle", default="", metavar="FILE", help="Software bundle to use instead of building one.")
@click.option("--wait", "wait_seconds", type=Span(minimum=0), default=0, help="Wait until every host says it is ready.")
@click.pass_obj
def up(settings: Settings, bundle: str, wait_seconds: float) -> None:
    """Build the deployment, complete a half-built one, or mend what was changed by hand."""
    screen = Screen(as_json=settings.json)
    engine = _engine(settings, screen, bundle=bundle)
    engine.read()
    steps = engine.plan()
    if (stop := _stop(settings.loaded(), engine)) and stop <= dt.datetime.now(dt.UTC):
        raise ConfigError(
            "--expires", f"{stop.isoformat()} is past, and hosts power themselves off", "give a later one"
        )
    if steps:
        if not settings.json:
            screen.plan(steps)
        with _told_what_stands(settings, engine):
            preflight(engine.view, _to_make(steps))
        _agree(settings, "Apply?")
        with _told_what_stands(settings, engine), screen.progress(f"building {settings.called}", len(steps)):
            engine.apply()
    if wait_seconds:
        with _told_what_stands(settings, engine):
            _wait_ready(engine, wait_seconds)
    if settings.json:
        screen.plan(steps)
    else:
        done = "built" if steps else "nothing to do: everything is as the topology says"
        screen.say(f"{settings.called}: {done}; `provision status` tells when the hosts are ready")


def _wait_ready(engine: Engine, seconds: float) -> None:
    hosts = [found for key, found in sorted(engine.view.found.items()) if key.startswith("host/")]

    def all_ready() -> bool | None:
        for host in hosts:
            report = host_report(engine.view, host)
            if report.state != "ready":
                waiting[0] = f"{host.key} is {report.state} {report.text}".rstrip()
                # The two ends of a WireGuard tunnel learn each other's key only by a further pass.
                if report.wireguard_key:
                    engine.apply()
                return None
        return True

    waiting = [""]
    try:
        engine.view.cloud.wait("hosts", "ready", all_ready, seconds, pause=5.0)
    except PendingError as error:
        raise PendingError(f"hosts: not ready after {seconds:g} s: {waiting[0]}; see `provision status`") from error


@main.command()
@shared
@click.pass_obj
def status(settings: Settings) -> None:
    """Show every resource, and what each host says about itself."""
    screen = Screen(as_json=settings.json)
    engine = _engine(settings, screen)
    engine.read()
    view = engine.view
    rows = []
    for key, node in view.nodes.items():
        found = view.found.get(key)
        row = {"key": key, "region": node.region, "id": found.id if found else "", "state": "missing", "detail": ""}
        if found:
            row["state"] = _state(found.facts)
            if node.kind == "instance":
                report = host_report(view, found)
                public = found.facts.get("PublicIpAddress", "no public address")
                row["detail"] = f"{found.facts.get('PrivateIpAddress')} {public}; {report.state} {report.text}".rstrip()
            elif node.kind == "elastic-ip":
                row["detail"] = found.facts.get("PublicIp", "")
        rows.append(row)
    rows += [
        {"key": found.key, "region": found.region, "id": found.id, "state": "surplus", "detail": "`up` removes it"}
        for found in view.surplus
    ]
    if settings.json:
        screen.result(rows)
    else:
        screen.table(settings.called, ("key", "region", "id", "state", "detail"), [tuple(row.values()) for row in rows])
        _warn(settings.loaded(), engine, screen)
        _tell_elsewhere(view, screen)


def _state(facts: Any) -> str:
    state = facts.get("State") or facts.get("Status") or "present"
    return str(state.get("Name") or state.get("Code") if isinstance(state, dict) else state)


@main.command()
@shared
@click.pass_obj
def down(settings: Settings) -> None:
    """Remove everything that carries the deployment's tags, in whatever region, and look again at every one."""
    screen = Screen(as_json=settings.json)
    engine = _remover(settings, screen)
    view = engine.view
    found = engine.standing()
    if found:
        for item in found:
            screen.say(f"- remove {item.key} ({item.region}): {item.id}")
        _agree(settings, f"Remove these {len(found)} resources?")
        with _told_what_stands(settings, engine), screen.progress(f"removing {settings.called}", len(found)):
            engine.remove()
    if settings.json:
        places = {"regions": list(view.seen), "unseen": dict(view.unseen), "others": dict(view.others)}
        screen.result({"removed": [item.id for item in found], "left": [], **places})
    else:
        screen.say(f"{settings.called}: nothing is left by tag in {', '.join(view.seen)}")
        _tell_elsewhere(view, screen)


def _tell_elsewhere(view: View, screen: Screen) -> None:
    """Where nobody lets us look, and what else stands in the account under other names."""
    if view.unseen:
        withheld = ", ".join(f"{region} ({code})" for region, code in view.unseen.items())
        screen.say(f"not looked at, for the credentials may not: {withheld}")
    for name, regions in view.others.items():
        screen.say(f"another deployment stands: {name} in {', '.join(regions)}; `provision down --name {name}`")


@main.command()
@shared
@click.pass_obj
def reap(settings: Settings) -> None:
    """Take the deployment away if its expiry is past, and else leave it. For a scheduler: it never asks."""
    screen = Screen(as_json=settings.json)
    engine = _remover(settings, screen)
    found = engine.standing()
    end = expires_at(found)
    due = end is not None and end <= dt.datetime.now(dt.UTC)
    if due:
        with _told_what_stands(settings, engine), screen.progress(f"removing {settings.called}", len(found)):
            engine.remove()
    if settings.json:
        when = end.isoformat() if end else None
        screen.result({"expires": when, "removed": [item.id for item in found] if due else []})
    elif due:
        screen.say(f"{settings.called}: expired and removed, {len(found)} resources")
    else:
        screen.say(
            f"{settings.called}: {f'stays until {end.isoformat()}' if end else 'has no expiry'}, nothing removed"
        )


@main.command()
def policy() -> None:
    """Print the IAM policy with all the permissions that `provision` needs, and no other. Calls nothing."""
    click.echo(policy_text(), nl=False)


@main.command()
@shared
@click.option("--link-gb", type=Number(0), default=0.0, help="GB in 30 days over each link.")
@click.option("--overlay-gb", type=Number(0), default=0.0, help="GB in 30 days through the overlay, each way.")
@click.option("--proxy-gb", type=Number(0), default=0.0, help="GB in 30 days through the proxy, each way.")
@click.option("--internet-gb", type=Number(0), default=0.0, help="GB in 30 days from each public host to the internet.")
@click.pass_obj
def cost(settings: Settings, link_gb: float, overlay_gb: float, proxy_gb: float, internet_gb: float) -> None:
    """What the deployment costs per hour, day and 30 days. Calls nothing."""
    screen = Screen(as_json=settings.json)
    result = estimate(settings.loaded(), Traffic(link_gb, overlay_gb, internet_gb, proxy_gb))
    if settings.json:
        screen.result(_cost_json(result))
        return
    columns = ("item", "USD/h", "USD/day", "USD/GB", "GB/30 days", "USD/30 days")
    total = f"{result.hour:.4f}", f"{result.hour * 24:.2f}", "", "", f"{result.per_30_days:.2f}"
    screen.table(f"prices of {result.date}", columns, [*map(_cost_row, result.items), ("total", *total)])
    if result.nat_gateway:
        rows = [*map(_cost_row, result.nat_instance), *map(_cost_row, result.nat_gateway)]
        screen.table("NAT instance beside NAT gateway", columns, rows)
        pair = (sum(item.per_30_days for item in side) for side in (result.nat_instance, result.nat_gateway))
        screen.say("NAT instance {:.2f} USD, NAT gateway {:.2f} USD in 30 days".format(*pair))
    if result.surplus_hour:
        screen.say(
            f"t types in unlimited mode cost up to {result.surplus_hour:.4f} USD an hour more, for as long as their "
            "CPUs are busy beyond the baseline; --cpu-credits standard holds them at it instead"
        )
    screen.say(
        f"prices of {result.date}; those marked * are old or inferred. "
        f"The first {result.free_internet_gb:.0f} GB a month from an account to the internet are free and not "
        "subtracted. Taxes, S3 and metrics storage are left out."
    )


def _cost_row(item: Item) -> tuple[str, ...]:
    return (
        item.what + ("" if item.verified else " *"),
        "" if item.hour is None else f"{item.hour:.4f}",
        "" if item.hour is None else f"{item.hour * 24:.2f}",
        "" if item.per_gb is None else f"{item.per_gb:.3f}",
        f"{item.gb_per_30_days:g}" if item.per_gb is not None else "",
        f"{item.per_30_days:.2f}",
    )


def _cost_json(result: Estimate) -> dict[str, Any]:
    def lines(items: tuple[Item, ...]) -> list[dict[str, Any]]:
        return [
            {
                "item": item.what,
                "region": item.where,
                "hour": item.hour,
                "per_gb": item.per_gb,
                "gb_per_30_days": item.gb_per_30_days,
                "per_30_days": round(item.per_30_days, 4),
                "verified": item.verified,
            }
            for item in items
        ]

    return {
        "prices_date": result.date,
        "currency": result.currency,
        "hour": round(result.hour, 6),
        "surplus_credits_hour_at_most": round(result.surplus_hour, 6),
        "day": round(result.hour * 24, 4),
        "per_30_days": round(result.per_30_days, 4),
        "items": lines(result.items),
        "nat_instance": lines(result.nat_instance),
        "nat_gateway": lines(result.nat_gateway),
    }


@main.command()
@shared
@click.option("--local", is_flag=True, help="Leave out what the monitor host cannot reach.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write to a file instead of standard output.")
@click.pass_obj
def targets(settings: Settings, local: bool, output: str | None) -> None:
    """Prometheus file service discovery: every host's exporter with role, site and deployment labels. Calls nothing."""
    text = targets_text(settings.loaded(), settings.deployment().name, local=local)
    if output is None:
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text, encoding="utf-8")


@main.command()
@shared
@click.option("--bundle", default="", metavar="FILE", help="Software bundle to use instead of building one.")
@click.option("--host", "only", multiple=True, metavar="HOST", help="Deploy to these hosts only.  [default: all]")
@click.option("--identity", default="", metavar="FILE", help="Private key to log in with.")
@click.pass_obj
def deploy(settings: Settings, bundle: str, only: tuple[str, ...], identity: str) -> None:
    """Put new software on running hosts; all go back to the old one when a host does not become healthy."""
    screen = Screen(as_json=settings.json)
    engine = _engine(settings, screen)
    topology = settings.loaded()
    hosts = [choose(topology, name) for name in only] or list(topology.host)
    content = _bundle(bundle, topology, screen)
    _agree(settings, f"Deploy {len(content)} bytes to {', '.join(host.name for host in hosts)}?")
    engine.read()
    if not only and BUCKET not in engine.view.found:
        raise ProvisionError(
            f"{settings.called}: its bucket is missing, and with it what hosts boot from; run `up` first"
        )
    done: list[str] = []

    def report(host: Any, text: str) -> None:
        done.append(f"{host.name}: {text}")
        screen.say(done[-1])

    with Remote.connect(engine.view, topology, identity) as remote:
        remote.deploy(hosts, content, report)
    if not only:
        view = engine.view
        put_object(view, f"object/{BUNDLE_OBJECT}", view.found[BUCKET], BUNDLE_OBJECT, content)
    if settings.json:
        screen.result(done)


@main.command(context_settings={"ignore_unknown_options": False})
@shared
@click.argument("role")
@click.argument("command", nargs=-1)
@click.option("--identity", default="", metavar="FILE", help="Private key to log in with.")
@click.pass_obj
def ssh(settings: Settings, role: str, command: tuple[str, ...], identity: str) -> None:
    """Log in to a host, by role or name, or run a command there: `provision ssh receiver -- uptime`."""
    screen = Screen(as_json=settings.json)
    topology = settings.loaded()
    host = choose(topology, role)
    engine = _engine(settings, screen)
    engine.read()
    with Remote.connect(engine.view, topology, identity) as remote:
        code = remote.shell(host, command)
    if code:
        raise click.exceptions.Exit(code)


if __name__ == "__main__":
    main()
