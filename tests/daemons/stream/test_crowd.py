"""Against a model that knows everything: who goes is the oldest of those that have most."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from daemons.stream.crowd import Crowd


@dataclass(eq=False)
class One:
    host: str


HOSTS = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "::ffff:10.0.0.1", "fe80::1%eth0", "2001:db8::1", "2001:db8::2"]
)
SAME = {"::ffff:10.0.0.1": "10.0.0.1", "2001:db8::2": "2001:db8::1"}


@given(st.integers(1, 6), st.lists(HOSTS | st.integers(0, 5), max_size=60))
def test_the_fullest_source_gives_way_first(places: int, steps: list[str | int]) -> None:
    crowd: Crowd[One] = Crowd(places)
    model: list[One] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(model):
                crowd.discard(model.pop(step))
            crowd.discard(One("10.0.0.1"))
        else:
            one = One(step)
            evicted = crowd.add(one)
            if len(model) < places:
                assert evicted is None
            else:
                counts = Counter(SAME.get(other.host, other.host) for other in model)
                assert evicted in model
                source = SAME.get(evicted.host, evicted.host)
                assert counts[source] == max(counts.values())
                mine = [other for other in model if SAME.get(other.host, other.host) == source]
                assert evicted is mine[0]
                model.remove(evicted)
            model.append(one)
        assert len(crowd) == len(model) <= places
        assert set(crowd) == set(model)


def test_nobody_to_evict() -> None:
    assert Crowd[One](1).evict() is None
