"""Accounts whose owner closes internet gateways: told before hosts are made, gone on with once a VPC is excluded."""

from typing import Any

import pytest

from provisioning.errors import ProvisionError
from provisioning.loading import load_topology
from provisioning.preflight import preflight
from tests.provisioning.aws import Call, Operator, census, client

pytestmark = pytest.mark.process

TOKYO = "ap-northeast-1"
FRANKFURT = "eu-central-1"
SINGAPORE = "ap-southeast-1"


class Closed:
    """A region whose internet gateways are closed; ``excluded`` are exclusions, by resource and mode."""

    def __init__(self, region: str, mode: str = "block-bidirectional", allowed: str = "allowed") -> None:
        self.region, self.mode, self.allowed = region, mode, allowed
        self.excluded: list[tuple[str, str, str]] = []

    def __call__(self, call: Call) -> Any:
        if call.region != self.region:
            return None
        if call.operation == "DescribeVpcBlockPublicAccessOptions":
            told = {"InternetGatewayBlockMode": self.mode, "ExclusionsAllowed": self.allowed}
            return {"VpcBlockPublicAccessOptions": told}
        if call.operation == "DescribeVpcBlockPublicAccessExclusions":
            items = [
                {
                    "ResourceArn": f"arn:aws:ec2:{self.region}:1:{what}",
                    "InternetGatewayExclusionMode": mode,
                    "State": state,
                }
                for what, mode, state in self.excluded
            ]
            return {"VpcBlockPublicAccessExclusions": items}
        return None


def operator(endpoint: str, closed: Closed, name: str = "backbone") -> Operator:
    made = Operator(endpoint, load_topology(name))
    made.aws.before.append(closed)
    return made


def judged(one: Operator) -> list[str]:
    engine = one.engine()
    engine.read()
    told = preflight(engine.view, {step.key for step in engine.plan()})
    assert one.aws.changing() == []
    return told


def hosts(endpoint: str, region: str) -> int:
    return sum(number for (_, kind, _), number in census(endpoint, (region,)).items() if kind == "instance")


def vpc(endpoint: str, region: str) -> str:
    tagged = [{"Name": "tag:latency:deployment", "Values": ["test"]}]
    (one,) = client(endpoint, "ec2", region).describe_vpcs(Filters=tagged)["Vpcs"]
    return f"vpc/{one['VpcId']}"


def test_up_stops_before_hosts_that_nothing_reaches_and_goes_on_when_their_vpc_is_excluded(endpoint: str) -> None:
    closed = Closed(FRANKFURT)
    (told,) = judged(operator(endpoint, closed))
    assert told.startswith("host/receiver: VPC Block Public Access of eu-central-1 is block-bidirectional")
    assert "`up` makes the network and stops there" in told
    with pytest.raises(ProvisionError, match=r"--vpc-id vpc-\w+ --internet-gateway-exclusion-mode allow-bidirectional"):
        operator(endpoint, closed).up()
    assert hosts(endpoint, FRANKFURT) == 0
    with pytest.raises(ProvisionError, match="exclude vpc/frankfurt"):
        judged(operator(endpoint, closed))
    excluded = vpc(endpoint, FRANKFURT)
    for no_help in ((excluded, "allow-egress", "create-in-progress"), ("vpc/vpc-1", "allow-egress", "create-complete")):
        closed.excluded = [no_help]
        with pytest.raises(ProvisionError, match="exclude vpc/frankfurt"):
            judged(operator(endpoint, closed))
    closed.excluded = [(excluded, "allow-egress", "create-complete")]
    assert judged(operator(endpoint, closed)) == []
    operator(endpoint, closed).up()
    assert hosts(endpoint, FRANKFURT) == 1
    assert operator(endpoint, closed).up().aws.changing() == []
    closed.mode, closed.excluded = "block-ingress", [(excluded, "allow-egress", "create-complete")]
    assert judged(operator(endpoint, closed)) == []  # what stands is not judged again
    Operator(endpoint, load_topology("backbone")).down()


def test_where_exclusions_are_not_allowed_nothing_is_made(endpoint: str) -> None:
    with pytest.raises(ProvisionError, match=r"block-ingress.* exclusions are not allowed; ask whoever keeps it"):
        judged(operator(endpoint, Closed(TOKYO, "block-ingress", "not-allowed")))


def test_only_hosts_that_face_the_internet_themselves_are_concerned(endpoint: str) -> None:
    """In Singapore the private client leaves by Tokyo, the baseline beside it by its own gateway."""
    told = judged(operator(endpoint, Closed(SINGAPORE), "egress"))
    assert [text.partition(":")[0] for text in told] == ["host/baseline"]


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "InvalidAction"])
def test_whoever_may_not_ask_builds_as_ever(endpoint: str, code: str) -> None:
    one = Operator(endpoint, load_topology("backbone"))
    one.aws.before.append(lambda call: (code, "no") if "BlockPublicAccess" in call.operation else None)
    assert judged(one) == []
