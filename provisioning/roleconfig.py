"""The daemons' configuration files for each host: the one place where their keys are written down."""

import json
from collections.abc import Iterable, Mapping

from provisioning.firewall import METRICS_PORTS
from provisioning.overlay import File
from provisioning.targets import targets
from provisioning.topology import Archiving, Host, Topology

__all__ = ["role_files", "units_of"]

_KEY_FILE = "credential:link.key"
_SOCKET_PORT = 8080
"""What latency-receiver.socket listens on unless told otherwise."""


def units_of(host: Host) -> tuple[str, ...]:
    """The units that must be active for the host to be ready."""
    return {
        "forwarder": ("latency-forwarder.service",),
        "receiver": ("latency-receiver.service",),
        "probe": ("latency-probe.service",),
        "nat": ("latency-nic-exporter.service",),
        "proxy": ("latency-nic-exporter.service", "latency-proxy.service"),
        "monitor": ("prometheus.service",),
    }[host.role]


def role_files(
    topology: Topology,
    host: Host,
    deployment: str,
    outside: Mapping[str, str] | None = None,
    store: tuple[str, str] = ("latency-bucket", "eu-central-1"),
) -> list[File]:
    """The host's files under ``/etc/latency``; a monitor's list of what to scrape, which names the deployment.

    Args:
        topology: the whole.
        host: the host.
        deployment: the deployment's name.
        outside: the addresses that AWS chose, by the keys that :meth:`Topology.outside` tells;
            without them the keys stand there.
        store: the deployment's bucket and its region, for archives.
    """
    if host.role in ("nat", "proxy"):
        return [("/etc/latency/nic-exporter.json", 0o644, json.dumps({"listen": _metrics(topology, host)}) + "\n")]
    if host.role == "monitor":
        return [("/etc/prometheus/targets/deployment.json", 0o644, targets(topology, deployment, local=True))]
    if host.role == "probe":
        lines = _probe(topology, host)
    else:
        lines = {"forwarder": _forwarder, "receiver": _receiver}[host.role](topology, host, outside)
    if host.role == "receiver" and topology.archive is not None:
        lines += ["", *_archive(topology, topology.archive, host, store)]
    text = "\n".join([*lines, "", "[metrics]", f"listen = {_text(_metrics(topology, host))}", ""])
    files: list[File] = [(f"/etc/latency/{host.role}.toml", 0o644, text)]
    ports = sorted({link.port for link in topology.link if link.receiver == host.name})
    if ports and ports != [_SOCKET_PORT]:
        listens = "".join(f"ListenStream=0.0.0.0:{port}\nListenDatagram=0.0.0.0:{port}\n" for port in ports)
        drop_in = f"[Socket]\nListenStream=\nListenDatagram=\n{listens}"
        files.append(("/etc/systemd/system/latency-receiver.socket.d/ports.conf", 0o644, drop_in))
    return files


def _metrics(topology: Topology, host: Host) -> str:
    """Loopback, unless a monitor comes for them by the private address."""
    scraped = any(topology.peered(monitor.site, host.site) for monitor in topology.monitors)
    return f"{host.address if scraped else '127.0.0.1'}:{METRICS_PORTS[host.role]}"


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(value)


def _texts(values: Iterable[str]) -> str:
    return json.dumps(list(values))


def _forwarder(topology: Topology, host: Host, outside: Mapping[str, str] | None) -> list[str]:
    lines = ["[feed]", f"url = {_text(host.feed)}"]
    for link in topology.link:
        if link.forwarder == host.name:
            sender, listener = topology.ends(link, outside)
            lines += [
                "",
                "[[destination]]",
                f"address = {_text(f'{listener}:{link.port}')}",
                *([f"source_address = {_text(sender)}"] if sender == host.second_address else []),
                f"path_name = {_text(link.name)}",
                f"transport = {_text(link.transport)}",
                f"key_file = {_text(_KEY_FILE)}",
            ]
    return lines


def _receiver(topology: Topology, host: Host, outside: Mapping[str, str] | None) -> list[str]:
    lines: list[str] = []
    for link in topology.link:
        if link.receiver == host.name:
            sender, _ = topology.ends(link, outside)
            lines += [
                "[[path]]",
                f"name = {_text(link.name)}",
                'kind = "link"',
                # The address of latency-receiver.socket: the receiver takes the socket that systemd holds for it.
                f"listen = {_text(f'0.0.0.0:{link.port}')}",
                f"transport = {_text(link.transport)}",
                f"key_file = {_text(_KEY_FILE)}",
                f"allowed_sources = {_texts([f'{sender}/32'])}",
                "",
            ]
    if host.feed:
        lines += ["[[path]]", 'name = "direct"', 'kind = "feed"', f"url = {_text(host.feed)}"]
    return lines


def _archive(topology: Topology, archive: Archiving, host: Host, store: tuple[str, str]) -> list[str]:
    bucket, prefix = archive.place(host.name, store[0])
    lines = [
        "[archive]",
        'folder = "/var/lib/latency/archive"',
        f"retention_gigabytes = {archive.host_gigabytes!r}",
        f"upload = {_text(f's3://{bucket}/{prefix}'.rstrip('/'))}",
        f"upload_region = {_text(archive.upload_region or store[1])}",
    ]
    if topology.s3_endpoint:
        lines.append(f"upload_endpoint = {_text(topology.s3_endpoint)}")
    return lines


def _probe(topology: Topology, host: Host) -> list[str]:
    lines: list[str] = []
    for target in host.target:
        lines += ["[[target]]", f"name = {_text(target.name)}", f"url = {_text(target.url)}"]
        if target.resolve:
            name = target.url.split("://", 1)[1].split("/", 1)[0].split(":", 1)[0]
            lines += [f"resolve = {{ {_text(name)} = {_text(target.resolve)} }}"]
        if proxy := topology.proxy_of(host):
            lines.append(f"proxy = {_text(proxy)}")
        lines.append("")
    if topology.overlay is not None and host.name == topology.overlay.client:
        lines += ["[overlay]", f"peer = {_text(topology.overlay_ends(host)[1])}"]
    return lines
