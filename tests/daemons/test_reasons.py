"""Each reason that an error can have is counted, and has a zero before its first time."""

import itertools

import msgspec

from daemons.formats.archive.handover import ArchiverReport
from daemons.link.messages import RejectReason
from daemons.link.receiving.refusals import Refusals
from daemons.link.sending.sender import LinkCounts
from daemons.reasons import LINK_ENDS, REFUSALS, ArchiveReason, FeedReason, LinkReason, StreamReason


def test_each_reason_of_the_link_is_counted_at_one_end_or_at_both() -> None:
    assert set(LINK_ENDS) | set(REFUSALS) >= set(LinkReason)
    assert set(LinkCounts().reconnects) == set(LINK_ENDS)
    assert set(Refusals("path").counts) == set(REFUSALS)


def test_a_reason_that_was_not_expected_at_this_end_is_counted_too() -> None:
    refusals, links = Refusals("path"), LinkCounts()
    for reason in LinkReason:
        refusals.refuse(reason, "why", "192.0.2.1")
        links.reconnects[reason] += 1
    assert {refusals.counts[reason] for reason in LinkReason} == {1}
    assert {links.reconnects[reason] for reason in LinkReason} == {1}


def test_a_refusal_on_the_wire_has_the_name_that_both_ends_count() -> None:
    assert {reason.name.lower(): reason.counted for reason in RejectReason} == {
        str(reason.counted): reason.counted for reason in RejectReason
    }


def test_a_word_is_the_same_label_in_whichever_layer() -> None:
    for one, other in itertools.combinations((StreamReason, FeedReason, LinkReason), 2):
        for word in {*one} & {*other}:
            assert hash(one(word)) == hash(other(word))


def test_an_archiver_tells_its_receiver_of_each_loss_by_its_reason() -> None:
    told = ArchiverReport(lost={"direct": {reason: number for number, reason in enumerate(ArchiveReason, 1)}})
    heard = msgspec.json.decode(msgspec.json.encode(told), type=ArchiverReport)
    assert heard == told
    assert all(isinstance(reason, ArchiveReason) for reason in heard.lost["direct"])
