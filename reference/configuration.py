"""The configuration reference: every key of every file, as a page of the documentation."""

from collections.abc import Iterator

from reference.keys import FILES, File, Key, tables
from reference.marks import GENERATED
from reference.since import current, lists, place, since

__all__ = ["page"]


def page() -> str:
    """Return ``docs/reference/configuration.md``."""
    return "\n".join([*_head(), *(line for file in FILES for line in _file(file))])


def _head() -> Iterator[str]:
    yield GENERATED
    yield "# Configuration"
    yield ""
    yield "Every key of every file, from the types that the programs load them with."
    yield "An unknown key is an error, and so is a value of the wrong type; flags override files. `schemas/` holds a"
    yield "JSON Schema for each file: an editor that knows TOML (Even Better TOML, taplo) completes and checks by it"
    yield "when the file begins with `#:schema` and the schema's address."
    yield ""
    yield "A key that is a quantity has its unit in its name (`drain_seconds`, `buffer_total_bytes`) and takes a"
    yield "number of that unit, and so does an option such as `--far-delay-ms`. Spans such as `500ms`, `15m` or"
    yield "`1h30m` are for options without a unit in their name. A span in a file is refused, with the number to"
    yield "write: a value in a file is written in one way, which editors can check by the schema."
    yield ""
    for file in FILES:
        yield f"- [{file.name}](#{_anchor(file)}): {file.title}, `{file.read_by}`"
    yield ""


def _anchor(file: File) -> str:
    return file.name.replace(".", "")


def _file(file: File) -> Iterator[str]:
    released, version = lists(), current()
    yield f"## {file.name}"
    yield ""
    yield f"`{file.read_by}`: {file.title}."
    yield ""
    for table in tables(file):
        if not table.keys:
            continue
        yield f"### {f'`{table.header}`' if table.header else 'Before the first table'}"
        yield ""
        if table.header and table.meaning:
            yield _code(table.meaning)
            yield ""
        yield "| key | type | unit | default | since | meaning | example |"
        yield "|---|---|---|---|---|---|---|"
        for key in table.keys:
            release = since(place(file, table, key), released, version)
            yield "| " + " | ".join(_cell(text) for text in _row(key, release)) + " |"
        yield ""


def _row(key: Key, release: str) -> tuple[str, ...]:
    default = "**required**" if key.required else f"`{key.default}`" if key.default else "none"
    return (
        f"`{key.name}`",
        key.type.replace('"', "`"),
        key.unit,
        default,
        release,
        _code(key.meaning),
        f"`{key.example}`",
    )


def _cell(text: str) -> str:
    return text.replace("|", r"\|") or " "


def _code(text: str) -> str:
    return text.replace("``", "`")
