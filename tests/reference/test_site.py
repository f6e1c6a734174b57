"""The site: made strictly, complete, and whole without the internet."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reference.site import BESIDE, NAVIGATION, ROOT, STYLE, build, staged

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Loads(HTMLParser):
    """What a browser fetches by itself to show a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "link" and told.get("rel") in ("next", "prev", "canonical"):
            return
        if tag in LOADED and (address := told.get(LOADED[tag])):
            self.found.append(address)


def test_the_order_of_questions_names_pages_that_are_there_once(tmp_path: Path) -> None:
    pages = staged(tmp_path / "pages")
    named = [page for several in NAVIGATION.values() for page in several]
    assert len(named) == len(set(named))
    assert set(named) <= set(pages)
    assert len(pages) == len(list((ROOT / "docs").rglob("*.md"))) + len(BESIDE)


def test_names_of_documents_become_links_but_for_code(tmp_path: Path) -> None:
    staged(tmp_path / "pages")
    index = (tmp_path / "pages/index.md").read_text()
    assert "](operations.md)" in index
    assert "](docs/" not in index
    assert "[docs/lab.md](lab.md)" in index
    assert not re.search(r"```[^`]*\]\(lab\.md\)", index)


@pytest.mark.process
def test_a_strict_build_has_every_page_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    build(tmp_path / "site")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) == len(staged(tmp_path / "pages")) + 1, "and one for addresses without a page"
    loaded = 0
    for page in pages:
        assert any(address.endswith(f"/{STYLE}") or address == STYLE for address in Loads(page).found), page.name
        for address in Loads(page).found:
            parts = urlsplit(address)
            assert not parts.netloc, (page.name, address)
            if parts.scheme != "data" and page.name != "404.html":
                loaded += 1
                assert (page.parent / parts.path).exists(), (page.name, address)
    assert loaded > len(pages)
    for style in (tmp_path / "site").rglob("*.css"):
        for address in re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", style.read_text(encoding="utf-8")):
            assert not urlsplit(address).netloc, (style.name, address)
