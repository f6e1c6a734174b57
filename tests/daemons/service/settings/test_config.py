import os
from pathlib import Path

import msgspec
import pytest

from daemons.errors import ConfigError
from daemons.sections import Section
from daemons.service.settings.config import LogSection, address, effective, load, networks, secret


class Inner(Section, frozen=True):
    listen: str
    depth: int = 1


class Outer(Section, frozen=True):
    path: tuple[Inner, ...] = ()
    log: LogSection = LogSection()


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "daemon.toml"
    file.write_text(text)
    return file


def test_a_file_is_read_and_flags_lie_over_it(tmp_path: Path) -> None:
    file = written(tmp_path, '[log]\nformat = "console"\nlevel = "debug"\n[[path]]\nlisten = "a:1"\n')
    config = load(Outer, file, {"log": {"format": "json", "level": None}})
    assert config == Outer(path=(Inner(listen="a:1"),), log=LogSection(format="json", level="debug"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[path]]\nlisten = 'a:1'\ndeepth = 2", "3: path[0].deepth: unknown key; did you mean `depth`?"),
        ("[[path]]\ndepth = 2", "1: path[0].listen: is missing; add it"),
        (
            "[[path]]\nlisten = 'a:1'\ndepth = 'x'",
            "3: path[0].depth: 'x' is text; write a whole number",
        ),
        ("zzz = 1", "1: zzz: unknown key; remove it; known here are path, log"),
        ("listen = 1", "1: listen: unknown key; remove it; known here are path, log"),
        ("[log]\nformat = 'xml'", "2: log.format: 'xml' is not known here; use auto, json or console"),
    ],
)
def test_a_bad_file_is_refused_with_the_key_and_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Outer, written(tmp_path, text), {})
    assert str(caught.value).replace(str(tmp_path), "DIR") == f"DIR/daemon.toml:{message}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 5000], ids=["deep", "long"])
def test_what_no_reader_of_toml_takes_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"is nested too deep|is not TOML: Exceeds the limit"):
        load(Outer, written(tmp_path, text), {})


def test_a_missing_file_and_bad_toml_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(Outer, tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match="is not TOML"):
        load(Outer, written(tmp_path, "= 3"), {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("h:1", ("h", 1)), ("[::1]:65535", ("::1", 65535)), ("127.0.0.1:0", ("127.0.0.1", 0))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address("--listen", text) == expected


@pytest.mark.parametrize(
    "text", ["h", "h:", ":1", "::1:80", "h:65536", "h:-1", "h:1x", "h:²", "a..b:1", ".b:1", f"{'a' * 64}:1"]
)
def test_bad_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        address("--listen", text)


def test_networks() -> None:
    assert [str(net) for net in networks("--allow", ("10.0.0.0/16", "::1"))] == ["10.0.0.0/16", "::1/128"]
    mapped = networks("--allow", ("::ffff:10.0.0.0/104", "::ffff:192.0.2.7", "::ffff:0:0/96", "::/0", "::/96"))
    assert [str(net) for net in mapped] == ["10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "::/0", "::/96"]
    with pytest.raises(ConfigError, match="host bits set"):
        networks("--allow", ("10.0.0.1/16",))


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "link.key"
    file.write_bytes(b"0123456789abcdef\n")
    file.chmod(0o600)
    assert secret("--key-file", str(file)).value == b"0123456789abcdef"
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret("--key-file", "credential:link.key").value == b"0123456789abcdef"
    for mode in (0o604, 0o640, 0o620, 0o601, 0o666):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=rf"is open to others \(mode {mode:04o}\); chmod 0600 it"):
            secret("--key-file", str(file))
    # What systemd hands over has an access list, which shows as the group's mode.
    file.chmod(0o440)
    assert secret("--key-file", "credential:link.key").value == b"0123456789abcdef"
    file.chmod(0o600)
    file.write_bytes(b"short")
    with pytest.raises(ConfigError, match="holds 5 bytes"):
        secret("--key-file", str(file))


def test_a_key_of_another_user_may_be_readable_by_its_group_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "link.key"
    file.write_bytes(b"0123456789abcdef\n")
    monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
    for mode, good in ((0o440, True), (0o640, True), (0o660, False), (0o644, False), (0o604, False)):
        file.chmod(mode)
        if good:
            assert secret("--key-file", str(file)).value == b"0123456789abcdef"
        else:
            with pytest.raises(ConfigError, match="is open to others"):
                secret("--key-file", str(file))


class Feed(Section, frozen=True, tag_field="kind", tag="feed"):
    url: str
    interval_seconds: float | None = None
    interface: str = ""


class Wire(Section, frozen=True, tag_field="kind", tag="wire"):
    port: int
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    hidden = ("headers",)


class Choice(Section, frozen=True):
    way: tuple[Feed | Wire, ...] = ()
    log: LogSection = LogSection()
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    on: bool = True


FEED = "[[way]]\nkind = 'feed'\nurl = ''\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # The nearest key by letters is another one than the one that was meant.
        (FEED + "interval = 5", "4: way[0].interval: unknown key; did you mean `interval_seconds`?"),
        (FEED + "seconds = 5", "4: way[0].seconds: unknown key; did you mean `interval_seconds`?"),
        ("[[way]]\nkimd = 'feed'\nurl = ''", "2: way[0].kimd: unknown key; did you mean `kind`?"),
        (FEED + "port = 1", '4: way[0].port: unknown key; remove it; only tables with kind = "wire" have it'),
        (
            FEED + "headerss = 1",
            "4: way[0].headerss: unknown key; remove it; known here are kind, url, interval_seconds, interface",
        ),
        (FEED + "URL = ''", "4: way[0].URL: unknown key; remove it; `url` is there already"),
        ("level = 'info'", "1: level: unknown key; it belongs into [log]"),
        (FEED + "interval_seconds = '5s'", "4: way[0].interval_seconds: '5s' is text; write 5, a number of seconds"),
        (
            FEED + "interval_seconds = '1h30m'",
            "4: way[0].interval_seconds: '1h30m' is text; write 5400, a number of seconds",
        ),
        (FEED + "interval_seconds = 'often'", "4: way[0].interval_seconds: 'often' is text; write a number"),
        ("on = 'yes'", "1: on: 'yes' is text; write true or false"),
        ("way = 'feed'", "1: way: 'feed' is text; write a list"),
        ("\n\n[log]\n\nlevel = 5", "5: log.level: 5 is a whole number; write text in quotes"),
        ("[[way]]\nkind = 'tcp'", "2: way[0].kind: 'tcp' is not known here; use feed or wire"),
        ("[[way]]\nurl = ''", "1: way[0].kind: is missing; add it"),
        ("[limits]\na = 1\nb = 'x'", "3: limits.b: 'x' is text; write a number"),
        (
            "[[way]]\nkind = 'wire'\nport = 1\n[way.headers]\nkey = 12345",
            "5: way[0].headers.key: *** is a whole number; write text in quotes",
        ),
    ],
)
def test_what_is_there_and_what_belongs_there_are_told_in_words(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Choice, written(tmp_path, text), {})
    assert str(caught.value).replace(str(tmp_path), "DIR") == f"DIR/daemon.toml:{message}"
    assert "12345" not in str(caught.value)


def test_what_a_flag_says_stands_on_no_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Choice, written(tmp_path, "[log]\nlevel = 'info'\n"), {"log": {"level": "loud"}})
    assert str(caught.value) == "log.level: 'loud' is not known here; use debug, info, warning or error"


def test_the_effective_configuration_says_of_which_kind_a_section_is(tmp_path: Path) -> None:
    config = load(Choice, written(tmp_path, FEED + "[[way]]\nkind = 'wire'\nport = 1\n"), {})
    assert [one["kind"] for one in effective(config)["way"]] == ["feed", "wire"]
