"""Take out of AWS's answers what must not leave the account's owner: ids of accounts and people, addresses, keys.

The same value always becomes the same stand-in, so that what belongs together can still be seen.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["OWN_ACCOUNT", "Redaction"]

OWN_ACCOUNT = "111122223333"
"""The account of AWS's own examples."""

_PUBLISHERS = {"136693071363", "099720109477"}
"""Debian and Canonical: their account ids are public, and say where an image is from."""

_WITHHELD = {
    "UserData",
    "Body",
    "PublicKeyMaterial",
    "KeyFingerprint",
    "Output",
    "UserId",
    "SecretAccessKey",
    "SessionToken",
    "Credentials",
    "ClientToken",
    "DisplayName",
    "Owner",
    "HostId",
    "RequestId",
}
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_DASHED = re.compile(r"(?<=ec2-)\d{1,3}(?:-\d{1,3}){3}(?!\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){2,7}[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{1,4})*(?![\w:])")
_MAC = re.compile(r"(?<![\w:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![\w:])")
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_PERSON = re.compile(r"(arn:[\w-]+:(?:iam|sts)::\w*:(?:user|assumed-role|federated-user)/)[^\s\"',]+")
_KEY_ID = re.compile(r"(?<![A-Z0-9])(AKIA|ASIA|AIDA|AROA|AIPA|ANPA|AGPA)[A-Z0-9]{12,}(?![A-Z0-9])")
_ENCODED = re.compile(r"(Encoded authorization failure message: )\S+")


class Redaction:
    """Replaces alike over everything it is given.

    Args:
        account: the account's id.
        secrets: further texts that may stand nowhere, such as the operator's address; empty ones are left out.
    """

    def __init__(self, account: str, secrets: Mapping[str, str] | None = None) -> None:
        self._stand_ins: dict[str, str] = {account: OWN_ACCOUNT}
        self._secrets = {secret: stand_in for secret, stand_in in (secrets or {}).items() if secret}
        self._counts: dict[str, int] = {}

    def data(self, value: Any) -> Any:
        """A copy of nested data in JSON's types; what JSON lacks becomes text, bytes their length."""
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._field(str(name), item) for name, item in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.data(item) for item in value]
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, bytes):
            return f"{len(value)} bytes"
        return self.text(str(value))

    def text(self, text: str) -> str:
        """A text without ids, addresses and keys."""
        for secret, stand_in in self._secrets.items():
            text = text.replace(secret, stand_in)
        text = _ENCODED.sub(r"\1withheld", text)
        text = _PERSON.sub(r"\1operator", text)
        text = _KEY_ID.sub(lambda match: self._stand_in(match[0], f"{match[1]}EXAMPLE{{:09d}}"), text)
        text = _MAC.sub(lambda match: self._stand_in(match[0], "02:00:00:00:00:{:02x}"), text)
        text = _IPV6.sub(lambda match: self._ipv6(match[0]), text)
        text = _ADDRESS.sub(lambda match: self._address(match[0], "."), text)
        text = _DASHED.sub(lambda match: self._address(match[0], "-"), text)
        return _ACCOUNT.sub(lambda match: self._account(match[0]), text)

    def _field(self, name: str, value: Any) -> Any:
        if name not in _WITHHELD or value is None:
            return self.data(value)
        if isinstance(value, str | bytes):
            return f"withheld, {len(value)} {'bytes' if isinstance(value, bytes) else 'characters'}"
        return "withheld"

    def _account(self, number: str) -> str:
        if number in _PUBLISHERS:
            return number
        return self._stand_in(number, "4444{:08d}")

    def _address(self, text: str, separator: str) -> str:
        try:
            address = ipaddress.IPv4Address(text.replace(separator, "."))
        except ValueError:
            return text
        if not address.is_global:
            return text
        return self._stand_in(str(address), "198.51.100.{}").replace(".", separator)

    def _ipv6(self, text: str) -> str:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            return text
        return self._stand_in(str(address), "2001:db8::{:x}") if address.is_global else text

    def _stand_in(self, value: str, form: str) -> str:
        if value not in self._stand_ins:
            self._counts[form] = self._counts.get(form, 0) + 1
            self._stand_ins[value] = form.format(self._counts[form])
        return self._stand_ins[value]
