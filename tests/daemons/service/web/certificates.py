"""Certificates and a web configuration in a folder, for servers, curl and Prometheus."""

from pathlib import Path

import trustme

__all__ = ["HASH", "PASSWORD", "issue", "web_file"]

PASSWORD = "rasmuslerdorf"
HASH = "$2y$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi"
"""Of that password, by PHP's crypt(3): https://www.php.net/manual/en/function.crypt.php."""


def issue(authority: trustme.CA, folder: Path, name: str, *identities: str) -> None:
    """Write NAME.pem and NAME.key; the key for nobody else."""
    leaf = authority.issue_cert(*identities)
    leaf.private_key_pem.write_to_path(folder / f"{name}.key.new")
    (folder / f"{name}.key.new").chmod(0o600)
    (folder / f"{name}.pem.new").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    for kind in ("key", "pem"):
        (folder / f"{name}.{kind}.new").replace(folder / f"{name}.{kind}")


def web_file(folder: Path, text: str, mode: int = 0o600) -> str:
    """Write web.yml, as a whole."""
    made = folder / "web.yml.new"
    made.write_text(text)
    made.chmod(mode)
    return str(made.replace(folder / "web.yml"))
