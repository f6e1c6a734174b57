"""The bucket's name: nobody else can take it, it is never asked for a second time, and it tells whose it is."""

import re

import botocore.session
import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provisioning.kinds.storage import bucket_name, bucket_region, names_bucket_of
from provisioning.loading import load_topology
from tests.provisioning.aws import Once, Operator, ProcessDeathError, census, client, operation
from tests.provisioning.emulator import REGIONS

ACCOUNT = "123456789012"
LONGEST = 63
S3_NAME = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
"""S3 guide, "General purpose bucket naming rules", without the dots."""

names = st.from_regex(r"[a-z](?:[a-z0-9-]{0,22}[a-z0-9])?", fullmatch=True)
regions = st.sampled_from(sorted(botocore.session.Session().get_available_regions("ec2")))


@given(names, regions)
def test_s3_takes_every_name_and_no_two_are_alike(deployment: str, region: str) -> None:
    name = bucket_name(deployment, ACCOUNT, region)
    assert re.fullmatch(S3_NAME, name)
    assert len(name) <= LONGEST
    assert name.endswith(f"-{ACCOUNT}-{region}-an")
    assert bucket_region(name, ACCOUNT) == region
    assert name != bucket_name(deployment, ACCOUNT, region)


@given(names, names, regions)
def test_a_name_tells_whose_it_is(one: str, other: str, region: str) -> None:
    assume(one != other)
    name = bucket_name(one, ACCOUNT, region)
    assert names_bucket_of(one, ACCOUNT, name)
    assert not names_bucket_of(other, ACCOUNT, name)


@pytest.mark.parametrize("other", ["lat", "lat-0123abcd", "lat-0123abcd-0123abcd"])
def test_names_that_continue_one_another_are_told_apart(other: str) -> None:
    for own in ("lat", "lat-0123abcd", "lat-0123abcd-0123abcd"):
        assert names_bucket_of(own, ACCOUNT, bucket_name(other, ACCOUNT, "eu-west-1")) == (own == other)


def buckets(endpoint: str) -> list[str]:
    return [item["Name"] for item in client(endpoint, "s3", "us-east-1").list_buckets()["Buckets"]]


@pytest.mark.process
def test_what_was_removed_is_built_again_at_once_here_and_in_another_region(endpoint: str) -> None:
    """S3 refuses the name of a deleted bucket for hours, longest in another region."""
    topology = load_topology("backbone")
    asked: list[str] = []
    there = msgspec.structs.replace(topology, site=tuple(reversed(topology.site)))
    assert there.regions[0] != topology.regions[0]
    for shape in (topology, topology, there):
        operator = Operator(endpoint, shape).up()
        made = [call for call in operator.aws.calls if call.operation == "CreateBucket"]
        assert {call.params["BucketNamespace"] for call in made} == {"account-regional"}
        assert {call.region for call in made} == {shape.regions[0]}
        asked += {call.params["Bucket"] for call in made}
        assert buckets(endpoint) == asked[-1:]
        Operator(endpoint, shape).down()
        assert buckets(endpoint) == []
    assert len(set(asked)) == len(asked) == 3


@pytest.mark.process
def test_a_deployment_whose_first_region_changed_keeps_its_bucket(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    there = msgspec.structs.replace(topology, site=tuple(reversed(topology.site)))
    before = buckets(endpoint)
    assert Operator(endpoint, there).up().aws.changing() == []
    assert buckets(endpoint) == before
    Operator(endpoint, there).down()
    assert buckets(endpoint) == []


@pytest.mark.process
def test_a_bucket_that_was_made_and_not_seen_is_no_second_one_in_the_end(endpoint: str) -> None:
    topology = load_topology("backbone")
    killed = Operator(endpoint, topology)
    killed.aws.after.append(Once(operation("CreateBucket"), ProcessDeathError))
    with pytest.raises(ProcessDeathError):
        killed.up()
    assert len(buckets(endpoint)) == 1
    operator = Operator(endpoint, topology)
    # The list lacks what the killed run made until this run has made one too, and hosts that boot from it.
    stale = buckets(endpoint)

    def hide(call: object) -> dict[str, object] | None:
        launched = [one for one in operator.aws.calls if one.operation == "RunInstances" and one.error is None]
        if getattr(call, "operation", "") != "ListBuckets" or len(launched) == len(topology.host):
            return None
        seen = client(endpoint, "s3", "us-east-1").list_buckets()["Buckets"]
        return {"Buckets": [item for item in seen if item["Name"] not in stale]}

    operator.aws.before.append(hide)
    operator.up()
    (kept,) = buckets(endpoint)
    assert kept not in stale
    launched = [call for call in operator.aws.calls if call.operation == "RunInstances" and call.error is None]
    assert len(launched) == len(topology.host)
    assert Operator(endpoint, topology).up().aws.changing() == []


@pytest.mark.process
def test_a_bucket_deleted_by_hand_is_another_one_and_hosts_follow(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    good = census(endpoint, REGIONS)
    hand = client(endpoint, "s3", topology.regions[0])
    (bucket,) = buckets(endpoint)
    for item in hand.list_objects_v2(Bucket=bucket)["Contents"]:
        hand.delete_object(Bucket=bucket, Key=item["Key"])
    hand.delete_bucket(Bucket=bucket)
    engine = Operator(endpoint, topology).engine()
    engine.read()
    texts = {step.key: (step.verb, *step.texts) for step in engine.plan()}
    assert texts["host/receiver"] == ("replace", "its bucket is gone, and hosts boot from it by its name")
    Operator(endpoint, topology).up()
    assert census(endpoint, REGIONS) == good
    (another,) = buckets(endpoint)
    assert another != bucket
    assert Operator(endpoint, topology).up().aws.changing() == []
