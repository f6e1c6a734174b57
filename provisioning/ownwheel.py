"""The project's own wheel, made again from the installation that came from it: hosts get what runs here.

A wheel is its files and a list of their digests (binary distribution format, "Recording installed projects"); the
installer keeps the list, so a file that was changed since is noticed.
"""

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from pathlib import Path

from daemons.service.distribution import DISTRIBUTION
from daemons.service.shipped import shipped
from provisioning.errors import ProvisionError

__all__ = ["own_wheel"]

_WHEN = (2000, 1, 1, 0, 0, 0)
"""Time of all files, so that the same installation gives the same bytes."""
_MADE_BY_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def own_wheel() -> tuple[str, bytes]:
    """The wheel's name and content.

    Raises:
        ProvisionError: a file is missing or was changed after the installation.
    """
    distribution = importlib.metadata.distribution(DISTRIBUTION)
    stem = f"{DISTRIBUTION.replace('-', '_')}-{distribution.version}"
    files: dict[str, tuple[bytes, int]] = {}
    for recorded in distribution.files or []:
        name, place = _in_wheel(recorded, stem)
        if name and recorded.hash is not None:
            files[name] = _checked(place, recorded.hash.value)
    record = f"{stem}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, (content, _) in sorted(files.items())]
    files[record] = ("".join([*lines, f"{record},,\n"]).encode(), 0o644)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # The description of the wheel stands at its end (PEP 427).
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name)):
            content, mode = files[name]
            info = zipfile.ZipInfo(name, _WHEN)
            info.external_attr = (0o100000 | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return f"{stem}-py3-none-any.whl", packed.getvalue()


def _in_wheel(recorded: importlib.metadata.PackagePath, stem: str) -> tuple[str, Path]:
    """A recorded file's name in the wheel, or none, and its place here."""
    parts = recorded.parts
    if next((part for part in parts if part != ".."), "") == "share":
        # Manuals and completions lie beside what is ours alone.
        below = parts[parts.index("share") + 1 :]
        name = "/".join((f"{stem}.data", "data", "share", *below))
        return name, shipped("systemd").parents[1].joinpath(*below)
    # Commands are written by the installer, for its interpreter.
    generated = ".." in parts or "__pycache__" in parts or recorded.name in _MADE_BY_INSTALLERS
    return "" if generated else recorded.as_posix(), Path(str(recorded.locate()))


def _checked(place: Path, digest: str) -> tuple[bytes, int]:
    try:
        content = place.read_bytes()
        mode = 0o755 if place.stat().st_mode & 0o100 else 0o644
    except OSError as error:
        raise ProvisionError(
            f"{place}: {error.strerror}; install {DISTRIBUTION} again, or give --bundle FILE"
        ) from error
    if _digest(content) != digest:
        raise ProvisionError(
            f"{place}: was changed after the installation; install {DISTRIBUTION} again, or give --bundle FILE"
        )
    return content, mode


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
