"""Commands by a real ssh, to a real sshd on loopback."""

import asyncio
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.hosts.leashed import leash, leashed
from experiments.hosts.shell import HostError, LocalShell, SshShell, fetch_folder, must, run
from tests.experiments.hosts.sshd import Sshd, sshd
from tests.processes import until

pytestmark = pytest.mark.process

PROGRAMS = str(Path(sys.prefix) / "bin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("ssh") / "sshd") as found:
        yield found


@pytest.fixture
def shell(server: Sshd) -> SshShell:
    return SshShell(server.config, "tokyo")


def test_words_arrive_as_they_were_and_input_and_output_come_through(shell: SshShell) -> None:
    words = ["two words", "$HOME", "a'b", "*"]
    script = "import sys; print(sys.argv[1:]); print(sys.stdin.read())"
    done = asyncio.run(run(shell, [f"{PROGRAMS}/python", "-c", script, *words], content=b"content"))
    assert done.output.decode().splitlines() == [str(words), "content"]


def test_a_command_that_fails_is_told_with_its_words(shell: SshShell) -> None:
    with pytest.raises(HostError, match=r"host tokyo: `cat /no/such` ended with 1: cat: /no/such: No such file"):
        asyncio.run(must(shell, ["cat", "/no/such"]))


def test_a_command_that_does_not_end_is_given_up(shell: SshShell) -> None:
    with pytest.raises(HostError, match=r"`sleep 60` did not end within 0.5 s"):
        asyncio.run(run(shell, ["sleep", "60"], timeout_seconds=0.5))


def test_a_host_with_another_key_is_not_logged_in_to(server: Sshd, tmp_path: Path) -> None:
    for name, keys in (("unknown", ""), ("changed", server.known_hosts.read_text().split("ssh-ed25519")[0] + KEY)):
        known = tmp_path / f"{name}_hosts"
        known.write_text(keys)
        config = tmp_path / name
        config.write_text(server.config.read_text().replace(str(server.known_hosts), str(known)))
        with pytest.raises(HostError, match=r"cannot be logged in to: .*Host key verification failed") as caught:
            asyncio.run(run(SshShell(config, "tokyo"), ["true"]))
        assert caught.value.unreachable


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI\n"


def test_a_folder_is_fetched_whole(shell: SshShell, tmp_path: Path) -> None:
    (tmp_path / "there/below").mkdir(parents=True)
    (tmp_path / "there/below/rows.csv").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "here").mkdir()
    asyncio.run(fetch_folder(shell, str(tmp_path / "there"), tmp_path / "here"))
    assert (tmp_path / "here/below/rows.csv").read_bytes() == bytes(range(256)) * 5000
    with pytest.raises(HostError, match=r"/no/such cannot be fetched: .*it is still there: copy it by hand"):
        asyncio.run(fetch_folder(shell, "/no/such", tmp_path / "here"))


def packed(file: Path, *, name: str = "rows.csv", kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(file, "w:gz") as tar:
        folder = tarfile.TarInfo("below")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(folder)
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        member.size = 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"rows"))
    return file


def fetched(archive: Path, local: Path) -> None:
    local.mkdir()
    asyncio.run(fetch_folder(LocalShell(), "", local, prefix=("sh", "-c", f"cat {archive}")))


@pytest.fixture(params=["filters", "before 3.11.4"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What this Python knows of unpacking: Debian 12's has no filters."""
    if request.param != "filters":
        monkeypatch.delattr(tarfile, "data_filter")
        monkeypatch.setattr(tarfile.TarFile, "extractall", lambda _tar, _path: pytest.fail("without a filter"))
    return str(request.param)


@pytest.mark.usefixtures("python")
def test_a_folder_is_unpacked_with_every_python(tmp_path: Path) -> None:
    fetched(packed(tmp_path / "good.tar.gz", name="below/rows.csv"), tmp_path / "here")
    assert (tmp_path / "here/below/rows.csv").read_text() == "rows"


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../escaped", tarfile.REGTYPE, ""),
        ("below/../../escaped", tarfile.REGTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("link", tarfile.SYMTYPE, "../../escaped"),
        ("hard", tarfile.LNKTYPE, "../escaped"),
    ],
)
def test_what_would_lie_elsewhere_is_refused(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    archive = packed(tmp_path / "bad.tar.gz", name=name, kind=kind, link=link)
    with pytest.raises(HostError, match=r"cannot be unpacked here: .*it is still there: copy it by hand"):
        fetched(archive, tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} == {"here", "bad.tar.gz"}


def test_a_program_ends_when_it_is_let_go_of(shell: SshShell, tmp_path: Path) -> None:
    marker = tmp_path / "ended"
    script = (
        "import pathlib, signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print('held', flush=True)\n"
        f"signal.sigwait([signal.SIGTERM]); pathlib.Path({str(marker)!r}).touch(); raise SystemExit(9)"
    )

    async def hold() -> int:
        async with leashed(shell, [*leash(PROGRAMS), f"{PROGRAMS}/python", "-c", script]) as program:
            assert await program.said("held", 20)
            assert not marker.exists()
            return await program.let_go()

    assert asyncio.run(hold()) == 9
    until(marker.exists, "the program has ended")
