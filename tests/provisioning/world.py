"""AWS's lateness, laid over the emulator: what was made is seen and known later, states pass through their stages.

Time is virtual and moves only when somebody sleeps, so none of it costs any. What is late by how much is drawn anew for
each resource; which of it AWS documents and which is assumed stands in docs/provisioning.md.
"""

import copy
import json
import math
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import thread
from types import FrameType
from typing import Any

from tests.provisioning.transit_world import TransitWorld

LISTED_SECONDS = 8.0
"""A list may lack what was made so long ago, and tell of what was ended so long ago."""
KNOWN_SECONDS = 20.0
"""A call that names what was made so long ago may be answered that there is no such thing."""
PROFILE_SECONDS = 118.0
"""EC2 may refuse an instance profile that got its role so long ago."""
STATE_SECONDS = 40.0
"""A state lasts no longer than this, where the next one comes by itself."""
ACCELERATOR_SECONDS = 1800.0
"""A change of an accelerator lasts up to half an hour."""
ADDRESS_SECONDS = 100.0
"""The address of a host may stay taken so long after its end was asked for."""
BUCKET_NAME_SECONDS = 72 * 3600.0
"""The name of a deleted bucket stays taken."""

_RUNS_A_PIECE = thread._WorkItem.run.__code__

_MADE: dict[str, Callable[[Any, Any], list[str]]] = {
    "CreateVpc": lambda _, answer: [answer["Vpc"]["VpcId"]],
    "CreateSubnet": lambda _, answer: [answer["Subnet"]["SubnetId"]],
    "CreateInternetGateway": lambda _, answer: [answer["InternetGateway"]["InternetGatewayId"]],
    "CreateRouteTable": lambda _, answer: [answer["RouteTable"]["RouteTableId"]],
    "CreateSecurityGroup": lambda _, answer: [answer["GroupId"]],
    "CreateVpcPeeringConnection": lambda _, answer: [answer["VpcPeeringConnection"]["VpcPeeringConnectionId"]],
    "AllocateAddress": lambda _, answer: [answer["AllocationId"]],
    "ImportKeyPair": lambda params, _: [params["KeyName"]],
    "RunInstances": lambda _, answer: [item["InstanceId"] for item in answer["Instances"]],
    "CreateTransitGateway": lambda _, answer: [answer["TransitGateway"]["TransitGatewayId"]],
    "CreateTransitGatewayVpcAttachment": lambda _, answer: [
        answer["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    ],
    "CreateTransitGatewayPeeringAttachment": lambda _, answer: [
        answer["TransitGatewayPeeringAttachment"]["TransitGatewayAttachmentId"]
    ],
    "CreateTransitGatewayRouteTable": lambda _, answer: [
        answer["TransitGatewayRouteTable"]["TransitGatewayRouteTableId"]
    ],
    "CreatePlacementGroup": lambda params, _: [f"group/{params['GroupName']}"],
    "CreateRole": lambda params, _: [f"role/{params['RoleName']}"],
    "CreateInstanceProfile": lambda params, _: [f"profile/{params['InstanceProfileName']}"],
    "CreateBucket": lambda params, _: [f"bucket/{params['Bucket']}"],
}

_LISTS: dict[str, tuple[str, str, str]] = {
    "DescribeVpcs": ("Vpcs", "VpcId", ""),
    "DescribeSubnets": ("Subnets", "SubnetId", ""),
    "DescribeInternetGateways": ("InternetGateways", "InternetGatewayId", ""),
    "DescribeRouteTables": ("RouteTables", "RouteTableId", ""),
    "DescribeSecurityGroups": ("SecurityGroups", "GroupId", ""),
    "DescribeVpcPeeringConnections": ("VpcPeeringConnections", "VpcPeeringConnectionId", ""),
    "DescribeTransitGateways": ("TransitGateways", "TransitGatewayId", ""),
    "DescribeTransitGatewayVpcAttachments": ("TransitGatewayVpcAttachments", "TransitGatewayAttachmentId", ""),
    "DescribeTransitGatewayPeeringAttachments": ("TransitGatewayPeeringAttachments", "TransitGatewayAttachmentId", ""),
    "DescribeTransitGatewayRouteTables": ("TransitGatewayRouteTables", "TransitGatewayRouteTableId", ""),
    "DescribeAddresses": ("Addresses", "AllocationId", ""),
    "DescribeKeyPairs": ("KeyPairs", "KeyName", ""),
    "DescribePlacementGroups": ("PlacementGroups", "GroupName", "group/"),
    "DescribeTags": ("Tags", "ResourceId", ""),
    "ListRoles": ("Roles", "RoleName", "role/"),
    "ListInstanceProfiles": ("InstanceProfiles", "InstanceProfileName", "profile/"),
    "ListBuckets": ("Buckets", "Name", "bucket/"),
}

_ENDED = {
    "DeleteVpc": ("DescribeVpcs", "VpcId"),
    "DeleteSubnet": ("DescribeSubnets", "SubnetId"),
    "DeleteInternetGateway": ("DescribeInternetGateways", "InternetGatewayId"),
    "DeleteRouteTable": ("DescribeRouteTables", "RouteTableId"),
    "DeleteSecurityGroup": ("DescribeSecurityGroups", "GroupId"),
    "ReleaseAddress": ("DescribeAddresses", "AllocationId"),
    "DeleteKeyPair": ("DescribeKeyPairs", "KeyName"),
    "DeletePlacementGroup": ("DescribePlacementGroups", "GroupName"),
    "DeleteRole": ("ListRoles", "RoleName"),
    "DeleteInstanceProfile": ("ListInstanceProfiles", "InstanceProfileName"),
    "DeleteBucket": ("ListBuckets", "Bucket"),
}
"""Which list goes on telling of what a call ended, and the parameter that names it."""

_UNKNOWN = {
    "vpc": "InvalidVpcID.NotFound",
    "subnet": "InvalidSubnetID.NotFound",
    "igw": "InvalidInternetGatewayID.NotFound",
    "rtb": "InvalidRouteTableID.NotFound",
    "sg": "InvalidGroup.NotFound",
    "pcx": "InvalidVpcPeeringConnectionID.NotFound",
    "tgw": "InvalidTransitGatewayID.NotFound",
    "tgw-attach": "InvalidTransitGatewayAttachmentID.NotFound",
    "tgw-rtb": "InvalidRouteTableID.NotFound",
    "eipalloc": "InvalidAllocationID.NotFound",
    "i": "InvalidInstanceID.NotFound",
}
"""EC2's code for an id that it does not know, by the id's prefix (EC2 API, "Error codes")."""

_GLOBAL = ("iam", "s3")
_ROUTES_TO_PROFILES = ("RunInstances", "AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation")
Refusal = tuple[str, str]


class Clock:
    """Time that passes only by sleeping. What several threads sleep adds up: each sees more pass than it slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self._slept: defaultdict[tuple[str, object], float] = defaultdict(float)
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        """How long it would have taken: what the pieces of work of one pool sleep, they sleep at once.

        Each piece counts for itself, whichever threads they ran on: where a sleep takes no time, one thread may do them
        all in sequence.
        """
        pools: defaultdict[str, float] = defaultdict(float)
        for (pool, _), seconds in self._slept.items():
            pools[pool] = max(pools[pool], seconds)
        return sum(pools.values())

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        # "ThreadPoolExecutor-7_2": the third thread of the eighth pool.
        pool = threading.current_thread().name.rpartition("_")[0]
        with self._lock:
            self.now += seconds
            self._slept[pool, _piece_of_work()] += seconds


def _piece_of_work() -> object:
    """What the thread's pool has it do; None outside a pool.

    The pools of the standard library tell nobody what runs: it is a variable of a frame of their own.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not _RUNS_A_PIECE:
        frame = frame.f_back
    return frame and frame.f_locals["self"].future


class World:
    """The account behind the emulator, as its clients see it.

    ``before`` is asked before a call is sent and may answer in the emulator's place; ``after`` sees a good answer, and
    takes out of it or changes what a client cannot see yet.

    Args:
        reach: gives a client of the emulator for a service and a region, which tells the truth.
    """

    def __init__(self, reach: Callable[[str, str], Any]) -> None:
        self._reach = reach
        self._lock = threading.RLock()
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Forget everything: the account is a new one."""
        self.clock = Clock()
        self.automation: list[Callable[[Any, dict[str, Any]], None]] = []
        """Other people's programs: each is told every change that succeeded, and acts on the account at once."""
        self._random = random.Random(seed)
        self._listed: dict[tuple[str, str], float] = {}
        self._known: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str, str], dict[str, Any]] = {}  # list, region, name: as it was last listed
        self._ghosts: dict[tuple[str, str], list[tuple[float, dict[str, Any]]]] = {}  # list, region: until when, what
        self._profiles: dict[str, float] = {}
        self._tokens: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
        self._running: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._addresses: dict[tuple[str, str], float] = {}  # subnet, address: taken until
        self._held: list[tuple[str, set[str], float]] = []  # a host that is ending, what it still uses, until when
        self._peerings: dict[str, dict[str, dict[str, float]]] = {}  # id, stage, region: until when
        self._peering_tags: dict[tuple[str, str], dict[str, str]] = {}  # region, id: the tags put on there
        self._multipath: dict[str, float] = {}  # a peering: until when its change is pending
        self._buckets: dict[str, float] = {}
        self._deploying: dict[str, float] = {}  # an accelerator: until when
        self._beside: list[tuple[float, str, dict[str, Any]]] = []  # until when an interface of one is there, and where
        self._transit = TransitWorld(self.clock.monotonic, self._random, self._reach)

    def before(self, call: Any) -> Refusal | dict[str, Any] | None:
        """Refuse a call, or answer it, as AWS would and the emulator does not."""
        with self._lock:
            named = (self._unknown, self._token, self._named, self._in_use)
            for check in (*named, self._foreign_side, self._transit.before, self._accelerator):
                if (outcome := check(call)) is not None:
                    return outcome
        return None

    def after(self, call: Any, answer: dict[str, Any]) -> None:
        """Note what a call made; hide in a list what cannot be seen yet."""
        with self._lock:
            for made in _MADE.get(call.operation, lambda *_: [])(call.params, answer):
                self._note(call, made)
            if handler := getattr(self, f"_on_{call.operation}", None):
                handler(call, answer)
            self._transit.after(call, answer)
            self._after_accelerator(call, answer)
            if call.operation in _ENDED:
                self._haunt(call)
            self._hide(call, answer)
        if call.changes:
            for program in self.automation:
                program(call, answer)

    def _within(self, seconds: float) -> float:
        return self.clock.now + self._random.uniform(0, seconds)

    def _later(self, moment: float) -> bool:
        return moment > self.clock.now

    def _place(self, call: Any, name: str) -> tuple[str, str]:
        return ("" if call.service in _GLOBAL else call.region, name)

    def _note(self, call: Any, made: str) -> None:
        regions = [call.region]
        if "PeerRegion" in call.params:
            regions.append(call.params.get("PeerRegion", call.region))
        for region in regions:
            place = ("" if call.service in _GLOBAL else region, made)
            self._listed[place] = self._within(LISTED_SECONDS)
            self._known[place] = self._within(KNOWN_SECONDS)

    def _hide(self, call: Any, answer: dict[str, Any]) -> None:
        if call.operation == "DescribeInstances":
            for reservation in answer.get("Reservations", []):
                kept = [item for item in reservation["Instances"] if self._seen(call, item["InstanceId"])]
                reservation["Instances"] = [self._instance(item) for item in kept]
            asked = {value for told in call.params.get("Filters", []) for value in told["Values"]}
            # The emulator forgets what a terminated host used; EC2 tells it until the host is gone.
            for host, things, until in self._held:
                if things & asked and self._later(until):
                    state = {"Code": 32, "Name": "shutting-down"}
                    answer["Reservations"].append({"Instances": [{"InstanceId": host, "State": state}]})
        elif call.operation in _LISTS:
            key, name, prefix = _LISTS[call.operation]
            answer[key] = [item for item in answer.get(key) or [] if self._seen(call, prefix + item.get(name, ""))]
            region = self._place(call, "")[0]
            self._told.update({(call.operation, region, item[name]): copy.deepcopy(item) for item in answer[key]})
            for until, item in self._ghosts.get((call.operation, region), []):
                if self._later(until) and _asked_for(call.params, item):
                    answer[key].append(copy.deepcopy(item))

    def _haunt(self, call: Any) -> None:
        """What was ended may be listed for a while yet, as it was."""
        listing, parameter = _ENDED[call.operation]
        region = self._place(call, "")[0]
        if (item := self._told.pop((listing, region, call.params[parameter]), None)) is not None:
            self._ghosts.setdefault((listing, region), []).append((self._within(LISTED_SECONDS), item))

    def _seen(self, call: Any, name: str) -> bool:
        return not self._later(self._listed.get(self._place(call, name), 0.0))

    # what is not known yet

    def _unknown(self, call: Any) -> Refusal | None:
        """EC2: an id is not known everywhere at once. Filters are no ids: they find nothing."""
        if call.service != "ec2":
            return None
        plain = {name: value for name, value in call.params.items() if name not in ("Filters", "ClientToken")}
        for text in _texts(plain):
            if self._later(self._known.get((call.region, text), 0.0)):
                return _UNKNOWN.get(
                    text.rpartition("-")[0], "InvalidKeyPair.NotFound"
                ), f"The ID '{text}' does not exist"
        return None

    def _named(self, call: Any) -> Refusal | None:
        """IAM and S3: a name is not known everywhere at once, and not to EC2 for longer still."""
        if call.operation not in _MADE:
            for field, prefix, code in (
                ("RoleName", "role/", "NoSuchEntity"),
                ("InstanceProfileName", "profile/", "NoSuchEntity"),
                ("Bucket", "bucket/", "404" if call.operation == "HeadBucket" else "NoSuchBucket"),
            ):
                name = call.params.get(field)
                if name and self._later(self._known.get(("", prefix + name), 0.0)):
                    return code, f"{name} cannot be found."
        group = (call.params.get("Placement") or {}).get("GroupName", "")
        if group and self._later(self._known.get((call.region, f"group/{group}"), 0.0)):
            return "InvalidPlacementGroup.Unknown", f"The Placement Group '{group}' is unknown."
        if call.operation in _ROUTES_TO_PROFILES:
            name = call.params.get("IamInstanceProfile", {}).get("Name", "")
            if self._later(self._profiles.get(name, 0.0)):
                told = f"Value ({name}) for parameter iamInstanceProfile.name is invalid."
                return "InvalidParameterValue", f"{told} Invalid IAM Instance Profile name"
        if call.operation == "CreateBucket" and self._later(self._buckets.get(call.params["Bucket"], 0.0)):
            return "OperationAborted", "A conflicting conditional operation is currently in progress"
        if call.operation == "CreateBucket":
            return self._of_the_account(call)
        return None

    def _in_use(self, call: Any) -> Refusal | None:
        """What a host that is ending still stands in, holds or wears."""
        if call.operation == "RunInstances":
            for interface in call.params.get("NetworkInterfaces", []):
                for address in _private(interface):
                    if self._later(self._addresses.get((interface.get("SubnetId", ""), address), 0.0)):
                        return "InvalidIPAddress.InUse", f"Address {address} is in use."
        removals = ("DeleteSubnet", "DeleteSecurityGroup", "DeleteVpc", "DetachInternetGateway")
        if call.operation in removals:
            named = set(_texts(call.params))
            if any(things & named and self._later(until) for _, things, until in self._held):
                return "DependencyViolation", "resource has a dependent object"
        if call.operation == "AssociateAddress" and self._later(self._running.get(call.params["InstanceId"], 0.0)):
            # Both codes are seen for the same.
            code = self._random.choice(("IncorrectInstanceState", "InvalidInstanceID"))
            return code, "The pending-instance is not in a valid state for this operation."
        if call.operation == "AcceptVpcPeeringConnection":
            stages = self._peerings.get(call.params["VpcPeeringConnectionId"], {})
            if self._later(stages.get("initiating-request", {}).get(call.region, 0.0)):
                return "InvalidStateTransition", "the connection is being requested"
        return None

    # hosts

    def _token(self, call: Any) -> Refusal | dict[str, Any] | None:
        """A client token answers a second time with what it made the first time (EC2 API, "Ensuring idempotency")."""
        token = call.params.get("ClientToken")
        if call.operation != "RunInstances" or not token or (call.region, token) not in self._tokens:
            return None
        told, answer = self._tokens[call.region, token]
        if told != json.dumps(call.params, sort_keys=True):
            return "IdempotentParameterMismatch", "the token was used with other parameters"
        # Until 2025 the dead instance was the answer, and for some accounts still is.
        if answer["Instances"][0]["InstanceId"] in self._ended and self._random.random() < 0.5:
            return "IdempotentInstanceTerminated", "The client token is associated with a terminated instance."
        return copy.deepcopy(answer)

    def _on_RunInstances(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        for interface in call.params.get("NetworkInterfaces", []):
            for address in _private(interface):
                self._addresses[interface["SubnetId"], address] = math.inf
        for item in answer["Instances"]:
            self._running[item["InstanceId"]] = self._within(STATE_SECONDS)
        if token := call.params.get("ClientToken"):
            plain = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
            self._tokens[call.region, token] = (json.dumps(call.params, sort_keys=True), copy.deepcopy(plain))

    def _on_StartInstances(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        for instance in call.params["InstanceIds"]:
            self._running[instance] = self._within(STATE_SECONDS)

    def _on_TerminateInstances(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        for item in self._truth(call.region, call.params["InstanceIds"]):
            if item["InstanceId"] in self._ended:
                continue
            ended = self._ended[item["InstanceId"]] = self._within(STATE_SECONDS)
            # moto forgets where a terminated host stood; what was asked for tells.
            asked: dict[str, Any] = next(
                (
                    json.loads(told)["NetworkInterfaces"][0]
                    for told, made in self._tokens.values()
                    if made["Instances"][0]["InstanceId"] == item["InstanceId"]
                ),
                {},
            )
            if asked:
                freed = ended + self._random.uniform(0, ADDRESS_SECONDS - STATE_SECONDS)
                for address in _private(asked):
                    self._addresses[asked["SubnetId"], address] = freed
                self._held.append((item["InstanceId"], {asked["SubnetId"], *asked["Groups"]}, ended))

    def _truth(self, region: str, instances: list[str]) -> Iterator[dict[str, Any]]:
        answer = self._reach("ec2", region).describe_instances(InstanceIds=instances)
        return (item for reservation in answer["Reservations"] for item in reservation["Instances"])

    def _instance(self, item: dict[str, Any]) -> dict[str, Any]:
        identity, state = item["InstanceId"], item["State"]["Name"]
        if state == "running" and self._later(self._running.get(identity, 0.0)):
            item["State"] = {"Code": 0, "Name": "pending"}
        if state == "terminated" and self._later(self._ended.get(identity, 0.0)):
            item["State"] = {"Code": 32, "Name": "shutting-down"}
        return item

    # identities and buckets

    def _on_CreateInstanceProfile(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._profiles[call.params["InstanceProfileName"]] = self._within(PROFILE_SECONDS)

    _on_AddRoleToInstanceProfile = _on_CreateInstanceProfile  # noqa: N815

    def _of_the_account(self, call: Any) -> Refusal | None:
        """S3 guide, "Account regional namespace naming rules": such a name ends with whose it is and where."""
        name, account = call.params["Bucket"], "123456789012"
        if call.params.get("BucketNamespace") != "account-regional":
            return None
        fits = len(name) <= 63 and name.endswith(f"-{account}-{call.region}-an")
        return None if fits else ("InvalidBucketName", f"{name} is not of this account and region")

    def _on_DeleteBucket(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._buckets[call.params["Bucket"]] = self._within(BUCKET_NAME_SECONDS)

    # accelerators

    def _accelerator(self, call: Any) -> Refusal | None:
        """One change at a time (Global Accelerator API, UpdateAccelerator and DeleteAccelerator)."""
        one_at_a_time = ("UpdateAccelerator", "DeleteAccelerator")
        if call.operation in one_at_a_time and self._later(self._deploying.get(call.params["AcceleratorArn"], 0.0)):
            return "TransactionInProgressException", "another transaction is in progress"
        if call.operation == "DeleteSecurityGroup":
            for until, region, item in self._beside:
                worn = [group["GroupId"] for group in item["Groups"]]
                if self._later(until) and region == call.region and call.params["GroupId"] in worn:
                    return "DependencyViolation", "resource has a dependent object"
        if call.operation == "DeleteEndpointGroup":
            self._leave(call.params["EndpointGroupArn"])
        return None

    def _leave(self, group: str) -> None:
        """The interfaces of an endpoint group go some time after it."""
        groups = self._reach("globalaccelerator", "us-west-2").list_endpoint_groups(
            ListenerArn=group.partition("/endpoint-group/")[0]
        )["EndpointGroups"]
        for region in (item["EndpointGroupRegion"] for item in groups if item["EndpointGroupArn"] == group):
            for item in self._reach("ec2", region).describe_network_interfaces()["NetworkInterfaces"]:
                if item["InterfaceType"] == "global_accelerator_managed":
                    self._beside.append((self._within(ADDRESS_SECONDS), region, item))

    def _on_DescribeNetworkInterfaces(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        asked = {one["Name"]: one["Values"] for one in call.params.get("Filters", [])}
        for until, region, item in self._beside:
            worn = {group["GroupId"] for group in item["Groups"]}
            if self._later(until) and region == call.region and worn & set(asked.get("group-id", [])):
                answer["NetworkInterfaces"].append(copy.deepcopy(item))

    def _after_accelerator(self, call: Any, answer: dict[str, Any]) -> None:
        if call.service != "globalaccelerator":
            return
        if call.changes and call.operation not in ("TagResource", "DeleteAccelerator"):
            told = answer.get("Accelerator", {}).get("AcceleratorArn") or next(
                value for name, value in call.params.items() if name.endswith("Arn")
            )
            self._deploying[told.partition("/listener/")[0]] = self._within(
                ACCELERATOR_SECONDS if self._random.random() < 0.1 else STATE_SECONDS
            )
        for item in [answer.get("Accelerator", {}), *answer.get("Accelerators", [])]:
            if self._later(self._deploying.get(item.get("AcceleratorArn", ""), 0.0)):
                item["Status"] = "IN_PROGRESS"

    # peerings

    def _on_CreateVpcPeeringConnection(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        regions = {call.region, call.params.get("PeerRegion", call.region)}
        identity = answer["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        self._stage(identity, "initiating-request", regions)
        asked = [item["Tags"] for item in call.params.get("TagSpecifications", [])]
        self._peering_tags[call.region, identity] = {tag["Key"]: tag["Value"] for tags in asked for tag in tags}

    def _on_AcceptVpcPeeringConnection(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        identity = call.params["VpcPeeringConnectionId"]
        self._stage(identity, "provisioning", set(self._peerings.get(identity, {}).get("initiating-request", {})))

    def _on_DeleteVpcPeeringConnection(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        identity = call.params["VpcPeeringConnectionId"]
        if "deleting" not in self._peerings.get(identity, {}):
            self._stage(identity, "deleting", set(self._peerings.get(identity, {}).get("initiating-request", {})))

    def _stage(self, identity: str, stage: str, regions: set[str]) -> None:
        until = {region: self._within(STATE_SECONDS) for region in regions}
        self._peerings.setdefault(identity, {})[stage] = until

    def _on_CreateTags(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        for name in call.params["Resources"]:
            if name in self._peerings:
                told = self._peering_tags.setdefault((call.region, name), {})
                told.update({tag["Key"]: tag["Value"] for tag in call.params["Tags"]})

    def _resilience(self, identity: str, item: dict[str, Any]) -> str:
        """A connection whose options were changed tells how far that is."""
        sides = ((item[f"{side}VpcInfo"].get("PeeringOptions") or {}) for side in ("Requester", "Accepter"))
        allowed = [bool(options.get("AllowMultipathResilience")) for options in sides]
        if not any(allowed):
            return "disabled"
        return "enabled" if all(allowed) and not self._later(self._multipath[identity]) else "pending"

    def _foreign_side(self, call: Any) -> Refusal | None:
        """Each side's options are its own region's to change, and only of a connection that is active (EC2 API)."""
        if call.operation != "ModifyVpcPeeringConnectionOptions":
            return None
        items = self._reach("ec2", call.region).describe_vpc_peering_connections()["VpcPeeringConnections"]
        identity = call.params["VpcPeeringConnectionId"]
        (item,) = (one for one in items if one["VpcPeeringConnectionId"] == identity)
        until = self._peerings.get(identity, {}).get("provisioning", {}).get(call.region, 0.0)
        if item["Status"]["Code"] != "active" or self._later(until):
            return "OperationNotPermitted", f"{identity} is not active"
        for side in ("Requester", "Accepter"):
            if f"{side}PeeringConnectionOptions" in call.params and item[f"{side}VpcInfo"]["Region"] != call.region:
                return "OperationNotPermitted", f"the {side.lower()} is in {item[f'{side}VpcInfo']['Region']}"
        return None

    def _on_ModifyVpcPeeringConnectionOptions(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        self._multipath[call.params["VpcPeeringConnectionId"]] = self._within(STATE_SECONDS)

    def _on_DescribeVpcPeeringConnections(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        follows = {"pending-acceptance": "initiating-request", "active": "provisioning", "deleted": "deleting"}
        for item in answer.get("VpcPeeringConnections", []):
            identity, code = item["VpcPeeringConnectionId"], item["Status"]["Code"]
            before = follows.get(code, "")
            until = self._peerings.get(identity, {}).get(before, {}).get(call.region, 0.0)
            if self._later(until):
                item["Status"] = {"Code": before, "Message": before}
            if identity in self._multipath:
                item["MultipathResilienceStatus"] = self._resilience(identity, item)
            # moto shares the tags of a connection between its two regions.
            if identity in self._peerings:
                told = self._peering_tags.get((call.region, identity), {})
                item["Tags"] = [{"Key": key, "Value": value} for key, value in told.items()]

    def _on_DescribeRouteTables(self, call: Any, answer: dict[str, Any]) -> None:  # noqa: N802
        for table in answer.get("RouteTables", []):
            for route in table.get("Routes", []):
                if "deleting" in self._peerings.get(route.get("VpcPeeringConnectionId", ""), {}):
                    route["State"] = "blackhole"


def _private(interface: Mapping[str, Any]) -> list[str]:
    """The private addresses that a launch asks for."""
    several = [item["PrivateIpAddress"] for item in interface.get("PrivateIpAddresses", [])]
    return (
        several or [interface["PrivateIpAddress"]]
        if {"PrivateIpAddress", "PrivateIpAddresses"} & interface.keys()
        else []
    )


def _asked_for(params: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether a list with these parameters would have the item; one by other filters than tags has not."""
    tags = {f"tag:{tag['Key']}": tag["Value"] for tag in item.get("Tags", [])}
    return (
        all(tags.get(one["Name"]) in one["Values"] for one in params.get("Filters", []))
        and item.get("Path", "").startswith(params.get("PathPrefix", ""))
        and item.get("Name", "").startswith(params.get("Prefix", ""))
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a call's parameters."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
