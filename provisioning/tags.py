"""What AWS takes as a tag of everything that a deployment is made of: the narrowest of what its services take."""

import re
from collections.abc import Mapping

from daemons.errors import ConfigError

__all__ = ["check_tags", "merged"]

_VALUE = re.compile(r"[\w .:/=+\-@]{0,256}")
"""IAM's set of characters, for roles carry the tags too (IAM API reference, "Tag")."""
_KEY = re.compile(r"[0-9A-Za-z_+.@:-]{1,127}")
"""Hosts read their tags from their metadata, and then a launch with any other key is refused (EC2 guide, "Work with
instance tags in instance metadata")."""
_UNREADABLE_KEYS = (".", "..", "_index")
_KEYS_CHARACTERS = 256
"""One tag says which of the others are the operator's."""
_FURTHER_TAGS = 40
"""A resource has 50 at most; some are `provision`'s."""


def check_tags(owner: str, further: Mapping[str, str]) -> None:
    """Refuse what some service would refuse when networks stand already.

    Args:
        owner: the owner tag's value.
        further: the operator's own tags.

    Raises:
        ConfigError: the first thing wrong.
    """
    if not _VALUE.fullmatch(owner):
        raise ConfigError(
            "--owner",
            f"{owner[:40]!r} cannot be a tag",
            "use at most 256 letters, digits, spaces and . : / = + - @ _",
        )
    for key, value in further.items():
        _check_tag(key, value)
    # IAM tells keys apart without regard to case (IAM guide, "Tags for IAM resources").
    if len({key.lower() for key in further}) < len(further):
        raise ConfigError("--tag", "two keys differ only in case", "give one of them")
    if len("=".join(further)) > _KEYS_CHARACTERS or len(further) > _FURTHER_TAGS:
        raise ConfigError("--tag", "the keys are too many or too long", "use at most 40, of 256 characters in all")


def _check_tag(key: str, value: str) -> None:
    text = f"{key}={value}"[:60]
    if not _KEY.fullmatch(key) or key in _UNREADABLE_KEYS:
        raise ConfigError(
            "--tag", f"{text!r} has a key that hosts cannot read", "use at most 127 of A-Z a-z 0-9 - _ + . @ :"
        )
    if key.lower().startswith(("aws:", "latency:")) or key.lower() == "name" or value.lower().startswith("aws:"):
        raise ConfigError("--tag", f"{text!r} is AWS's or `provision`'s own to give", "use another key or value")
    if not _VALUE.fullmatch(value):
        raise ConfigError(
            "--tag", f"{text!r} cannot be a tag", "use at most 256 letters, digits, spaces and . : / = + - @ _ after ="
        )


def merged(standing: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The further tags that stand, with those given now over them.

    Raises:
        ConfigError: together they are too many.
    """
    written = {key.lower() for key in given}
    result = {**{key: value for key, value in standing.items() if key.lower() not in written}, **given}
    check_tags("", result)
    return result
