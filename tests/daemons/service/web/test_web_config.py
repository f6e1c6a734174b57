"""What is taken, what is refused and how it is told; and what promtool, which has the toolkit's own parser, says."""

import random
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from daemons.errors import ConfigError
from daemons.service.web import web_config
from daemons.service.web.web_config import WebFile, load_web
from tests.daemons.service.web.certificates import HASH, issue, web_file

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
USERS = f"basic_auth_users:\n  prometheus: {HASH}\n"
VERIFY = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = trustme.CA()
    issue(authority, tmp_path, "server", "localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


GOOD = [
    "",
    "{}",
    TLS,
    USERS,
    TLS + USERS,
    TLS + VERIFY,
    TLS + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n",
    TLS + "  client_auth_type: NoClientCert\n",
    TLS + "  min_version: TLS13\n",
    TLS + "  min_version: TLS12\n  max_version: TLS12\n",
    "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
    f"basic_auth_users: {{a: {HASH}, 'ü': {HASH.replace('2y', '2b')}}}",
    f"basic_auth_users: {{123: {HASH}, 2026-11-30: {HASH}}}",
    # As in the toolkit's own tests.
    "http_server_config: {headers: {X-XSS-Protection: 1, X-Content-Type-Options: nosniff}}",
]


@pytest.mark.parametrize("text", GOOD, ids=range(len(GOOD)))
def test_what_the_toolkit_takes_is_taken(folder: Path, text: str) -> None:
    file = web_file(folder, text)
    checked = subprocess.run(["promtool", "check", "web-config", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    web = load_web("metrics.web_config_file", file)
    assert (web.tls is not None) == ("tls_server_config" in text)
    assert bool(web.users) == ("basic_auth_users" in text)
    if web.tls is not None:
        assert (web.tls.minimum_version is ssl.TLSVersion.TLSv1_3) == ("min_version: TLS13" in text)
        assert (web.tls.verify_mode is ssl.CERT_REQUIRED) == (VERIFY in text)


BAD = {
    # Where a user wrote it at the top, as public reports have it.
    "client_ca_file: ca.pem": "web.yml: client_ca_file: unknown key; it belongs into [tls_server_config]",
    "tls_config: {}": "web.yml: tls_config: unknown key; did you mean `tls_server_config`?",
    "tls_server_config: {cert_file: server.pem}": "web.yml: tls_server_config.key_file: is missing; add it",
    TLS + "  cipher_suites: [x]": "tls_server_config.cipher_suites: unknown key",
    TLS + "  min_version: TLS10": "tls_server_config.min_version: 'TLS10' is not known here; use TLS12 or TLS13",
    TLS + "  min_version: TLS13\n  max_version: TLS12": "tls_server_config.min_version: TLS13 is above max_version",
    TLS + "  client_auth_type: RequireAnyClientCert": "'RequireAnyClientCert' is not known here; use ",
    TLS + "  client_ca_file: ca.pem": "client_auth_type: NoClientCert asks for no certificate",
    TLS + "  client_auth_type: RequireAndVerifyClientCert": "client_ca_file: is missing; name the PEM file",
    TLS.replace("server.pem", "none.pem"): "none.pem: cannot be read: No such file or directory; paths are relative",
    TLS.replace("server.key", "none.key"): "none.key: cannot be read: No such file or directory",
    TLS.replace("server.key", "other.key"): "key values mismatch; give a PEM certificate chain and its own key",
    TLS.replace("server.pem", "web.yml"): "give a PEM certificate chain and its own key",
    TLS.replace("server.key", "locked.key"): "locked.key: is encrypted; give a key without a passphrase",
    TLS.replace("server.key", "open.key"): "open.key: is open to others (mode 0644); chmod 0600 it",
    TLS + VERIFY.replace("ca.pem", "server.key"): "server.key: holds no certificate; give a PEM file of authorities",
    TLS.replace("server.pem", "both.pem"): "cert_file: {folder}/both.pem: is open to others (mode 0644); chmod 0600 it",
    f"basic_auth_users: {{yes: {HASH}}}": "web.yml: basic_auth_users: a key is True, not text; write it in quotes",
    "http_server_config: {headers: {null: a}}": "headers: a key is None, not text; write it in quotes",
    "1: secret-word": "web.yml: 1: unknown key",
    f"basic_auth_users: {{'a:b': {HASH}}}": "'a:b' cannot be a user's name; use a name without a colon",
    "basic_auth_users: {a: secret-word}": "basic_auth_users.a: is no bcrypt hash; write what `htpasswd -nBC 10 NAME`",
    "basic_auth_users: {a: 123456789}": "basic_auth_users.a: is no bcrypt hash; write what `htpasswd -nBC 10 NAME`",
    f"basic_auth_users: {{a: {HASH.replace('$07$', '$17$')}}}": "a cost of 17 takes too long; use 10, and 16 at most",
    f"basic_auth_users: {{a: {HASH.replace('$07$', '$03$')}}}": "a: is no bcrypt hash",
    f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}": "web.yml:2: is not YAML: a key is given twice",
    "basic_auth_users:\n\ta: x": "web.yml:2: is not YAML: found character '\\t' that cannot start any token",
    "- secret-word": "web.yml: holds no table; write it as docs/security.md shows",
    "!!python/object/apply:os.system ['true']": "is not YAML: could not determine a constructor",
    "a: 2026-99-99": "web.yml: a: unknown key",
    "a: !!int x": "is not YAML (ValueError)",
    "[" * 3000: "is not YAML (RecursionError)",
    "http_server_config: {headers: {X-Own: a}}": "headers.X-Own: is no header that may be set; use Content-Security",
    "http_server_config: {headers: {X-Frame-Options: SAMEORIGIN}}": "'SAMEORIGIN' is not known here; use deny or ",
    "http_server_config: {headers: {X-Content-Type-Options: ''}}": "'' is not known here; use nosniff",
    'http_server_config: {headers: {X-XSS-Protection: "a\\nb"}}': "has characters that no header has",
}


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_is_wrong_is_told_with_cause_and_remedy_and_without_a_secret(folder: Path, number: int) -> None:
    text, message = list(BAD.items())[number]
    if "other" in text:
        issue(trustme.CA(), folder, "other", "localhost")
    (folder / "open.key").write_bytes((folder / "server.key").read_bytes())
    (folder / "both.pem").write_bytes((folder / "server.pem").read_bytes() + (folder / "server.key").read_bytes())
    for name in ("open.key", "both.pem"):
        # Whatever files are made with here.
        (folder / name).chmod(0o644)
    encrypt = ["openssl", "pkey", "-in", "server.key", "-aes256", "-passout", "pass:x", "-out", "locked.key"]
    if "locked" in text:
        subprocess.run(encrypt, check=True, capture_output=True, cwd=folder)
    with pytest.raises(ConfigError) as caught:
        load_web("metrics.web_config_file", web_file(folder, text))
    assert message.replace("{folder}", str(folder)) in str(caught.value)
    assert "secret-word" not in str(caught.value)
    assert HASH[10:] not in str(caught.value)


def test_a_file_open_to_others_and_one_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"metrics.web_config_file: .*is open to others"):
        load_web("metrics.web_config_file", web_file(folder, USERS, 0o644))
    with pytest.raises(ConfigError, match=r"metrics.web_config_file: .*cannot be read"):
        load_web("metrics.web_config_file", str(folder / "none.yml"))


def test_a_credential_of_systemd_has_its_files_beside_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web_file(folder, TLS)
    with pytest.raises(ConfigError, match="handed over by systemd"):
        load_web("metrics.web_config_file", "credential:web.yml")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert load_web("metrics.web_config_file", "credential:web.yml").tls is not None


@pytest.mark.parametrize("text", [TLS, TLS + VERIFY, TLS + "  max_version: TLS12\n", TLS + "  min_version: TLS13\n"])
@pytest.mark.parametrize("key_type", trustme.KeyType)
def test_a_certificate_out_of_time_is_taken_and_doubted(folder: Path, text: str, key_type: trustme.KeyType) -> None:
    authority, now, day = trustme.CA(), datetime.now(UTC), timedelta(days=1)
    spans = {"past": (now - 9 * day, now - day), "now": (now - day, now + day), "to come": (now + day, now + 9 * day)}
    said = {}
    for name, (begin, end) in spans.items():
        leaf = authority.issue_cert("localhost", not_before=begin, not_after=end, key_type=key_type)
        (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        (folder / "server.key").write_bytes(leaf.private_key_pem.bytes())
        said[name] = WebFile.of(web_file(folder, text)).doubts
    place = folder / "server.pem"
    assert said == {
        "past": (f"{place}: certificate has expired; renew it, or set the clock",),
        "now": (),
        "to come": (f"{place}: certificate is not yet valid; renew it, or set the clock",),
    }


def test_a_file_is_followed_and_a_bad_one_changes_nothing(folder: Path) -> None:
    web = WebFile.of(web_file(folder, USERS))
    first = web.current()
    assert web.current() is first
    web_file(folder, "nonsense: 1")
    assert web.current() is first
    web_file(folder, TLS + USERS)
    second = web.current()
    assert second.tls is not None
    # A renewed certificate, and for a moment the other's key.
    (folder / "server.pem").unlink()
    assert web.current() is second
    issue(trustme.CA(), folder, "server", "localhost")
    third = web.current()
    assert third is not second
    assert web.current() is third


def test_no_content_raises_anything_else(folder: Path) -> None:
    rng = random.Random(221)
    whole = (TLS + VERIFY + USERS + GOOD[10]).encode()
    pieces = [b"{", b"}", b"[", b"- ", b": ", b"&a ", b"*a", b"!!binary ", b"|\n", b"\xff", b"\x00", b"<<: *a", b"\n  "]
    told, good = list[str](), 0
    for _number in range(600):
        text = bytearray(whole)
        for _turn in range(rng.randrange(5)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(8)] = rng.choice(pieces)
        (folder / "web.yml").write_bytes(text)
        (folder / "web.yml").chmod(0o600)
        try:
            load_web("metrics.web_config_file", str(folder / "web.yml"))
        except ConfigError as error:
            told.append(str(error))
        else:
            good += 1
    assert not any(HASH[10:] in message for message in told)
    assert min(len(told), good) > 20


def test_the_bound_on_cost_is_what_the_documentation_says() -> None:
    assert f"of a cost of 4 to {web_config.MAX_COST}" in Path("docs/security.md").read_text()
