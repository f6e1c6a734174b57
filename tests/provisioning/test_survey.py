"""Whatever a topology says, a deployment is found in every region of the account, and is taken for no other."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import ConfigError
from provisioning.errors import AwsError, ProvisionError
from provisioning.loading import BUILT_IN, default_name, load_topology
from provisioning.names import resource_name
from provisioning.topology import Topology
from tests.provisioning.aws import Call, Operator, census, client
from tests.provisioning.emulator import REGIONS

GROUP_NAME = r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}"
"""EC2 API, CreateSecurityGroup, in a VPC; and a name cannot start with ``sg-``."""
ROLE_NAME = r"[\w+=,.@-]{1,64}"
"""IAM API, CreateRole and CreateInstanceProfile."""

names = st.from_regex(r"[a-z](?:[a-z0-9-]{0,22}[a-z0-9])?", fullmatch=True)
hosts = st.from_regex(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)


@given(names, hosts, names, hosts)
def test_no_two_deployments_mean_the_same_name(one: str, host: str, other: str, its: str) -> None:
    same = (one, host) == (other, its)
    assert (resource_name(one, host) == resource_name(other, its)) == same


def test_names_that_once_were_one_are_two() -> None:
    assert resource_name("lat", "x-nat") != resource_name("lat-x", "nat")


@given(names, hosts)
def test_aws_takes_every_name(deployment: str, host: str) -> None:
    name = resource_name(deployment, host)
    assert re.fullmatch(GROUP_NAME, name)
    assert not name.startswith("sg-")
    assert re.fullmatch(ROLE_NAME, name)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_topology_names_its_deployment(name: str) -> None:
    assert default_name(name) == name


def test_a_file_names_its_deployment() -> None:
    assert default_name("/no/longer/there/desk-7.toml") == "desk-7"
    with pytest.raises(ConfigError, match=r"--name: is missing, and the file's name 'My Desk' cannot stand") as told:
        default_name("./My Desk.toml")
    assert told.value.exit_code == 2
    with pytest.raises(ConfigError, match="'backbon' is not built in"):
        default_name("backbon")


def elsewhere(topology: Topology, region: str) -> Topology:
    """The same, with its last site in another region."""
    *rest, last = topology.site
    return msgspec.structs.replace(topology, site=(*rest, msgspec.structs.replace(last, region=region)))


@pytest.mark.process
def test_down_finds_what_another_topology_built(endpoint: str) -> None:
    empty = census(endpoint, REGIONS)
    Operator(endpoint, load_topology("backbone")).up()
    standing = census(endpoint, REGIONS)
    with pytest.raises(ProvisionError, match="needs `down` first"):
        Operator(endpoint, load_topology("egress")).up()
    assert census(endpoint, REGIONS) == standing
    Operator(endpoint, load_topology("egress")).down()
    assert census(endpoint, REGIONS) == empty


@pytest.mark.process
def test_a_file_edited_to_another_region_leaves_nothing_in_the_old_one(endpoint: str) -> None:
    before, after = load_topology("backbone"), elsewhere(load_topology("backbone"), "eu-west-1")
    Operator(endpoint, before).up()
    Operator(endpoint, after).up()
    moved = census(endpoint, REGIONS)
    assert not [thing for thing in moved if thing[0] == "eu-central-1"]
    Operator(endpoint, after).down()
    Operator(endpoint, after).up()
    fresh = census(endpoint, REGIONS)
    assert {thing: n for thing, n in moved.items() if thing[0]} == {thing: n for thing, n in fresh.items() if thing[0]}


def withheld(*regions: str, operation: str = "") -> Any:
    """An organisation's policy that allows no EC2 in some regions."""
    said = "You are not authorized to perform this operation with an explicit deny in a service control policy"

    def refuse(call: Call) -> Any:
        if call.service == "ec2" and call.region in regions and operation in ("", call.operation):
            return "UnauthorizedOperation", said
        return None

    return refuse


@pytest.mark.process
def test_a_region_that_the_organisation_withholds_is_told_and_keeps_nothing(endpoint: str) -> None:
    topology = load_topology("backbone")
    operator = Operator(endpoint, topology)
    operator.aws.before.append(withheld("eu-west-1", "ap-southeast-1"))
    operator.up()
    remover = Operator(endpoint, topology)
    remover.aws.before.append(withheld("eu-west-1", "ap-southeast-1"))
    engine = remover.engine(nodes=False)
    assert engine.standing()
    assert engine.view.unseen == dict.fromkeys(("ap-southeast-1", "eu-west-1"), "UnauthorizedOperation")
    engine.remove()
    assert Operator(endpoint, topology).left() == []


@pytest.mark.process
def test_a_region_that_is_needed_and_withheld_is_an_error(endpoint: str) -> None:
    operator = Operator(endpoint, load_topology("backbone"))
    operator.aws.before.append(withheld("eu-central-1"))
    with pytest.raises(AwsError, match=r"describe_tags in eu-central-1: UnauthorizedOperation.*service control policy"):
        operator.up()
    assert operator.aws.changing() == []


def no_session_here(region: str) -> Any:
    """Credentials of a session that was begun at STS's global endpoint, in a region that was opted into."""

    def refuse(call: Call) -> Any:
        if call.region == region and call.service == "ec2":
            return "AuthFailure", "AWS was not able to validate the provided access credentials"
        return None

    return refuse


@pytest.mark.process
def test_an_enabled_region_where_the_session_is_not_valid_is_told_and_not_taken_for_empty(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    operator = Operator(endpoint, topology)
    operator.aws.before.append(no_session_here("eu-central-1"))
    with pytest.raises(
        AwsError, match=r"describe_tags in eu-central-1: AuthFailure.*AWS_STS_REGIONAL_ENDPOINTS=regional"
    ):
        operator.engine().read()
    engine = operator.engine(nodes=False)
    engine.read()
    assert engine.view.unseen == {"eu-central-1": "AuthFailure"}
    assert "eu-central-1" not in engine.view.seen


@pytest.mark.process
def test_where_even_the_regions_are_withheld_all_that_are_known_are_tried(endpoint: str) -> None:
    topology = load_topology("backbone")
    Operator(endpoint, topology).up()
    operator = Operator(endpoint, topology)
    operator.aws.before.append(withheld(*REGIONS, operation="DescribeRegions"))
    operator.down()
    asked = {call.region for call in operator.aws.calls if call.operation == "DescribeTags"}
    assert len(asked) > 20
    assert Operator(endpoint, topology).left() == []


@pytest.mark.process
def test_other_deployments_are_told_and_dead_hosts_are_none(endpoint: str) -> None:
    Operator(endpoint, load_topology("backbone"), "mine").up()
    Operator(endpoint, load_topology("egress"), "theirs").up()
    operator = Operator(endpoint, load_topology("backbone"), "mine").down()
    engine = operator.engine(nodes=False)
    assert engine.standing() == []
    assert engine.view.others == {"theirs": ("ap-northeast-1", "ap-southeast-1")}
    assert set(engine.view.seen) == set(REGIONS)
    listed = client(endpoint, "ec2", "eu-central-1").describe_instances()["Reservations"]
    assert {item["State"]["Name"] for found in listed for item in found["Instances"]} == {"terminated"}
