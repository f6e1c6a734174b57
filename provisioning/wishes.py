"""What the options ask for: a deployment by its name, and its topology."""

from pathlib import Path

from daemons.errors import ConfigError
from provisioning.loading import adjusted, default_name, deployment_name, load_topology
from provisioning.settings import Settings
from provisioning.topology import Access, Topology

__all__ = ["name_of", "topology_of"]


def name_of(settings: Settings) -> str:
    """Return the deployment's name: as given, or its topology's."""
    return deployment_name(settings.name) if settings.name else default_name(settings.topology)


def topology_of(settings: Settings) -> Topology:
    """Return the topology with the command line's wishes."""
    access = None
    if settings.ssh_from or settings.ssh_key:
        access = Access(ssh_from=settings.ssh_from, ssh_key=_key_text(settings.ssh_key))
    return adjusted(
        load_topology(settings.topology),
        types=_pairs("--instance-type", settings.instance_type, "ROLE=TYPE or HOST=TYPE"),
        image=settings.image,
        volume_gib=settings.volume_gib,
        precision_time=settings.precision_time,
        placement=_pairs("--placement", settings.placement, "ROLE=cluster or HOST=cluster"),
        cpu_credits=settings.cpu_credits,
        monitor=settings.monitor,
        overlay=settings.overlay,
        access=access,
        owner=settings.owner,
        expires=settings.expires,
        stop_at_expiry=settings.stop_at_expiry,
        tags=_pairs("--tag", settings.tag, "KEY=VALUE"),
    )


def _pairs(option: str, texts: tuple[str, ...], form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(option, f"{text!r} has no `=`", f"write {form}")
        if pairs.setdefault(name, value) != value:
            raise ConfigError(option, f"{name} is given twice", "give it once")
    return pairs


def _key_text(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--ssh-key", f"{file}: cannot be read: {error}", "give a public key's file") from error
