"""What RunInstances would refuse is refused before anything is changed, and all of it at once."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from provisioning.errors import ProvisionError
from provisioning.loading import adjusted, load_topology
from provisioning.preflight import preflight
from provisioning.topology import Topology
from tests.provisioning.aws import Call, Operator
from tests.provisioning.emulator import ARM_IMAGE, NEWEST_IMAGE

pytestmark = pytest.mark.process


def refused(operator: Operator) -> list[str]:
    """Why the deployment cannot be made; nothing was changed to learn it."""
    engine = operator.engine()
    engine.read()
    try:
        preflight(engine.view, {step.key for step in engine.plan()})
    except ProvisionError as error:
        assert operator.aws.changing() == []
        return [str(error), *getattr(error, "__notes__", ())]
    return []


def backbone(types: Mapping[str, str] | None = None, **wishes: Any) -> Topology:
    return adjusted(load_topology("backbone"), types=types or {}, **wishes)


def zoned(zone: str) -> Topology:
    topology = load_topology("backbone")
    tokyo, frankfurt = topology.site
    subnet = msgspec.structs.replace(tokyo.subnet[0], zone=zone)
    return msgspec.structs.replace(topology, site=(msgspec.structs.replace(tokyo, subnet=(subnet,)), frankfurt))


@pytest.mark.parametrize("name", ["backbone", "egress", "full"])
def test_what_can_be_made_is_not_refused(endpoint: str, name: str) -> None:
    assert refused(Operator(endpoint, load_topology(name))) == []


@pytest.mark.parametrize(
    ("topology", "told"),
    [
        (backbone(image="ami-0123456789abcdef0"), "InvalidAMIID.NotFound"),
        (backbone({"forwarder": "x9.large"}), "host/forwarder: ap-northeast-1 has no instance type x9.large"),
        (
            backbone({"receiver": "t4g.micro"}),
            f"host/receiver: t4g.micro is arm64 and image {NEWEST_IMAGE} is x86_64; use another --instance-type",
        ),
        (backbone({"receiver": "t4g.micro"}, image=ARM_IMAGE), f"image {ARM_IMAGE} is arm64, the software is x86_64"),
        (
            backbone({"forwarder": "m5.large", "receiver": "c7i.large"}, image=NEWEST_IMAGE, precision_time=True),
            "host/forwarder: m5.large has no PTP hardware clock in ap-northeast-1; use a type such as c7i.large",
        ),
        (zoned("ap-northeast-1b"), "subnet/tokyo/public: this account has no zone ap-northeast-1b in ap-northeast-1"),
    ],
)
def test_what_a_launch_would_be_refused_for(endpoint: str, topology: Topology, told: str) -> None:
    assert any(told in line for line in refused(Operator(endpoint, topology)))


def test_everything_found_is_told_once_for_all_its_hosts(endpoint: str) -> None:
    topology = adjusted(load_topology("full"), types={"probe": "x9.large", "forwarder": "t4g.small"})
    lines = refused(Operator(endpoint, topology))
    assert lines == [
        "host/forwarder: t4g.small is arm64 and image " + NEWEST_IMAGE + " is x86_64; use another --instance-type",
        "host/baseline, host/client: ap-southeast-1 has no instance type x9.large; use another --instance-type",
    ]


def image_with(**facts: Any) -> Any:
    def answer(call: Call) -> Any:
        if call.operation != "DescribeImages" or "ImageIds" not in call.params:
            return None
        image = {"ImageId": call.params["ImageIds"][0], "RootDeviceName": "/dev/xvda", "State": "available"}
        return {"Images": [{**image, **facts}]}

    return answer


def test_a_volume_smaller_than_the_image_is_refused(endpoint: str) -> None:
    """AWS says `Volume of size 8GB is smaller than snapshot` only when everything else stands."""
    operator = Operator(endpoint, load_topology("backbone"))
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30}}
    operator.aws.before.append(image_with(BlockDeviceMappings=[mapping]))
    assert refused(operator)[0].startswith("host/forwarder: image ")
    assert "needs a volume of 30 GiB; use --volume-gib 30" in refused(operator)[0]


def test_an_image_that_was_withdrawn_is_refused(endpoint: str) -> None:
    operator = Operator(endpoint, load_topology("backbone"))
    operator.aws.before.append(image_with(State="deregistered"))
    assert "is deregistered; use another --image" in refused(operator)[0]


def test_what_stands_is_not_judged_again(endpoint: str) -> None:
    """An image may be withdrawn while its hosts run on."""
    Operator(endpoint, load_topology("backbone")).up()
    operator = Operator(endpoint, load_topology("backbone"))
    operator.aws.before.append(image_with(State="deregistered"))
    assert refused(operator) == []


def test_a_local_zone_that_the_account_opted_into_is_not_chosen(endpoint: str) -> None:
    """Its name sorts before the zones', and EC2 lists it with the offerings."""

    def opted_in(call: Call) -> Any:
        zone = "ap-northeast-1-tpe-1a"
        if call.region != "ap-northeast-1":
            return None
        if call.operation == "DescribeInstanceTypeOfferings":
            names = (zone, "ap-northeast-1c", "ap-northeast-1d")
            return {"InstanceTypeOfferings": [{"InstanceType": "t3.micro", "Location": name} for name in names]}
        if call.operation == "DescribeAvailabilityZones":
            zones = [{"ZoneName": zone, "ZoneType": "local-zone"}]
            return {"AvailabilityZones": [*zones, {"ZoneName": "ap-northeast-1c", "ZoneType": "availability-zone"}]}
        return None

    operator = Operator(endpoint, load_topology("backbone"))
    operator.aws.before.append(opted_in)
    operator.up()
    zones = {call.params["AvailabilityZone"] for call in operator.aws.calls if call.operation == "CreateSubnet"}
    assert zones == {"ap-northeast-1c", "eu-central-1a"}
