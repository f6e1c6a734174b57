"""The configuration files of the original Rust programs: flat JSON objects."""

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from daemons.decoding import UNDECODABLE
from daemons.errors import ConfigError

__all__ = ["FRANKFURT_FILE", "TOKYO_FILE", "FrankfurtFile", "TokyoFile", "load"]

TOKYO_FILE = "tokyo-config.json"
FRANKFURT_FILE = "frankfurt-config.json"
URL = "wss://stream.binance.com:9443/ws/btcusdt@bookTicker"


class TokyoFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``tokyo-config.json``; what it leaves out has the original program's default."""

    frankfurt_private_ip: str = ""
    frankfurt_port: int = 8080
    binance_ws_url: str = URL
    reconnect_max_delay_secs: float = 30.0


class FrankfurtFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``frankfurt-config.json``, likewise."""

    mode: Literal["baseline", "aws-backbone"] = "baseline"
    binance_ws_url: str = URL
    listen_port: int = 8080
    duration_secs: float = 300.0
    output_file: str = "results.json"


FileT = TypeVar("FileT", TokyoFile, FrankfurtFile)


def load(kind: type[FileT], file: Path | None, usual: str) -> FileT:
    """Read a file; without one, the usual one of the working directory if it is there, as the programs did.

    Raises:
        ConfigError: it cannot be read, is not JSON, or holds an unknown key or a value of the wrong type.
    """
    if file is None:
        file = Path(usual)
        if not file.exists():
            return kind()
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}", "give an existing, readable file") from error
    except UNDECODABLE as error:
        raise ConfigError(str(file), f"is no {usual}: {error}", "compare it with docs/original-programs.md") from error
