"""Fixtures that all labs share: the bundle, and hosts on which it is installed already."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.bundle import INSTALL, make_bundle
from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's bundle, as a layer that has it in ``/srv``."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "layer")


@pytest.fixture(scope="session")
def next_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sources as a later version."""
    return make_bundle(tmp_path_factory.mktemp("next") / "layer", version="99.0")


@pytest.fixture(scope="session")
def installed(bundle: Path) -> Iterator[tuple[Path, ...]]:
    """Layers of a host on which the bundle is installed, for a role that a test gives it by writing its files."""
    with Lab() as lab:
        site = lab.site("factory", "10.99.0.0/24")
        host = lab.host("factory", {site: "10.99.0.11"}, layers=(bundle,))
        host.run(*INSTALL)
        host.machine.power_off()
        yield host.machine.freeze(), bundle
