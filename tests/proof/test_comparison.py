"""A recording that AWS could have given beside one of the emulator: what differs is told, and nothing else."""

from typing import Any

from tests.proof.comparison import differences
from tests.proof.recording import Line
from tests.provisioning.world import KNOWN_SECONDS, LISTED_SECONDS, PROFILE_SECONDS

KEY = {"Key": "latency:key", "Value": "vpc/tokyo"}


def line(operation: str, at: float, *, error: str = "", **more: Any) -> Line:
    service = "iam" if "Profile" in operation else "ec2"
    return Line(service, operation, "r", at, 0.1, more.get("params", {}), more.get("answer", {}), error)


def made(at: float = 0.0) -> Line:
    params = {"TagSpecifications": [{"ResourceType": "vpc", "Tags": [KEY]}]}
    return line("CreateVpc", at, params=params, answer={"Vpc": {"VpcId": "vpc-1"}})


def listed(at: float, *ids: str) -> Line:
    params = {"Filters": [{"Name": "tag:latency:key", "Values": ["vpc/tokyo"]}]}
    return line("DescribeVpcs", at, params=params, answer={"Vpcs": [{"VpcId": identity} for identity in ids]})


def test_a_recording_does_not_differ_from_itself() -> None:
    calls = [made(), listed(1.0), listed(LISTED_SECONDS, "vpc-1")]
    assert differences(calls, calls) == []


def test_a_list_later_than_the_emulators_is_told_until_the_thing_is_removed() -> None:
    late = LISTED_SECONDS + 2
    (told,) = differences([made(), listed(late)], [])
    assert told.startswith("DescribeVpcs: not listed 10 s after CreateVpc")
    removed = line("DeleteVpc", late - 1, params={"VpcId": "vpc-1"})
    assert differences([made(), removed, listed(late)], []) == []
    other = line("DescribeVpcs", late, params={"Filters": [{"Name": "tag:latency:key", "Values": ["vpc/other"]}]})
    assert differences([made(), other], []) == []


def test_an_id_that_is_unknown_for_longer_is_told() -> None:
    params = {"VpcId": "vpc-1"}
    early = line("CreateSubnet", KNOWN_SECONDS - 1, error="InvalidVpcID.NotFound", params=params)
    late = line("CreateSubnet", KNOWN_SECONDS + 5, error="InvalidVpcID.NotFound", params=params)
    assert differences([made(), early], []) == []
    (told,) = differences([made(), late], [])
    assert told.startswith("CreateSubnet: InvalidVpcID.NotFound 25 s after CreateVpc")


def test_a_bucket_that_is_unknown_since_it_was_removed_is_as_expected() -> None:
    bucket, late = {"Bucket": "b"}, KNOWN_SECONDS + 5
    calls = [line("CreateBucket", 0.0, params=bucket), line("DeleteBucket", late - 1, params=bucket)]
    unknown = line("ListObjectsV2", late, error="NoSuchBucket", params=bucket)
    assert differences([*calls, unknown], []) == []
    assert len(differences([calls[0], unknown], [])) == 1


def test_a_profile_that_is_unknown_for_longer_is_told() -> None:
    joined = line("AddRoleToInstanceProfile", 0.0, params={"InstanceProfileName": "p", "RoleName": "p"})
    params = {"IamInstanceProfile": {"Name": "p"}}
    late = line("RunInstances", PROFILE_SECONDS + 60, error="InvalidParameterValue", params=params)
    assert differences([joined, line("RunInstances", 50.0, error="InvalidParameterValue", params=params)], []) == []
    (told,) = differences([joined, late], [])
    assert told.startswith("RunInstances: the profile is not known 178 s after")


def test_a_field_that_the_source_reads_and_aws_does_not_give_is_told() -> None:
    ours = line("DescribeSubnets", 0.0, answer={"Subnets": [{"AvailabilityZone": "a", "Unread": 1}]})
    theirs = line("DescribeSubnets", 0.0, answer={"Subnets": [{"SubnetId": "subnet-1"}]})
    assert differences([theirs], [ours]) == ["ec2 DescribeSubnets: no Subnets[].AvailabilityZone in any answer"]
    # Of a list that was always empty nothing can be said.
    assert differences([line("DescribeSubnets", 0.0, answer={"Subnets": []})], [ours]) == []
    assert differences([line("DescribeSubnets", 0.0, error="RequestLimitExceeded")], [ours]) == []


def test_a_code_that_the_source_does_not_know_is_told() -> None:
    strange = line("CreateVpc", 0.0, error="SomethingNewAtAws")
    assert differences([strange], []) == [
        "ec2 CreateVpc: refused with SomethingNewAtAws, which the source does not know"
    ]
    known = [line("CreateVpc", 0.0, error=code) for code in ("VpcLimitExceeded", "InvalidVpcID.NotFound")]
    assert differences(known, []) == []
