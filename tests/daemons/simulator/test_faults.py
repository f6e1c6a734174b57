import json

import pytest

from daemons.simulator.faults import HUGE_BYTES, MALFORMED_KINDS, Faults, Malformed
from daemons.simulator.market import Event

EVENT = Event("btcusdt@trade", b'{"e":"trade","E":%d,"s":"BTCUSDT","t":7}', (0,), 7, 7)
NOW_NS = 1_767_225_600_123_456_789


def rendered(kind: str, *, combined: bool = False, salt: int = 0) -> bytes:
    return Malformed(kind, EVENT, salt).render(NOW_NS, 1_000_000, combined=combined)


def test_no_faults_unless_asked_for() -> None:
    faults = Faults()
    assert all(faults.skipped_ids(number) == 0 for number in range(1, 1000))
    assert all(faults.malformed_after(number, EVENT) is None for number in range(1, 1000))


def test_ids_are_skipped_before_every_nth_event() -> None:
    faults = Faults(skip_ids_every=10, seed=3)
    skipped = [faults.skipped_ids(number) for number in range(1, 501)]
    assert all((count > 0) == (number % 10 == 0) for number, count in enumerate(skipped, 1))
    assert {count for count in skipped if count} == {1, 2, 3, 4, 5}
    again = Faults(skip_ids_every=10, seed=3)
    assert skipped == [again.skipped_ids(number) for number in range(1, 501)]


def test_malformed_kinds_take_turns() -> None:
    faults = Faults(malformed_every=3)
    sent = [faults.malformed_after(number, EVENT) for number in range(1, 37)]
    assert [message.kind for message in sent if message] == [*MALFORMED_KINDS, *MALFORMED_KINDS]
    assert all((message is not None) == (number % 3 == 0) for number, message in enumerate(sent, 1))


@pytest.mark.parametrize("combined", [False, True])
def test_truncated_and_binary_are_no_json(combined: bool) -> None:
    for kind in ("truncated", "binary"):
        with pytest.raises(ValueError):  # noqa: PT011 - JSONDecodeError and UnicodeDecodeError have this in common
            json.loads(rendered(kind, combined=combined))
    assert Malformed("binary", EVENT, 0).binary
    assert not Malformed("truncated", EVENT, 0).binary


def test_missing_fields() -> None:
    assert json.loads(rendered("missing-fields")) == {"e": "trade", "E": 1_767_225_600_123}


def test_every_absurd_time_is_json_and_absurd() -> None:
    times = [json.loads(rendered("absurd-time", salt=salt))["E"] for salt in range(6)]
    assert len({json.dumps(time) for time in times}) == 6
    assert not any(isinstance(time, int) and 10**12 < time < 10**17 for time in times)


def test_array_and_huge() -> None:
    assert isinstance(json.loads(rendered("array")), list)
    assert len(rendered("huge")) > HUGE_BYTES


@pytest.mark.parametrize("kind", ["missing-fields", "absurd-time", "array", "huge"])
def test_combined_clients_get_them_in_an_envelope(kind: str) -> None:
    whole = json.loads(rendered(kind, combined=True))
    assert whole["stream"] == "btcusdt@trade"
    assert whole["data"] == json.loads(rendered(kind))
