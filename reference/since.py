"""Since which version a key is there: each release leaves a list of its keys in ``reference/released``.

``python -m reference.since`` writes the list of the version in ``pyproject.toml``, as a step of its release.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from reference.keys import FILES, File, Key, Table, tables

__all__ = ["current", "lists", "place", "since"]

RELEASED = Path(__file__).parent / "released"
NEXT = "next release"


def place(file: File, table: Table, key: Key) -> str:
    """Name a key wherever it stands."""
    return " ".join(part for part in (file.name, table.header, key.name) if part)


def lists(folder: Path = RELEASED) -> dict[str, frozenset[str]]:
    """Read the keys of each release, the oldest first."""
    found = {file.stem: frozenset(file.read_text(encoding="utf-8").splitlines()) for file in folder.glob("*.txt")}
    return dict(sorted(found.items(), key=lambda item: tuple(map(int, item[0].split(".")))))


def since(key: str, released: Mapping[str, frozenset[str]], version: str) -> str:
    """Say in which release a key came, or will come.

    Args:
        key: its place.
        released: the keys of each release, the oldest first.
        version: of the checkout; the one that will be released, unless it has been.
    """
    return next(
        (release for release, keys in released.items() if key in keys), NEXT if version in released else version
    )


def current() -> str:
    """Return the checkout's version."""
    project = tomllib.loads((RELEASED.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    version: str = project["project"]["version"]
    return version


def main() -> None:
    """Write the list of this version's keys."""
    keys = [place(file, table, key) for file in FILES for table in tables(file) for key in table.keys]
    RELEASED.mkdir(exist_ok=True)
    (RELEASED / f"{current()}.txt").write_text("\n".join(keys) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
