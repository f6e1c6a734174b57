"""Whether an answer is the one that was expected. Pure."""

import re
from typing import Any

import msgspec

from daemons.configuration.probe import ExpectSection
from daemons.probe.attempt import AttemptError, Reason

__all__ = ["Expectation", "decoded", "field"]

_SHOWN_CHARACTERS = 60


def decoded(body: bytes) -> Any:
    """Decode a JSON body.

    RFC 8259, section 8.1, asks for UTF-8 and lets a byte-order mark be ignored; what is not UTF-8 is read as Latin-1,
    in which every byte is a character and the ASCII ones are the same, since some services still send it.

    Raises:
        ValueError: it is not JSON, or nested deeper than anything that is meant.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def field(document: Any, path: str) -> Any:
    """Look up a dotted path, such as ``data.0.symbol``, in decoded JSON.

    Raises:
        KeyError: there is no such field.
    """
    here = document
    for key in path.split("."):
        if isinstance(here, dict) and key in here:
            here = here[key]
        elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
            here = here[int(key)]
        else:
            raise KeyError(path)
    return here


class Expectation:
    """What a target is expected to answer."""

    def __init__(self, section: ExpectSection) -> None:
        self._section = section
        self._pattern = re.compile(section.regex.encode()) if section.regex else None

    def check(self, status: int, location: str, body: bytes) -> None:
        """Compare a response.

        Args:
            status: its status code.
            location: its ``location`` header, or nothing.
            body: whole.

        Raises:
            AttemptError: with reason ``redirect``, ``status`` or ``body``.
        """
        wanted = self._section
        if status not in wanted.status:
            codes = " or ".join(map(str, wanted.status))
            if 300 <= status < 400:
                raise AttemptError(
                    Reason.REDIRECT, f"{status} to {location or 'nowhere'} instead of {codes}; probe that URL instead"
                )
            raise AttemptError(Reason.STATUS, f"{status} instead of {codes}: {_shown(body)}")
        if self._pattern is not None and not self._pattern.search(body):
            raise AttemptError(Reason.BODY, f"{_shown(body)}: {wanted.regex!r} does not occur in it")
        if wanted.json_field:
            self._check_json(body)

    def _check_json(self, body: bytes) -> None:
        path, wanted = self._section.json_field, self._section.json_value
        try:
            found = field(decoded(body), path)
        except ValueError as error:
            raise AttemptError(Reason.BODY, f"{_shown(body)}: is not JSON: {error}") from error
        except KeyError as error:
            raise AttemptError(Reason.BODY, f"{_shown(body)}: has no field {path!r}") from error
        # True equals 1 in Python, but not in JSON.
        if wanted is not None and (found != wanted or isinstance(found, bool) is not isinstance(wanted, bool)):
            raise AttemptError(Reason.BODY, f"{path}: is {_cut(repr(found))} instead of {wanted!r}")


def _shown(body: bytes) -> str:
    text = body[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return repr(text) + ("…" if len(body) > _SHOWN_CHARACTERS else "")


def _cut(text: str) -> str:
    return text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")
