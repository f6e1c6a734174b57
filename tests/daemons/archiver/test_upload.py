"""Uploads to an S3 emulator (moto) behind a layer that fails, repeats, loses answers and lies."""

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import msgspec
import pytest
from moto.server import ThreadedMotoServer

from daemons.archiver import store as store_module
from daemons.archiver.confirmations import Confirmations
from daemons.archiver.retention import Retention
from daemons.archiver.store import Store
from daemons.archiver.stored import stored
from daemons.archiver.upload import Uploader
from daemons.formats.archive.handover import ArchiverReport, Setup, UploadSettings
from daemons.formats.archive.layout import DAY_NS, MINUTE_NS, SegmentName, escaped
from tests.daemons.archiver.desk import DAY

PART = 5 << 20
"""The smallest that S3 takes of all parts but the last."""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Layer(ThreadingHTTPServer):
    """Stands between the uploader and the emulator.

    Attributes:
        fault: names what is to go wrong with a request, or nothing.
        seen: requests that reached the emulator.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.rng = random.Random(0)
        self.odds = 0.0
        self.seen: Counter[str] = Counter()
        self.lies: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self) -> str:
        faults = ("fail", "lose", "repeat", "lie", "cut")
        return self.rng.choice(faults) if self.rng.random() < self.odds else ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent about connections that the uploader or a fault has cut."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Layer

    def log_message(self, *_arguments: object) -> None:
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault()
        if fault == "fail":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code><Message>later</Message></Error>")
            return
        status, headers, answer = self._asked(body)
        if fault == "repeat":
            status, headers, answer = self._asked(body)
        if fault in ("lose", "cut"):
            self.close_connection = True
            if fault == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n<half")
            return
        if self.command == "HEAD":
            headers |= self.server.lies
            if fault == "lie":
                headers["content-length"] = str(int(headers.get("content-length", 1)) // 2)
        self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 names of the library

    def _asked(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kind = "part" if "partNumber" in self.path else "object" if self.command == "PUT" else self.command.lower()
        self.server.seen[kind] += 1
        with_emulator = HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            with_emulator.request(self.command, self.path, body, dict(self.headers.items()))
            answer = with_emulator.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            with_emulator.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("content-length", str(len(body))) if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture(scope="module")
def emulator() -> Iterator[int]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")


@pytest.fixture
def layer(emulator: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layer]:
    for name, value in (
        ("ACCESS_KEY_ID", "testing"),
        ("SECRET_ACCESS_KEY", "testing"),
        ("DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    made = Layer(emulator)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


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


def test_parts_that_are_there_are_not_sent_again(
    tmp_path: Path, layer: Layer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = files_in(tmp_path, 4 * PART)
    one, _report, _confirmed = uploader(tmp_path, layer, bucket)
    asked = _Handler._asked

    def dying(self: _Handler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.server.seen["part"] == 2:
            raise ConnectionResetError
        return asked(self, body)

    monkeypatch.setattr(_Handler, "_asked", dying)
    one.work()
    assert (layer.seen["part"], bucket.content(), bucket.begun()) == (2, {}, 1)
    monkeypatch.undo()
    credentials(monkeypatch)
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
    asked = _Handler._asked

    def silent(self: _Handler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, headers, answer = asked(self, body)
        return status, {name: value for name, value in headers.items() if "checksum" not in name}, answer

    monkeypatch.setattr(_Handler, "_asked", silent)
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


def test_check_sums_of_parts_are_those_of_the_store() -> None:
    # As S3 documents composite checksums: of the parts' digests, with their number behind.
    assert store_module._whole([bytes(32)]) == "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert store_module._whole([bytes(32)] * 2).endswith("-2")
