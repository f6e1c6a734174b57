"""What is shown is whole, however narrow the terminal."""

import pytest

from provisioning.screen import Screen

COLUMNS = ("key", "region", "id", "detail")
ROW = ("host/forwarder", "ap-northeast-1", "i-4412240c633044ef0", "10.0.1.10 54.214.165.149; silent")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_nothing_of_a_table_is_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen(as_json=False).table("latency", COLUMNS, [ROW])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ROW)
    assert ("│" in shown) is (width == 140)
