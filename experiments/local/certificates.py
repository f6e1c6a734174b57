"""An authority and a server certificate for one run of the demo."""

from pathlib import Path

from daemons.service.extra import require_extra

__all__ = ["certificates"]


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate for 127.0.0.1.

    Args:
        folder: where to put the files; the key is readable by its owner alone.

    Returns:
        The files of the authority, of the certificate with its chain, and of its key.

    Raises:
        MissingExtraError: the package that makes certificates is not installed.
    """
    require_extra("demo")
    import trustme  # noqa: PLC0415 only the demo needs it

    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    files = (folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(str(files[0]))
    chain = b"".join(part.bytes() for part in server.cert_chain_pems)
    files[1].write_bytes(chain)
    files[2].touch(mode=0o600)
    server.private_key_pem.write_to_path(str(files[2]))
    return files
