"""Further tags, and an organisation that refuses what is made without them."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from daemons.errors import ConfigError
from provisioning.errors import AwsError
from provisioning.loading import adjusted, load_topology
from provisioning.model import FURTHER_TAG
from provisioning.tags import check_tags
from provisioning.topology import Access, Topology
from tests.provisioning.aws import LOADER, Call, Once, Operator, ProcessDeathError, census, client
from tests.provisioning.test_placement import KEY
from tests.provisioning.world import _MADE

EC2_METADATA_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
"""In EC2's own refusal of a tag's key where tags are readable in an instance's metadata (public reports)."""


def iam_pattern(shape: str) -> re.Pattern[str]:
    """What botocore's model of IAM says of a tag's part, in Python's words."""
    told = LOADER.load_service_model("iam", "service-2")["shapes"][shape]["pattern"]
    return re.compile(told.replace(r"\p{L}\p{Z}\p{N}_", r"\w "))


def test_whatever_is_taken_as_a_tag_is_taken_by_iam_and_readable_to_hosts() -> None:
    drawn = random.Random(4)
    alphabet = 'aZ0_-+.@:/= ,%"é\n{'
    keys, values = iam_pattern("tagKeyType"), iam_pattern("tagValueType")
    taken = 0
    for _ in range(4000):
        key = "".join(drawn.choices(alphabet, k=drawn.randrange(4)))
        value = "".join(drawn.choices(alphabet, k=drawn.randrange(3)))
        try:
            check_tags(value, {key: value})
        except ConfigError:
            continue
        taken += 1
        assert keys.fullmatch(key)
        assert values.fullmatch(value)
        assert EC2_METADATA_KEY.fullmatch(key)
        assert key not in (".", "..", "_index")
    assert taken > 100


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"Cost Center": "7"}, "has a key that hosts cannot read"),
        ({"team/cost": "7"}, "has a key that hosts cannot read"),
        ({"": "7"}, "has a key that hosts cannot read"),
        ({"_index": "7"}, "has a key that hosts cannot read"),
        ({"k" * 128: "7"}, "has a key that hosts cannot read"),
        ({"AWS:team": "7"}, "is AWS's or `provision`'s own to give"),
        ({"latency:owner": "7"}, "is AWS's or `provision`'s own to give"),
        ({"name": "7"}, "is AWS's or `provision`'s own to give"),
        ({"team": "aws:7"}, "is AWS's or `provision`'s own to give"),
        ({"team": "seven, or 7"}, "cannot be a tag"),
        ({"team": "7" * 257}, "cannot be a tag"),
        ({"Team": "7", "team": "7"}, "two keys differ only in case"),
        ({"k" * 100: "", "l" * 100: "", "m" * 100: ""}, "the keys are too many or too long"),
        ({f"k{n}": "" for n in range(41)}, "the keys are too many or too long"),
    ],
)
def test_what_some_service_would_refuse_is_refused_before_the_first_call(tags: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        adjusted(load_topology("backbone"), types={}, tags=tags)


def demanding(key: str) -> Any:
    """A service control policy that denies to make anything without a tag, in whichever part of the call."""

    def missing(call: Call) -> Iterator[str]:
        params = call.params
        lists = [item["Tags"] for item in params.get("TagSpecifications", [])]
        lists += [params["Tags"]] if "Tags" in params else []
        lists += [params["CreateBucketConfiguration"]["Tags"]] if "CreateBucketConfiguration" in params else []
        if not lists or any(key not in {tag["Key"] for tag in tags} for tags in lists):
            yield call.operation
        if call.operation == "RunInstances":
            tagged = {item["ResourceType"] for item in params["TagSpecifications"]}
            yield from {"instance", "volume", "network-interface"} - tagged

    def policy(call: Call) -> tuple[str, str] | None:
        makes = call.operation in (*_MADE, "CreatePlacementGroup")
        if not makes or not list(missing(call)):
            return None
        action = f"{call.service}:{call.operation}"
        told = f"User: u is not authorized to perform: {action} with an explicit deny in a service control policy"
        return ("UnauthorizedOperation" if call.service == "ec2" else "AccessDenied"), told

    return policy


def all_tags(endpoint: str, topology: Topology) -> Iterator[tuple[str, dict[str, str]]]:
    """Every tagged thing in the account, with its tags."""

    def told(tags: list[dict[str, str]]) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in tags}

    for region in topology.regions:
        things: dict[str, dict[str, str]] = {}
        for tag in client(endpoint, "ec2", region).describe_tags()["Tags"]:
            things.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
        yield from things.items()
    s3, iam = client(endpoint, "s3", topology.regions[0]), client(endpoint, "iam", topology.regions[0])
    for bucket in s3.list_buckets()["Buckets"]:
        yield bucket["Name"], told(s3.get_bucket_tagging(Bucket=bucket["Name"])["TagSet"])
    for role in iam.list_roles()["Roles"]:
        yield role["Arn"], told(iam.list_role_tags(RoleName=role["RoleName"])["Tags"])
    for profile in iam.list_instance_profiles()["InstanceProfiles"]:
        name = profile["InstanceProfileName"]
        yield profile["Arn"], told(iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Tags"])


def tagged(**tags: str) -> Topology:
    """The backbone with a key to log in with, which is a resource too."""
    access = Access(ssh_from=("203.0.113.7/32",), ssh_key=KEY)
    return adjusted(load_topology("backbone"), types={}, access=access, tags=tags)


def up(endpoint: str, topology: Topology, policy: Any) -> Operator:
    operator = Operator(endpoint, topology)
    operator.aws.before.append(policy)
    return operator.up()


@pytest.mark.process
def test_where_an_organisation_demands_tags_everything_is_made_with_them_by_later_runs_too(endpoint: str) -> None:
    empty = census(endpoint, tagged().regions)
    policy = demanding("team")
    refused = Operator(endpoint, tagged())
    refused.aws.before.append(policy)
    with pytest.raises(AwsError, match=r"withheld by a service control policy.*; where it demands tags, .* --tag KEY="):
        refused.up()
    up(endpoint, tagged(team="seven"), policy)
    things = dict(all_tags(endpoint, tagged()))
    assert len(things) > 20
    for name, tags in things.items():
        assert tags.get("team") == "seven", name
        assert tags.get(FURTHER_TAG) == "team", name
    assert up(endpoint, tagged(), policy).aws.changing() == []

    ec2 = Operator(endpoint, tagged()).aws.session.client("ec2", region_name="eu-central-1")
    (host,) = (item for found in ec2.describe_instances()["Reservations"] for item in found["Instances"])
    dead = {host["InstanceId"], *(disk["Ebs"]["VolumeId"] for disk in host["BlockDeviceMappings"])}  # are listed still
    ec2.terminate_instances(InstanceIds=[host["InstanceId"]])
    assert "RunInstances" in {call.operation for call in up(endpoint, tagged(), policy).aws.changing()}

    up(endpoint, tagged(cost="9", Team="eight"), policy_of_two := demanding("cost"))
    for name, tags in all_tags(endpoint, tagged()):
        if name in dead:
            continue
        assert (tags.get("cost"), tags.get("Team")) == ("9", "eight"), name
        assert tags[FURTHER_TAG] == "Team=cost", name
    assert up(endpoint, tagged(), policy_of_two).aws.changing() == []
    Operator(endpoint, tagged()).down()
    assert census(endpoint, tagged().regions) == empty


@pytest.mark.process
def test_a_run_that_was_killed_as_it_changed_a_tag_is_completed_to_one_value(endpoint: str) -> None:
    drawn = random.Random(5)
    Operator(endpoint, tagged(team="one")).up()
    for number in drawn.sample(range(1, 17), 2):
        operator = Operator(endpoint, tagged(team=str(number)))
        operator.aws.after.append(Once(lambda call: call.changes, ProcessDeathError, number))
        with pytest.raises(ProcessDeathError):
            operator.up()
        Operator(endpoint, tagged()).up()
        values = {tags["team"] for _, tags in all_tags(endpoint, tagged())}
        assert len(values) == 1
        assert values < {"one", str(number)} or values == {str(number)}
        Operator(endpoint, tagged(team="one")).up()


def test_a_file_gives_tags_and_the_command_line_others() -> None:
    topology = msgspec.structs.replace(load_topology("backbone"), tags={"team": "seven", "cost": "9"})
    assert adjusted(topology, types={}, tags={"team": "8"}).tags == {"team": "8", "cost": "9"}
    assert json.loads(msgspec.json.encode(topology))["tags"] == {"team": "seven", "cost": "9"}
