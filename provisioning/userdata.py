"""User data: a shell script that puts files in place and starts the units that do the rest at every boot.

It is the same at every call, so that it can be part of a client token, and it holds no secret: anyone who may describe
the instance can read it.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from importlib import resources

from provisioning.errors import ProvisionError
from provisioning.overlay import File, overlay_files, prometheus_files, render, source
from provisioning.packages import packages, packages_wished
from provisioning.proxy import proxy_files, s3_host
from provisioning.roleconfig import role_files, units_of
from provisioning.topology import Host, Overlay, Topology

__all__ = ["MAX_BYTES", "digest", "host_files", "user_data"]

MAX_BYTES = 16384
"""EC2's limit before base64 (EC2 guide, "User data")."""

_MTU = {"ipip": 1480, "wireguard": 1420}
_HEAD = """#!/bin/sh
# {deployment}/{host}: written by provision; runs once, what it installs runs at every boot.
# To read it: sed '1,/^script=/d;/^{packed_end}/,$d' | base64 -d | gzip -d
set -eu
script=$(base64 -d <<'{packed_end}' | gzip -d
{packed}{packed_end}
)
eval "$script"
"""
_BEGIN = """root=${LATENCY_ROOT:-}
put() { mkdir -p "$root${2%/*}"; cat > "$root$2.new"; chmod "$1" "$root$2.new"; mv "$root$2.new" "$root$2"; }
"""
_END = "END_OF_LATENCY_FILE"
_PACKED_END = "END_OF_LATENCY_SCRIPT"


def user_data(
    topology: Topology,
    host: Host,
    deployment: str,
    bucket: str,
    bucket_region: str,
    objects: tuple[str, ...],
    outside: Mapping[str, str] | None = None,
    spare_bytes: int = 0,
) -> str:
    """The user data of a host.

    Args:
        topology: the whole.
        host: the host.
        deployment: the deployment's name.
        bucket: where its objects are.
        bucket_region: the bucket's region.
        objects: the keys of its objects.
        outside: the addresses that AWS chose for what its configuration names.
        spare_bytes: so much of EC2's limit is left free.

    Raises:
        ProvisionError: longer than EC2 takes.
    """
    lines = [_BEGIN]
    for path, mode, text in host_files(topology, host, deployment, bucket, bucket_region, objects, outside):
        lines.append(_put(path, mode, text))
    if host.role == "proxy":
        # The distribution's own unit would listen to everyone as soon as its package is there.
        lines.append("systemctl mask squid.service\n")
    lines.append("systemctl daemon-reload\n")
    lines += _overlay_lines(topology.overlay, host)
    # An image has one of them, and systemctl fails on a unit that it does not know.
    clock = 'if systemctl cat "$unit" >/dev/null 2>&1; then systemctl try-restart "$unit"; fi'
    lines.append(f"for unit in chrony.service systemd-timesyncd.service; do {clock}; done\n")
    lines.append("systemctl enable --now latency-expiry.timer\n")
    if host.second_address:
        lines.append("systemctl enable --now latency-second-address.service\n")
    lines.append("systemctl enable latency-bootstrap.service\nsystemctl start --no-block latency-bootstrap.service\n")
    # Together the files are a third of their size; one by one they were four fifths of EC2's limit.
    packed = base64.encodebytes(gzip.compress("".join(lines).encode(), mtime=0)).decode()
    script = _HEAD.format(deployment=deployment, host=host.name, packed=packed, packed_end=_PACKED_END)
    if len(script.encode()) > MAX_BYTES - spare_bytes:
        raise ProvisionError(
            f"host/{host.name}: user data is {len(script.encode())} bytes, EC2 takes {MAX_BYTES - spare_bytes}; "
            "use fewer targets"
        )
    return script


def _overlay_lines(overlay: Overlay | None, host: Host) -> list[str]:
    """Shell that starts what makes a host an end of the overlay."""
    if overlay is None or host.name not in (overlay.client, overlay.gateway):
        return []
    lines = []
    if host.name == overlay.gateway:
        lines.append("systemctl restart systemd-modules-load.service systemd-sysctl.service\n")
    lines.append("systemctl enable --now latency-filter.service\n")
    if overlay.tunnel:
        lines.append("systemctl enable systemd-networkd.service\nsystemctl restart systemd-networkd.service\n")
    else:
        lines.append("systemctl try-restart systemd-resolved.service\n")
    lines.append("systemctl enable latency-overlay.service\nsystemctl start --no-block latency-overlay.service\n")
    if host.name == overlay.client:
        # Debian's image lists every interface's servers there; the stub asks the overlay's alone.
        lines.append('ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"\n')
    return lines


def _put(path: str, mode: int, text: str) -> str:
    """Shell that puts a file in place."""
    assert _END not in text
    return f"put {mode:04o} {path} <<'{_END}'\n{text.rstrip()}\n{_END}\n"


def host_files(
    topology: Topology,
    host: Host,
    deployment: str,
    bucket: str,
    bucket_region: str,
    objects: tuple[str, ...],
    outside: Mapping[str, str] | None = None,
) -> list[File]:
    """Every file that user data puts on a host; for the arguments see :func:`user_data`."""
    overlay = topology.overlay
    tunnel = None
    if overlay is not None and host.name in (overlay.client, overlay.gateway):
        tunnel = {
            "kind": overlay.kind,
            "client": host.name == overlay.client,
            "interface": "latency0" if overlay.tunnel else "",
            "mtu": _MTU.get(overlay.kind, 0),
            "peer": topology.overlay_ends(host)[1],
        }
    config = {
        "host": host.name,
        "role": host.role,
        "bucket": bucket,
        "bucket_region": bucket_region,
        "endpoint": topology.s3_endpoint,
        "objects": list(objects),
        "units": list(units_of(host)),
        "extra": _extra(host),
        "packages": packages(host),
        "packages_wished": packages_wished(host),
        "proxy": topology.proxy_of(host),
        "serves": _serves(topology, host, s3_host(bucket, bucket_region)),
        "overlay": tunnel,
        "ptp": host.precision_time,
    }
    program = (resources.files("provisioning") / "bootstrap.py").read_text(encoding="utf-8")
    return [
        ("/usr/local/lib/latency/bootstrap", 0o755, f"#!/usr/bin/python3\n{program}"),
        ("/etc/latency/bootstrap.json", 0o644, json.dumps(config, indent=1)),
        *(
            (f"/etc/systemd/system/{unit}", 0o644, source(unit))
            for unit in ("latency-bootstrap.service", "latency-expiry.service", "latency-expiry.timer")
        ),
        (
            "/etc/chrony/conf.d/latency.conf",
            0o644,
            source("chrony-ptp.conf" if host.precision_time else "chrony.conf"),
        ),
        ("/etc/systemd/timesyncd.conf.d/latency.conf", 0o644, source("timesyncd.conf")),
        *_second_address(host),
        *overlay_files(topology, host),
        *proxy_files(topology, host, s3_host(bucket, bucket_region)),
        *role_files(topology, host, deployment, outside, (bucket, bucket_region)),
    ]


def _second_address(host: Host) -> list[File]:
    """The unit that gives a host the second address of its interface: images do so or not, as their makers please."""
    if not host.second_address:
        return []
    text = render(source("latency-second-address.service"), {"ADDRESS": host.second_address})
    return [("/etc/systemd/system/latency-second-address.service", 0o644, text)]


def _extra(host: Host) -> dict[str, tuple[str, int]]:
    """What of the bundle a role needs beside the daemons: name in the bundle, place on the host and mode."""
    if host.role in ("nat", "proxy"):
        extra = {
            "systemd/overlay/nic-exporter": ("/usr/local/lib/latency/nic-exporter", 0o755),
            "systemd/overlay/latency-nic-exporter.service": ("/etc/systemd/system/latency-nic-exporter.service", 0o644),
        }
        if host.role == "proxy":
            unit = "latency-proxy.service"
            extra[f"systemd/overlay/{unit}"] = (f"/etc/systemd/system/{unit}", 0o644)
        return extra
    if host.role == "monitor":
        return {name: (f"/etc/{name}", 0o644) for name in prometheus_files()}
    return {}


def _serves(topology: Topology, host: Host, bucket_host: str) -> dict[str, str]:
    """What a proxy looks at before it is ready: itself, and a place that it must refuse to everyone but the client."""
    if topology.proxy is None or host.name != topology.proxy.gateway:
        return {}
    return {"proxy": f"http://{host.address}:{topology.proxy.port}", "authority": f"{bucket_host}:443"}


def digest(files: list[File]) -> str:
    """A name of the files' paths, modes and contents."""
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()
