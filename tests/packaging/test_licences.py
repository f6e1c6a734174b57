"""What everything that is pinned may be used under, by what each package says of itself."""

import re
from importlib import metadata

import pytest
from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.test_documents import ROOT

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Zlib",
    }
)
"""SPDX identifiers (https://spdx.org/licenses) that ask for no more than to be named."""
FILE_COPYLEFT = frozenset({"MPL-2.0"})
"""Asks for the source of its own files where they are changed; ours are not asked for."""
CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Trove classifiers, for packages without an expression (PEP 639)."""
NAMED = {"BSD": "BSD-3-Clause"}
SAID_ELSEWHERE = {"atheris": "Apache-2.0"}
"""Packages whose metadata are silent, by the file in their repository."""


def pinned() -> list[Requirement]:
    """Give what constraints.txt pins for this interpreter and machine."""
    lines = re.findall(r"^([a-z0-9][^\\\n]*?) *\\?$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    found = [Requirement(line) for line in lines if "==" in line]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def licences_of(package: str) -> str:
    """Return a package's licences as an SPDX expression; ``OR`` where it offers several."""
    said = metadata.metadata(package)
    for expression in said.get_all("License-Expression") or ():
        return canonicalize_license_expression(expression)
    classified = [one.rpartition(" :: ")[2] for one in said.get_all("Classifier") or () if one.startswith("License")]
    if classified:
        return " OR ".join(CLASSIFIED.get(one, one) for one in classified)
    named = "".join(said.get_all("License") or ()).strip()
    return SAID_ELSEWHERE.get(package) or NAMED.get(named, named) or "unknown"


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Say whether one of the alternatives asks for nothing that is not allowed; with brackets, whether none does."""
    if "(" in expression:
        return all(part in allowed for part in re.split(r" (?:AND|OR) ", re.sub(r"[()]", "", expression)))
    return any(all(part in allowed for part in one.split(" AND ")) for one in expression.split(" OR "))


PINNED = pinned()


def test_all_pins_are_looked_at() -> None:
    installed = {canonicalize_name(one.name) for one in metadata.distributions()}
    assert len(PINNED) > 90
    assert {canonicalize_name(one.name) for one in PINNED} <= installed


@pytest.mark.parametrize("package", sorted({one.name for one in PINNED}))
def test_a_package_is_under_a_licence_that_is_allowed(package: str) -> None:
    found = licences_of(package)
    assert is_allowed(found, ALLOWED | FILE_COPYLEFT), f"{package} is under {found}: not on the list of this file"


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("BSD-3-Clause AND (MIT OR Apache-2.0)", True),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("AGPL-3.0-or-later", False),
        ("GNU Affero General Public License v3", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_what_is_not_on_the_list_is_refused(expression: str, allowed: bool) -> None:
    assert is_allowed(expression, ALLOWED) is allowed
