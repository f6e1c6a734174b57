from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from daemons.probe.attempt import Attempt, ConnectionKind, Instants, Phase, Reason, Reconnect

ASIDE = ("intended", "start", "first_interim", "end")
ORDER = [field.name for field in msgspec.structs.fields(Instants) if field.name not in ASIDE]


def reached(count: int, *, pinned: bool = False, plain: bool = False) -> Instants:
    """Instants 10 ns apart up to so many of them."""
    names = [name for name in ORDER if not (pinned and "dns" in name) and not (plain and "tls" in name)]
    return Instants(intended=0, start=5, **{name: 10 * (at + 1) for at, name in enumerate(names[:count])})


def test_a_whole_attempt_has_all_phases_and_totals() -> None:
    instants = reached(len(ORDER))
    assert [phase for phase, _duration in instants.phases()] == list(Phase)
    assert all(duration == 10 for _phase, duration in instants.phases())
    assert instants.total_ns == 10 * len(ORDER) - 5
    assert instants.scheduled_total_ns == 10 * len(ORDER)
    assert instants.lag_ns == 5


def test_what_was_not_reached_does_not_exist() -> None:
    instants = reached(3)
    assert dict(instants.phases()) == {Phase.DNS: 10}
    assert instants.total_ns is None
    assert instants.scheduled_total_ns is None


def test_the_phase_in_which_time_ran_out_is_named() -> None:
    assert [reached(count).timeout_reason() for count in range(len(ORDER))] == [
        Reason.TIMEOUT,
        Reason.DNS_TIMEOUT,
        Reason.TIMEOUT,
        Reason.CONNECT_TIMEOUT,
        Reason.TIMEOUT,
        Reason.TUNNEL_TIMEOUT,
        Reason.TIMEOUT,
        Reason.TLS_TIMEOUT,
        Reason.TIMEOUT,
        Reason.TIMEOUT,
        Reason.TRANSFER_TIMEOUT,
    ]


def test_an_interim_response_is_part_of_processing_and_no_answer() -> None:
    sent = ORDER.index("request_sent") + 1
    instants = reached(sent)
    interim_ns = [instants.interim_ns]
    instants.first_interim = 10 * sent + 3
    assert [*interim_ns, instants.interim_ns] == [None, 3]
    assert instants.timeout_reason() is Reason.TIMEOUT
    assert Phase.PROCESSING not in dict(instants.phases())


def test_an_attempt_that_begins_again_keeps_nothing_of_the_connection_before() -> None:
    attempt = Attempt("a", ConnectionKind.WARM, reached(len(ORDER)), 0)
    attempt.begin_again(Reconnect.GOAWAY)
    attempt.begin_again(Reconnect.REFUSED)
    assert (attempt.connection, attempt.retried) == (ConnectionKind.COLD, (Reconnect.GOAWAY, Reconnect.REFUSED))
    assert attempt.instants == Instants(intended=0, start=5)


@given(st.integers(0, len(ORDER)), st.booleans(), st.booleans())
def test_phases_come_in_order_and_are_those_with_both_ends(count: int, pinned: bool, plain: bool) -> None:
    instants = reached(count, pinned=pinned, plain=plain)
    found = [phase for phase, _duration in instants.phases()]
    assert all(list(Phase).index(one) < list(Phase).index(two) for one, two in pairwise(found))
    assert (Phase.DNS in found) == (instants.dns_done is not None)
    assert (Phase.TLS in found) == (instants.tls_done is not None)
