from pathlib import Path

import pytest

from tests.experiments.egress.recorded_runs import write_recorded_runs


@pytest.fixture(scope="session")
def egress_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recorded_runs(tmp_path_factory.mktemp("egress"))
