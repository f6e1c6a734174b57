"""A bucket of any S3: files go up whole or in parts, go on where they stopped, and are believed when they are proven.

What has arrived is known by the store alone, so that nothing but a file's own name is needed to go on after a restart.
Parts and wholes carry a SHA-256, which the store checks, and gives back; an object of which it gives back none, or
another, is read.
"""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from daemons.formats.archive.handover import UploadSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

__all__ = ["PART_BYTES", "Store", "UnprovenError"]

PART_BYTES = 16 << 20
"""Of a part; smaller files go in one piece. With 10,000 parts at most (Amazon S3 quotas), a file may have 160 GB."""
READ_BYTES = 1 << 20
_ABSENT = {"403", "404", "NoSuchKey", "NotFound", "AccessDenied", "Forbidden"}
"""Of an object that is not there; without the right to list a bucket, S3 says that it is forbidden."""


class UnprovenError(Exception):
    """A store has taken a file and then says otherwise."""


class Store:
    """A bucket.

    Args:
        settings: which.
        part_bytes: of a part.
    """

    def __init__(self, settings: UploadSettings, part_bytes: int = PART_BYTES) -> None:
        self._settings = settings
        self._part_bytes = part_bytes
        self._s3 = _client(settings)

    def put(self, file: Path, relative: str) -> str:
        """Bring a file into the bucket, as far as it is not there; return its proven check sum.

        Args:
            file: the file.
            relative: its name behind the prefix.

        Raises:
            UnprovenError: what arrived is not what was sent.
            botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: the store failed.
            OSError: the file cannot be read.
        """
        key = self._settings.prefix + relative
        size, digests = file.stat().st_size, _digests(file, self._part_bytes)
        checksum = _whole(digests)
        if not self._proven(key, file, size, checksum):
            if len(digests) == 1:
                self._put_whole(key, file, checksum)
            else:
                self._put_parts(key, file, digests)
            if not self._proven(key, file, size, checksum, sent=True):
                raise UnprovenError(f"{key}: the store has not what it was sent")
        return checksum

    def _put_whole(self, key: str, file: Path, checksum: str) -> None:
        self._s3.put_object(Bucket=self._settings.bucket, Key=key, Body=file.read_bytes(), ChecksumSHA256=checksum)

    def _put_parts(self, key: str, file: Path, digests: list[bytes]) -> None:
        bucket = self._settings.bucket
        upload = self._begun(key)
        if upload is None:
            made = self._s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")
            upload = made["UploadId"]
        there = self._parts(key, upload)
        with file.open("rb") as handle:
            for number, digest in enumerate(digests, 1):
                checksum = _text(digest)
                body = handle.read(self._part_bytes)
                if _is_there(there.get(number), body, checksum):
                    continue
                sent = self._s3.upload_part(
                    Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, ChecksumSHA256=checksum
                )
                there[number] = {"ETag": sent["ETag"], "ChecksumSHA256": checksum}
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": there[number]["ETag"], "ChecksumSHA256": _text(digest)}
            for number, digest in enumerate(digests, 1)
        ]
        self._s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})

    def _begun(self, key: str) -> str | None:
        """Find the newest upload of a key that was begun and not completed; older ones go."""
        bucket = self._settings.bucket
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
        found = [one for page in pages for one in page.get("Uploads", []) if one["Key"] == key]
        found.sort(key=lambda one: one["Initiated"])
        for one in found[:-1]:
            self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=one["UploadId"])
        return found[-1]["UploadId"] if found else None

    def _parts(self, key: str, upload: str) -> dict[int, Any]:
        pages = self._s3.get_paginator("list_parts").paginate(Bucket=self._settings.bucket, Key=key, UploadId=upload)
        return {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}

    def _proven(self, key: str, file: Path, size: int, checksum: str, *, sent: bool = False) -> bool:
        """Say whether the store has a file, all of it; once it was sent, a store that does not know it has failed."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 of an extra

        try:
            made = self._s3.head_object(Bucket=self._settings.bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if not sent and error.response["Error"].get("Code") in _ABSENT:
                return False
            raise
        head = cast("dict[str, Any]", made)
        if head["ContentLength"] != size:
            return False
        # Stores differ in what they say of an object in parts; what they hold is what counts.
        return head.get("ChecksumSHA256") == checksum or self._read_back(key, file)

    def _read_back(self, key: str, file: Path) -> bool:
        body = self._s3.get_object(Bucket=self._settings.bucket, Key=key)["Body"]
        with file.open("rb") as handle:
            for piece in body.iter_chunks(READ_BYTES):
                if handle.read(len(piece)) != piece:
                    return False
            return not handle.read(1)


def _client(settings: UploadSettings) -> "S3Client":
    import boto3  # noqa: PLC0415 an archive that stays here needs none
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        connect_timeout=10,
        read_timeout=60,
        # Repeating is done a level above, where it goes on with what is missing.
        retries={"total_max_attempts": 1},
        # The check sums that we give are enough; trailers are what other stores than AWS refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "auto" if settings.endpoint is None else "path"},
    )
    return boto3.client("s3", region_name=settings.region, endpoint_url=settings.endpoint, config=config)


def _is_there(part: Any, body: bytes, checksum: str) -> bool:
    """Say whether a store lists a part as it is; where it tells no check sum, by its ETag, mostly the MD5."""
    if part is None:
        return False
    if (said := part.get("ChecksumSHA256")) is not None:
        return bool(said == checksum)
    return bool(part["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest())


def _digests(file: Path, part_bytes: int) -> list[bytes]:
    """Return the SHA-256 of each part of a file."""
    with file.open("rb") as handle:
        return [_digest(handle, part_bytes) for _ in _parts_of(file.stat().st_size, part_bytes)]


def _digest(handle: BinaryIO, part_bytes: int) -> bytes:
    made, left = hashlib.sha256(), part_bytes
    while left and (piece := handle.read(min(left, READ_BYTES))):
        made.update(piece)
        left -= len(piece)
    return made.digest()


def _parts_of(size: int, part_bytes: int) -> Iterator[int]:
    yield from range(0, max(size, 1), part_bytes)


def _whole(digests: list[bytes]) -> str:
    """Return what the store says of a whole object: of parts, the digest of their digests (S3, composite checksums)."""
    if len(digests) == 1:
        return _text(digests[0])
    return f"{_text(hashlib.sha256(b''.join(digests)).digest())}-{len(digests)}"


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
