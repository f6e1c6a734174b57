"""Documents: no link leads nowhere, every page can be found from the README, and what they say of the code is so."""

import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from reference.commands import PROGRAMS, commands

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"(?<![\w/.-])(docs/[\w/-]+\.md)")


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that headings get, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    text = prose(page)
    for target in LINK.findall(text):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme in ("https", "mailto"), target
            continue
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if parts.fragment:
            assert parts.fragment in anchors(file), target
    for name in NAMED.findall(text):
        assert (ROOT / name).exists(), name


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        text = page.read_text(encoding="utf-8")
        linked = [(page.parent / urlsplit(target).path).resolve() for target in LINK.findall(text)]
        waiting += [file for file in (*linked, *(ROOT / name for name in NAMED.findall(text))) if file.suffix == ".md"]
    assert set(PAGES) - reached == set()


def test_every_link_in_messages_of_the_programs_leads_somewhere() -> None:
    """What a command or a configuration file tells people to read is there."""
    listed = subprocess.run(
        ["git", "ls-files", "daemons", "experiments", "provisioning", "systemd", "prometheus", "grafana"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = 0
    for name in listed.stdout.splitlines():
        for document in NAMED.findall((ROOT / name).read_text(encoding="utf-8")):
            found += 1
            assert (ROOT / document).exists(), (name, document)
    assert found > 10


def section(page: str, heading: str) -> str:
    """The part of a page below a heading, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    text = (ROOT / page).read_text(encoding="utf-8")
    _before, found, after = f"\n{text}".partition(f"\n{heading}\n")
    assert found, (page, heading)
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_pictures_of_the_layers_are_those_that_imports_are_held_to() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    assert len(contracts) > 3
    for contract in contracts:
        picture = "\n".join(["```", *contract["containers"], *(f"  {layer}" for layer in contract["layers"]), "```"])
        assert picture in section("docs/architecture.md", "## Layers"), f"docs/architecture.md lacks:\n{picture}"


def test_no_walk_visits_a_file_twice() -> None:
    walks = re.split(r"^### ", section("docs/architecture.md", "## Walks"), flags=re.MULTILINE)[1:]
    assert [walk.partition("\n")[0] for walk in walks] == ["An event", "An attempt of the probe", "A row", "A resource"]
    for walk in walks:
        files = re.findall(r"^\d+\. `([^`]+)`: .", walk, re.MULTILINE)
        assert len(files) > 5
        assert sorted(set(files)) == sorted(files)
        assert [name for name in files if not (ROOT / name).is_file()] == []


def test_a_change_of_each_kind_begins_in_a_file_or_two_that_are_there() -> None:
    table = section("docs/changing.md", "# Where do I change …?")
    rows = re.findall(r"^\| (another .+|what .+?) \| (.+?) \| (.*?) ?\|$", table, re.MULTILINE)
    wanted = ("stream", "setting", "metric", "column", "alert", "panel", "resource")
    assert [word for word in wanted if not any(word in kind for kind, _, _ in rows)] == []
    for kind, change, then in rows:
        named = re.findall(r"`([\w./-]+)`", change)
        assert named, kind
        assert [name for name in re.findall(r"`([\w.-]+/[\w./-]*)`", change + then) if not (ROOT / name).exists()] == []


def test_every_decision_is_listed_and_says_why_and_what_follows() -> None:
    folder = ROOT / "docs/decisions"
    files = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    listed = re.findall(r"^- \[(\d+\. .+)\]\((.+)\)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for _, name in listed] == [path.name for path in files]
    for number, ((title, _), path) in enumerate(zip(listed, files, strict=True), 1):
        text = path.read_text(encoding="utf-8")
        assert path.name.startswith(f"{number:04d}-")
        assert title.startswith(f"{number}. ")
        assert re.findall(r"^#+ .+$", text, re.MULTILINE) == [
            f"# {title}",
            "## Context",
            "## Decision",
            "## Consequences",
        ]
        assert [name for name in re.findall(r"`([\w-]+/[\w./-]*)`", text) if not (ROOT / name).exists()] == []


def test_the_readme_names_every_program_and_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| program \| .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    rows = dict(row.split(" | ", 1) for row in table.splitlines()[2:])
    for program in PROGRAMS:
        assert any(f"`{program}`" in names for names in rows), program
    for command in commands():
        if len(command.words) == 2:
            program, name = command.words
            assert f"`{name}`" in rows[f"| `{program}`"], command.words
