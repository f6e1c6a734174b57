"""Global Accelerator, which moto has not: its JSON protocol, its documented refusals, and what it puts into VPCs.

It answers at once and knows everything at once, as the rest of the emulator does; the world (`world.py`) makes it late.
"""

import json
import secrets
from typing import Any

ACCOUNT = "123456789012"
TARGET = "GlobalAccelerator_V20180706."
REGION = "us-west-2"
GROUP = "GlobalAccelerator"


class RefusedError(Exception):
    """An answer with an error's code."""

    def __init__(self, code: str, told: str) -> None:
        super().__init__(told)
        self.code = code


class Accelerators:
    """The account's accelerators; listeners by their accelerator, endpoint groups by their listener."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.accelerators: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.listeners: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.made = 0

    def answer(self, operation: str, body: bytes, host: str) -> tuple[int, bytes]:
        """The status and the body of a call's answer."""
        if REGION not in host:
            return 400, json.dumps({"__type": "UnrecognizedClientException", "message": f"only in {REGION}"}).encode()
        try:
            return 200, json.dumps(getattr(self, f"on_{operation}")(json.loads(body or b"{}"))).encode()
        except RefusedError as error:
            return 400, json.dumps({"__type": error.code, "message": str(error)}).encode()

    def _accelerator(self, arn: str) -> dict[str, Any]:
        if arn not in self.accelerators:
            raise RefusedError("AcceleratorNotFoundException", f"{arn} does not exist")
        return self.accelerators[arn]

    def on_CreateAccelerator(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        self.made += 1
        arn = f"arn:aws:globalaccelerator::{ACCOUNT}:accelerator/{secrets.token_hex(8)}"
        addresses = [f"198.51.100.{self.made}", f"203.0.113.{self.made}"]
        self.accelerators[arn] = {
            "AcceleratorArn": arn,
            "Name": asked["Name"],
            "IpAddressType": asked.get("IpAddressType", "IPV4"),
            "Enabled": asked.get("Enabled", True),
            "IpSets": [{"IpFamily": "IPv4", "IpAddresses": addresses, "IpAddressFamily": "IPv4"}],
            "DnsName": f"{secrets.token_hex(8)}.awsglobalaccelerator.com",
            "Status": "DEPLOYED",
        }
        self.tags[arn] = {tag["Key"]: tag["Value"] for tag in asked.get("Tags", [])}
        return {"Accelerator": self.accelerators[arn]}

    def on_DescribeAccelerator(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"Accelerator": self._accelerator(asked["AcceleratorArn"])}

    def on_ListAccelerators(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"Accelerators": list(self.accelerators.values())}

    def on_UpdateAccelerator(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        item = self._accelerator(asked["AcceleratorArn"])
        item["Enabled"] = asked.get("Enabled", item["Enabled"])
        return {"Accelerator": item}

    def on_DeleteAccelerator(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        arn = asked["AcceleratorArn"]
        if self._accelerator(arn)["Enabled"]:
            raise RefusedError("AcceleratorNotDisabledException", "disable it before it is deleted")
        if any(item["accelerator"] == arn for item in self.listeners.values()):
            raise RefusedError("AssociatedListenerFoundException", "an associated listener was found")
        del self.accelerators[arn], self.tags[arn]
        return {}

    def on_ListTagsForResource(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        self._accelerator(asked["ResourceArn"])
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.tags[asked["ResourceArn"]].items()]}

    def on_TagResource(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        self._accelerator(asked["ResourceArn"])
        self.tags[asked["ResourceArn"]].update({tag["Key"]: tag["Value"] for tag in asked["Tags"]})
        return {}

    def on_CreateListener(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        accelerator = asked["AcceleratorArn"]
        self._accelerator(accelerator)
        for item in self.listeners.values():
            told = item["told"]
            if (item["accelerator"], told["Protocol"]) == (accelerator, asked["Protocol"]) and _overlap(
                told["PortRanges"], asked["PortRanges"]
            ):
                raise RefusedError("InvalidPortRangeException", "the port ranges of two listeners overlap")
        arn = f"{accelerator}/listener/{secrets.token_hex(4)}"
        told = {"ListenerArn": arn, "PortRanges": asked["PortRanges"], "Protocol": asked["Protocol"]}
        self.listeners[arn] = {"accelerator": accelerator, "told": {**told, "ClientAffinity": "NONE"}}
        return {"Listener": self.listeners[arn]["told"]}

    def on_ListListeners(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        self._accelerator(asked["AcceleratorArn"])
        own = (item for item in self.listeners.values() if item["accelerator"] == asked["AcceleratorArn"])
        return {"Listeners": [item["told"] for item in own]}

    def on_DeleteListener(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        arn = asked["ListenerArn"]
        if arn not in self.listeners:
            raise RefusedError("ListenerNotFoundException", f"{arn} does not exist")
        if any(item["listener"] == arn for item in self.groups.values()):
            raise RefusedError("AssociatedEndpointGroupFoundException", "an associated endpoint group was found")
        del self.listeners[arn]
        return {}

    def on_CreateEndpointGroup(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        listener, region = asked["ListenerArn"], asked["EndpointGroupRegion"]
        if listener not in self.listeners:
            raise RefusedError("ListenerNotFoundException", f"{listener} does not exist")
        here = [item for item in self.groups.values() if item["listener"] == listener]
        if any(item["told"]["EndpointGroupRegion"] == region for item in here):
            raise RefusedError("EndpointGroupAlreadyExistsException", f"there is one for {region}")
        arn = f"{listener}/endpoint-group/{secrets.token_hex(5)}"
        told = {"EndpointGroupArn": arn, "EndpointGroupRegion": region, "EndpointDescriptions": []}
        self.groups[arn] = {"listener": listener, "told": told, "interfaces": {}}
        try:
            self._lead(self.groups[arn], asked)
        except RefusedError:
            del self.groups[arn]
            raise
        return {"EndpointGroup": told}

    def on_UpdateEndpointGroup(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        group = self._group(asked["EndpointGroupArn"])
        self._lead(group, asked)
        return {"EndpointGroup": group["told"]}

    def on_ListEndpointGroups(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        if asked["ListenerArn"] not in self.listeners:
            raise RefusedError("ListenerNotFoundException", f"{asked['ListenerArn']} does not exist")
        own = (item for item in self.groups.values() if item["listener"] == asked["ListenerArn"])
        return {"EndpointGroups": [item["told"] for item in own]}

    def on_DeleteEndpointGroup(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        group = self._group(asked["EndpointGroupArn"])
        self._lead(group, {"EndpointConfigurations": []})
        del self.groups[asked["EndpointGroupArn"]]
        return {}

    def _group(self, arn: str) -> dict[str, Any]:
        if arn not in self.groups:
            raise RefusedError("EndpointGroupNotFoundException", f"{arn} does not exist")
        return self.groups[arn]

    def _lead(self, group: dict[str, Any], asked: dict[str, Any]) -> None:
        """Have a group lead to other hosts: an interface of the service's stands beside each, and wears its group."""
        ec2 = _ec2(group["told"]["EndpointGroupRegion"])
        wanted = {item["EndpointId"]: item for item in asked.get("EndpointConfigurations", [])}
        hosts = {
            host.id: host
            for reservation in ec2.reservations.values()
            for host in reservation.instances
            if host.id in wanted and host.state not in ("terminated", "shutting-down")
        }
        for identity in wanted:
            if identity not in hosts:
                raise RefusedError("InvalidArgumentException", f"{identity} is no host of the region")
            internet = (gateway.vpc for gateway in ec2.internet_gateways.values())
            if not any(vpc and vpc.id == hosts[identity].vpc_id for vpc in internet):
                raise RefusedError("InvalidArgumentException", "the VPC has no internet gateway")
        for identity in set(group["interfaces"]) - set(wanted):
            ec2.delete_network_interface(group["interfaces"].pop(identity))
        for identity in set(wanted) - set(group["interfaces"]):
            group["interfaces"][identity] = _interface(ec2, hosts[identity])
        group["told"]["EndpointDescriptions"] = [
            {"EndpointId": identity, "Weight": 128, "HealthState": "INITIAL", "ClientIPPreservationEnabled": True}
            for identity in wanted
        ]


def _ec2(region: str) -> Any:
    from moto.ec2.models import ec2_backends  # noqa: PLC0415

    return ec2_backends[ACCOUNT][region]


def _interface(ec2: Any, host: Any) -> str:
    groups = ec2.groups[host.vpc_id].values()
    group = next((item for item in groups if item.name == GROUP), None) or ec2.create_security_group(
        GROUP, "GlobalAccelerator configured SecurityGroup", host.vpc_id
    )
    interface = ec2.create_network_interface(ec2.get_subnet(host.subnet_id), None, [group.id])
    interface.interface_type = "global_accelerator_managed"
    interface.description = "GlobalAccelerator managed interface"
    return str(interface.id)


def _overlap(some: list[dict[str, int]], others: list[dict[str, int]]) -> bool:
    return any(a["FromPort"] <= b["ToPort"] and b["FromPort"] <= a["ToPort"] for a in some for b in others)
