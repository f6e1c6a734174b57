"""Writes the reference, manuals, completions and schemas: ``python -m reference.generate``."""

from pathlib import Path

from reference import completions, configuration, manuals, schemas

__all__ = ["FOLDERS", "files", "main"]

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs/reference", "man", "completions", "schemas")
"""What lies in these is generated, all of it."""


def files() -> dict[str, str]:
    """Return the text of every generated file by its name in the repository."""
    return {
        "docs/reference/configuration.md": configuration.page(),
        **{f"man/{name}": text for name, text in manuals.pages().items()},
        **{f"completions/{name}": text for name, text in completions.scripts().items()},
        **{f"schemas/{name}": text for name, text in schemas.schemas().items()},
    }


def main() -> None:
    """Write what has changed, and delete what is no more."""
    wanted = files()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and str(path.relative_to(ROOT)) not in wanted:
                path.unlink()
    for name, text in wanted.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
