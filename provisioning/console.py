"""What a host says about itself on its serial console, which only it can write and only the account's owner can read.

``bootstrap`` writes the lines; they carry what cannot be guessed from outside: that the daemons serve, the SSH host
keys, and the public half of a WireGuard key.
"""

import re
from dataclasses import dataclass, field

from provisioning.errors import AwsError
from provisioning.model import Found, View

__all__ = ["Report", "host_report", "parse"]

_LINE = re.compile(r"backbone-latency: (ready|failed|host-key|wireguard-key) ([^\r\n]+)")
_CLOUD_INIT_KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256) ([A-Za-z0-9+/]{40,}={0,2})")


@dataclass(slots=True)
class Report:
    """``state`` is ``ready``, ``failed`` or ``silent``; ``text`` the host's own words for it."""

    state: str = "silent"
    text: str = ""
    host_keys: set[str] = field(default_factory=set)
    wireguard_key: str = ""


def parse(output: str) -> Report:
    """Read a console; of contradicting lines the last counts. Nothing in it is executed or trusted beyond its form."""
    report = Report()
    for block in _CLOUD_INIT_KEYS.findall(output):
        report.host_keys.update(" ".join(match) for match in _KEY.findall(block))
    for what, text in _LINE.findall(output):
        if what in ("ready", "failed"):
            report.state, report.text = what, text.strip()
        elif what == "host-key" and (match := _KEY.fullmatch(text.strip())):
            report.host_keys.add(" ".join(match.groups()))
        elif what == "wireguard-key" and re.fullmatch(r"[A-Za-z0-9+/]{43}=", text.strip()):
            report.wireguard_key = text.strip()
    return report


def host_report(view: View, host: Found) -> Report:
    """Fetch and read the console of an instance."""
    try:
        answer = view.cloud.call(host.region, "ec2", "get_console_output", host.key, InstanceId=host.id, Latest=True)
    except AwsError as error:
        # Types before Nitro have no live console, only the copy made some minutes after boot.
        if error.code != "UnsupportedOperation":
            raise
        answer = view.cloud.call(host.region, "ec2", "get_console_output", host.key, InstanceId=host.id)
    return parse(str(answer.get("Output") or ""))
