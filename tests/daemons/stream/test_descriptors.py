import resource

import pytest

from daemons.stream.descriptors import share


@pytest.mark.parametrize(
    ("limit", "expected"), [(64, 16), (1024, 256), (65536, 256), (resource.RLIM_INFINITY, 256), (3, 1)]
)
def test_a_crowd_gets_a_quarter_at_most(monkeypatch: pytest.MonkeyPatch, limit: int, expected: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (limit, limit))
    assert share(256) == expected
