"""Which refusals are waited out, for how long, and that every wait ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.cloud import Cloud
from provisioning.errors import PendingError
from provisioning.patience import Patience, in_use, is_change, patience_seconds
from tests.provisioning.aws import client, session
from tests.provisioning.world import ADDRESS_SECONDS, KNOWN_SECONDS, LISTED_SECONDS, PROFILE_SECONDS, Clock

PROFILE = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"


@pytest.mark.parametrize(
    ("code", "operation", "message", "seconds"),
    [
        ("InvalidParameterValue", "run_instances", PROFILE, 180),
        ("InvalidParameterValue", "replace_iam_instance_profile_association", PROFILE, 180),
        ("InvalidParameterValue", "associate_iam_instance_profile", PROFILE, 180),
        ("InvalidParameterValue", "run_instances", "Invalid availability zone", 0),
        ("InvalidIPAddress.InUse", "run_instances", "", 180),
        ("InvalidIPAddress.InUse", "release_address", "", 120),
        ("EntityTemporarilyUnmodifiable", "put_role_policy", "", 60),
        ("EntityTemporarilyUnmodifiable", "delete_role", "", 60),
        ("InvalidInstanceID", "associate_address", "The pending instance 'i-1' is not in a valid state for this", 60),
        ("InvalidInstanceID", "associate_address", "The instance ID 'x' is malformed", 0),
        ("InvalidPlacementGroup.InUse", "run_instances", "", 180),
        ("InvalidPlacementGroup.InUse", "delete_placement_group", "", 120),
        ("NoSuchEntity", "put_role_policy", "", 60),
        ("NoSuchEntity", "add_role_to_instance_profile", "", 60),
        ("NoSuchEntity", "get_role_policy", "", 0),
        ("NoSuchBucket", "put_bucket_tagging", "", 60),
        ("NoSuchBucket", "list_objects_v2", "", 0),
        ("InvalidVpcID.NotFound", "create_subnet", "", 60),
        ("InvalidVpcID.NotFound", "describe_vpcs", "", 0),
        ("InvalidAMIID.NotFound", "run_instances", "", 0),
        ("RequestLimitExceeded", "describe_vpcs", "", 60),
        ("VpcLimitExceeded", "create_vpc", "", 0),
        ("DependencyViolation", "delete_vpc", "", 120),
        ("DeleteConflict", "delete_role", "", 120),
        ("BucketNotEmpty", "delete_bucket", "", 120),
        ("DependencyViolation", "create_subnet", "", 0),
        ("UnauthorizedOperation", "run_instances", "", 0),
    ],
)
def test_how_long_a_refusal_is_waited_out(code: str, operation: str, message: str, seconds: float) -> None:
    assert patience_seconds(code, operation, message) == seconds


def test_what_the_emulator_makes_late_is_waited_for() -> None:
    assert patience_seconds("InvalidParameterValue", "run_instances", PROFILE) > PROFILE_SECONDS
    assert patience_seconds("InvalidIPAddress.InUse", "run_instances") > ADDRESS_SECONDS
    assert patience_seconds("NoSuchEntity", "tag_role") > max(KNOWN_SECONDS, LISTED_SECONDS)


@given(st.floats(0, 600), st.lists(st.floats(0, 100), max_size=20))
def test_every_wait_ends_and_its_last_attempt_begins_after_the_bound(within: float, attempts: list[float]) -> None:
    clock = Clock()
    patience, takes, began, refused = Patience(clock), iter(attempts), [-1.0], None
    for _ in range(1000):
        began.append(clock.now)
        clock.sleep(next(takes, 0.0))
        # However long the first attempt took, there is time for another.
        refused = clock.now if refused is None else refused
        if not patience.again(within):
            break
    assert refused is not None
    end = refused + within
    assert began[-1] >= end - 1e-6 or within == 0
    assert began[-2] < end


@given(st.lists(st.tuples(st.sampled_from(["NoSuchEntity", "lost", "Throttling"]), st.floats(0, 50)), max_size=60))
def test_each_reason_has_its_own_time_from_its_first_refusal_on(refusals: list[tuple[str, float]]) -> None:
    bounds = {"NoSuchEntity": 120.0, "lost": 30.0, "Throttling": 60.0}
    clock, first = Clock(), dict[str, float]()
    patience = Patience(clock)
    for reason, takes in refusals:
        began = clock.now
        clock.sleep(takes)
        first.setdefault(reason, clock.now)
        before = clock.now
        again = patience.again(bounds[reason], reason)
        assert again is (began < first[reason] + bounds[reason])
        # Nor is a pause longer than what is left.
        assert clock.now <= max(before, first[reason] + bounds[reason])
        if not again:
            break


def test_an_answer_lost_after_a_long_wait_for_another_reason_is_asked_for_again() -> None:
    clock = Clock()
    patience = Patience(clock)
    while clock.now < 60:
        assert patience.again(120, "NoSuchEntity")
    assert patience.again(30, "lost")


def test_of_every_call_of_ec2_reads_and_changes_are_told_apart() -> None:
    """By botocore's own list of the API: what EC2 calls Describe, Get, List or Search changes nothing."""
    meta: Any = client("http://127.0.0.1:9", "ec2", "eu-central-1").meta
    names = {operation: method for method, operation in meta.method_to_api_mapping.items()}
    assert len(names) > 500
    for operation in meta.service_model.operation_names:
        if operation.startswith(("Create", "Delete", "Run", "Modify", "Associate", "Terminate", "Release")):
            assert is_change(names[operation])
        if operation.startswith(("Describe", "Get", "List")):
            assert not is_change(names[operation])


def test_what_is_in_use_is_looked_at_again_before_another_attempt() -> None:
    assert in_use("DependencyViolation", "detach_internet_gateway")
    assert in_use("InvalidIPAddress.InUse", "release_address")
    assert not in_use("InvalidIPAddress.InUse", "run_instances")
    assert not in_use("NoSuchEntity", "delete_role")


@pytest.mark.parametrize("pauses", [1, 5, 50])
def test_a_process_that_was_stopped_while_it_waited_asks_once_more(pauses: int) -> None:
    """Its time went by while a question was under way; what came true meanwhile is seen."""
    clock, asked = Clock(), list[float]()

    def probe() -> bool | None:
        asked.append(clock.now)
        if len(asked) == pauses:
            clock.sleep(3600.0)
        return True if len(asked) > pauses else None

    assert Cloud(session(), clock).wait("thing", "visible", probe, 240.0)
    assert len(asked) == pauses + 1
    with pytest.raises(PendingError, match="thing: not visible after 60 s"):
        Cloud(session(), clock).wait("thing", "visible", lambda: None, 60.0)
