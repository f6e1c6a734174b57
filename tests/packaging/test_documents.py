"""Documents: no link leads nowhere, and every page can be found from the README."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

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
