"""The scripts of ``systemd/`` as modules."""

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"


@pytest.fixture(scope="session")
def wheelhouse() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("wheelhouse", str(SYSTEMD / "wheelhouse"))
    spec = importlib.util.spec_from_loader("wheelhouse", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
