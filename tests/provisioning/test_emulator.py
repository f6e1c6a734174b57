"""The emulator refuses what AWS refuses, and counts effects in their order."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from provisioning.loading import load_topology
from tests.provisioning.aws import Operator, client
from tests.provisioning.emulator import EFFECT_HEADER

REGION = "ap-northeast-1"
"""Where the gateway of the egress stands: its host has an elastic address."""


@pytest.mark.process
def test_what_is_in_use_is_kept_as_on_aws(endpoint: str) -> None:
    Operator(endpoint, load_topology("egress")).up()
    ec2: Any = client(endpoint, "ec2", REGION)
    (host,) = (host for item in ec2.describe_instances()["Reservations"] for host in item["Instances"])
    vpc, subnet, group = host["VpcId"], host["SubnetId"], host["SecurityGroups"][0]["GroupId"]
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    gateway = ec2.describe_internet_gateways(Filters=attached)["InternetGateways"][0]["InternetGatewayId"]
    address = ec2.describe_addresses()["Addresses"][0]["AllocationId"]
    other = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    refused = {
        "attach_internet_gateway": ({"InternetGatewayId": other, "VpcId": vpc}, "Resource.AlreadyAssociated"),
        "detach_internet_gateway": ({"InternetGatewayId": gateway, "VpcId": vpc}, "DependencyViolation"),
        "release_address": ({"AllocationId": address}, "InvalidIPAddress.InUse"),
        "delete_subnet": ({"SubnetId": subnet}, "DependencyViolation"),
        "delete_security_group": ({"GroupId": group}, "DependencyViolation"),
        "delete_vpc": ({"VpcId": vpc}, "DependencyViolation"),
    }
    for call, (params, code) in refused.items():
        with pytest.raises(ClientError) as refusal:
            getattr(ec2, call)(**params)
        assert refusal.value.response["Error"]["Code"] == code, call
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    ec2.terminate_instances(InstanceIds=[host["InstanceId"]])
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_subnet(SubnetId=subnet)


@pytest.mark.process
def test_effects_are_counted_one_by_one(endpoint: str) -> None:
    ec2: Any = client(endpoint, "ec2", REGION)

    def place(_: int) -> int:
        return int(ec2.describe_vpcs()["ResponseMetadata"]["HTTPHeaders"][EFFECT_HEADER])

    with ThreadPoolExecutor(4) as pool:
        places = sorted(pool.map(place, range(20)))
    assert places == list(range(places[0], places[0] + 20))
