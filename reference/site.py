"""The documents as a site of static pages, in the order of a newcomer's questions: ``python -m reference.site FOLDER``.

MkDocs makes it, strictly: a link that leads nowhere ends the build. Nothing is loaded from elsewhere, so that it can be
read on a host without internet, and nobody learns who reads it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["NAVIGATION", "build", "staged"]

ROOT = Path(__file__).parents[1]
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"} | {
    "SECURITY.md": "reporting.md"
}
"""Pages that lie beside ``docs``, and what they are called on the site."""

NAVIGATION: dict[str, tuple[str, ...]] = {
    "What it answers": ("index.md",),
    "Try it": ("simulator.md", "original-programs.md"),
    "Run it for real": ("operations.md", "feeds.md", "probe.md", "provisioning.md", "experiments.md"),
    "Understand the number": ("measurement.md", "glossary.md", "performance.md", "scale.md"),
    "Operate": ("monitoring.md", "symptoms.md", "runbook.md", "security.md", "reporting.md"),
    "Reference": ("reference/configuration.md", "wire-format.md", "archive.md"),
    "How it is made": ("architecture.md", "lab.md", "contributing.md", "changelog.md"),
}
"""The order of questions; a page that is in none of them comes at the end of the last."""

_FENCE = re.compile(r"(^```.*?^```[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)")
_NAMED = re.compile(r"(?<![\w/.(\[-])docs/([\w/-]+\.md)(?!\w)")


def staged(folder: Path) -> list[str]:
    """Put all pages into a folder, with links between them as they lie there; return their names."""
    shutil.copytree(ROOT / "docs", folder)
    for name, page in BESIDE.items():
        shutil.copy(ROOT / name, folder / page)
    pages = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.md"))
    for page in pages:
        file = folder / page
        parts = _FENCE.split(file.read_text(encoding="utf-8"))
        # Code is what split() keeps at odd places.
        parts[::2] = [_linked(text, page) for text in parts[::2]]
        file.write_text("".join(parts), encoding="utf-8")
    return pages


def _linked(text: str, page: str) -> str:
    """Make links of a checkout those of the site, and names of documents links."""
    up = "../" * page.count("/")
    text = _LINK.sub(lambda found: f"]({_target(found[1])}", text)
    return _NAMED.sub(lambda found: f"[{found[0]}]({up}{found[1]})", text)


def _target(link: str) -> str:
    link = link.removeprefix("docs/")
    return BESIDE.get(link.rpartition("/")[2], link)


def configuration(source: Path, target: Path, pages: list[str]) -> dict[str, Any]:
    """Return what MkDocs is told."""
    named = {page for several in NAVIGATION.values() for page in several}
    navigation = {title: list(several) for title, several in NAVIGATION.items()}
    navigation["How it is made"] += [page for page in pages if page not in named]
    return {
        "site_name": "backbone-latency",
        "site_description": "Which network path brings market data to a region first",
        "docs_dir": str(source),
        "site_dir": str(target),
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.sections", "navigation.footer", "content.code.copy", "toc.follow"],
            "palette": [{"media": f"(prefers-color-scheme: {one})", "scheme": scheme} for one, scheme in _SCHEMES],
        },
        "extra_css": [STYLE],
        "plugins": ["search"],
        "markdown_extensions": ["tables", "fenced_code", {"toc": {"permalink": True}}],
        "validation": {"links": {"anchors": "warn", "unrecognized_links": "warn"}},
        "nav": [{title: several} for title, several in navigation.items()],
    }


STYLE = "tables.css"
_RULES = """\
/* On a desk the names that a table lists stay whole; on a phone they break, so that more than they is to be seen. */
@media screen and (min-width: 60em) {
  .md-typeset td:first-child code { word-break: normal; overflow-wrap: normal; }
  .md-typeset table:not([class]) th { min-width: 0; }
}
"""
_SCHEMES = (("light", "default"), ("dark", "slate"))


def build(target: Path) -> None:
    """Write the site.

    Raises:
        subprocess.CalledProcessError: MkDocs has something to say of a page; it stands on standard error.
    """
    with tempfile.TemporaryDirectory(prefix="site-") as scratch:
        source, config = Path(scratch, "pages"), Path(scratch, "mkdocs.yml")
        pages = staged(source)
        (source / STYLE).write_text(_RULES, encoding="utf-8")
        # YAML is a superset of JSON.
        config.write_text(json.dumps(configuration(source, target.resolve(), pages)), encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", str(config)]
        # Material's announcement of what follows it is no fault of a page.
        subprocess.run(command, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})  # noqa: S603 - our own words


if __name__ == "__main__":
    build(Path(*sys.argv[1:2]))
