import os
import urllib.request
from collections.abc import Iterator

import pytest

from tests.provisioning.aws import RECORDED, world
from tests.provisioning.aws_rules import violations
from tests.provisioning.emulator import serve

os.environ["AWS_ACCESS_KEY_ID"] = "testing"
os.environ["AWS_SECRET_ACCESS_KEY"] = "testing"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server, endpoint = serve()
    yield endpoint
    server.shutdown()


@pytest.fixture
def endpoint(moto: str) -> str:
    """An empty account."""
    reset(moto)
    return moto


@pytest.fixture(autouse=True)
def aws_rules() -> Iterator[None]:
    """No test may break a rule of AWS that moto does not know."""
    RECORDED.clear()
    yield
    assert violations(RECORDED) == []


def reset(endpoint: str) -> None:
    """Empty the account; what was recorded belongs to the old one and is checked now."""
    assert violations(RECORDED) == []
    RECORDED.clear()
    world(endpoint).reset()
    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert answer.status == 200
