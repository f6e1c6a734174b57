"""Archives in buckets: of a prefix of S3 the files that a question is about are brought here, and no others."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemons.formats.archive.layout import SegmentName, parse
from daemons.service.extra import require_extra
from experiments.archive.selection import Selection, day_has_part_of, wanted_by
from experiments.errors import InputError
from experiments.scratch import scratch_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Bucket", "Source", "at_hand"]

_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_AT_ONCE = 8
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket, under which an archive lies; ``prefix`` is empty, or ends in a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def name(self) -> str:
        """The last part of its name, as of a folder."""
        return Path(self.prefix).name or self.bucket


class Source(click.Path):
    """A file, a folder, or ``s3://BUCKET/PREFIX``, as a :class:`pathlib.Path` or a :class:`Bucket`."""

    def convert(  # type: ignore[override]
        self, value: "str | os.PathLike[str]", param: click.Parameter | None, ctx: click.Context | None
    ) -> "Path | Bucket":
        """Convert what was given."""
        text = os.fspath(value)
        if not text.startswith("s3:"):
            return Path(os.fsdecode(super().convert(value, param, ctx)))
        if (found := _URL.fullmatch(text)) is None:
            self.fail(f"{text!r} is no bucket; write s3://BUCKET or s3://BUCKET/PREFIX", param, ctx)
        prefix = (found["prefix"] or "").strip("/")
        return Bucket(found["bucket"], f"{prefix}/" if prefix else "")


@contextmanager
def at_hand(source: "Path | Bucket", selection: Selection, paths: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a source as a file or folder of this machine: what is selected of a bucket is here as long as this lasts.

    Raises:
        InputError: the bucket cannot be read, has no such files, or this machine has no room for them.
        MissingExtraError: boto3 is not installed.
    """
    if isinstance(source, Path):
        yield source
        return
    require_extra("aws")
    with tempfile.TemporaryDirectory(prefix="experiment-", dir=scratch_folder()) as place:
        folder = Path(place, source.name)
        try:
            _bring(source, folder, selection, paths)
            yield folder
        except InputError as error:
            if not str(error.path).startswith(place):
                raise
            # Nobody knows the folder; what is wrong with its files is wrong in the bucket.
            raise InputError(
                str(source) + str(error.path).removeprefix(str(folder)).lstrip("/"), error.line, error.why, error.remedy
            ) from error


def _bring(source: Bucket, folder: Path, selection: Selection, paths: tuple[str, ...]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 of an extra

    remedy = "see that the bucket is there, and that these credentials may list and read it (docs/archive.md)"
    try:
        s3 = _client()
        wanted = dict(_objects(s3, source, selection, paths))
        if not wanted:
            raise InputError(
                str(source), None, "no such rows in the archive", "give another prefix, --from, --to or --path"
            )
        folder.mkdir()
        total, free = sum(wanted.values()), shutil.disk_usage(folder).free
        if total > free:
            why = f"{total / 1e9:.1f} GB are asked for, and {folder.parent.parent} has room for {free / 1e9:.1f} GB"
            raise InputError(str(source), None, why, "ask for less with --from, --to and --path, or set TMPDIR")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda name: _fetch(s3, source, folder, name, wanted[name]), wanted):
                pass
    except (BotoCoreError, ClientError) as error:
        raise InputError(str(source), None, f"cannot be read: {error}", remedy) from error
    except OSError as error:
        why = f"cannot be brought here: {error.strerror or error}"
        raise InputError(str(source), None, why, "make room, or set TMPDIR to another folder") from error


def _objects(s3: "S3Client", source: Bucket, selection: Selection, paths: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Name the files that may have selected rows behind the prefix, with their sizes; other days are not listed."""
    wanted = wanted_by(selection, paths)
    pages = s3.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=source.bucket, Prefix=f"{source.prefix}date=", Delimiter="/"):
        for day in page.get("CommonPrefixes", []):
            prefix = day.get("Prefix", "")
            if not day_has_part_of(prefix.removeprefix(source.prefix).rstrip("/"), selection):
                continue
            for listed in pages.paginate(Bucket=source.bucket, Prefix=prefix):
                for one in listed.get("Contents", []):
                    name: SegmentName | None = parse(one["Key"].removeprefix(source.prefix))
                    if name is not None and wanted(name):
                        yield name.relative, one["Size"]


def _fetch(s3: "S3Client", source: Bucket, folder: Path, name: str, size: int) -> None:
    try:
        body = s3.get_object(Bucket=source.bucket, Key=source.prefix + name)["Body"]
    except s3.exceptions.NoSuchKey:
        # A life-cycle rule came between: what has gone by now is no longer of the archive.
        return
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as sink:
        shutil.copyfileobj(body, sink, 1 << 20)
    if file.stat().st_size != size:
        why = f"{file.stat().st_size} bytes came of {size}"
        raise InputError(f"{source}{name}", None, why, "ask again; the file may just be replaced")


def _client() -> "S3Client":
    import boto3  # noqa: PLC0415 of an extra
    from botocore.config import Config  # noqa: PLC0415

    own = any(os.environ.get(name) for name in _ENDPOINTS)
    # Other stores than AWS are asked by paths: few have names for each bucket.
    style = Config(s3={"addressing_style": "path" if own else "auto"}, retries={"mode": "standard"})
    return boto3.Session().client("s3", config=style)
