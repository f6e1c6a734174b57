"""A session with AWS for tests: hooks that record, fail and kill, and a clock that does not wait."""

import copy
import functools
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from provisioning.cloud import Cloud
from provisioning.desired import desired
from provisioning.engine import Engine
from provisioning.model import Deployment, Found, View
from provisioning.patience import is_change
from provisioning.steps import Event
from provisioning.topology import Topology
from tests.provisioning.direct import deliver
from tests.provisioning.emulator import EFFECT_HEADER, EFFECTS
from tests.provisioning.world import LISTED_SECONDS, World


class ProcessDeathError(BaseException):
    """The process died: escapes every handler, as SIGKILL does."""


@dataclass
class Call:
    """One recorded API call."""

    operation: str
    region: str
    service: str
    params: dict[str, Any]
    error: str | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    effect: int = 0
    """Its place in the order of effects, as the emulator counted."""

    @property
    def changes(self) -> bool:
        return is_change(_snake(self.operation))


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


Fault = Callable[[Call], tuple[str, str] | dict[str, Any] | BaseException | None]
"""Decides before a call is sent: an error (code, message), a faked answer, an exception to raise, or None."""


LOADER = botocore.session.Session().get_component("data_loader")
RECORDED: list[Call] = []
"""Every call of the running test, in order; the rules are checked over it when the test ends."""


@functools.cache
def world(endpoint: str) -> World:
    """The account behind an emulator, one for all sessions with it."""
    return World(functools.partial(client, endpoint))


def catch_up(endpoint: str) -> None:
    """Let time pass until lists tell what is: they may tell of what went a moment ago."""
    world(endpoint).clock.sleep(LISTED_SECONDS)


class _Whose(threading.local):
    """Whose call this thread makes."""

    aws: "Aws"


_WHOSE = _Whose()
_MAKING = threading.Lock()


def _its(hook: str) -> Callable[..., Any]:
    def handle(**told: Any) -> Any:
        return getattr(_WHOSE.aws, hook)(**told)

    return handle


@functools.cache
def _hooked(make: Callable[[], boto3.Session], endpoint: str) -> boto3.Session:
    """A session for all that are alike: its hooks ask whose call it is, and its clients cost what they cost once."""
    os.environ["AWS_ENDPOINT_URL"] = endpoint
    made = make()
    made.events.register_first("before-call.*", _its("_before"))
    made.events.register_last("after-call.*", _its("_after"))
    made.events.register("after-call-error.*", _its("_after_error"))
    made.events.register("provide-client-params.*", _params)
    return made


@functools.cache
def _client(shared: boto3.Session, service: str, region: str, retries: int) -> Any:
    config = Config(retries={"total_max_attempts": retries})
    return cast("Any", shared.client)(service, region_name=region, config=config)


class _Session:
    """One operator's own view of a shared session."""

    def __init__(self, aws: "Aws", shared: boto3.Session) -> None:
        self._aws, self._shared = aws, shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    def client(self, service: str, *, region_name: str, config: Config | None = None) -> Any:
        retries = cast("Any", config).retries["total_max_attempts"] if config else 5
        with _MAKING:
            return _Client(self._aws, _client(self._shared, service, region_name, retries))


class _Client:
    """A shared client, whose calls are one operator's."""

    def __init__(self, aws: "Aws", shared: Any) -> None:
        self._aws, self._shared = aws, shared

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._shared, name)

        def call(**params: Any) -> Any:
            before = getattr(_WHOSE, "aws", None)
            _WHOSE.aws = self._aws
            try:
                return method(**params)
            finally:
                # A fault may make calls of another operator's within a call.
                if before is not None:
                    _WHOSE.aws = before

        return call


def _params(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    # botocore rewrites parameters in place later (user data becomes base64).
    context["latency_params"] = copy.deepcopy(params)


class Aws:
    """A session with hooks, through which the world is seen.

    ``before`` are asked before a call is sent, ``after`` when its answer is there: raising there loses the answer.
    """

    def __init__(self, endpoint: str) -> None:
        self.calls: list[Call] = []
        self.before: list[Fault] = []
        self.after: list[Callable[[Call], BaseException | None]] = []
        self.dead = False
        self.world = world(endpoint)
        self._lock = threading.Lock()
        self.session = cast("boto3.Session", _Session(self, _hooked(session, endpoint)))

    def _before(self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> Any:
        call = Call(model.name, context["client_region"], model.service_model.service_name, context["latency_params"])
        context["latency_call"] = call
        with self._lock:
            if self.dead:
                raise ProcessDeathError
            self.calls.append(call)
            RECORDED.append(call)
            for fault in (*self.before, self.world.before):
                if (outcome := fault(call)) is None:
                    continue
                call.effect = next(EFFECTS)
                if isinstance(outcome, BaseException):
                    self.dead = isinstance(outcome, ProcessDeathError)
                    call.error = type(outcome).__name__
                    raise outcome
                if isinstance(outcome, dict):
                    call.error = "faked"
                    return SimpleNamespace(status_code=200), {**outcome, "ResponseMetadata": {"HTTPStatusCode": 200}}
                call.error = outcome[0]
                return SimpleNamespace(status_code=400), {
                    "Error": {"Code": outcome[0], "Message": outcome[1]},
                    "ResponseMetadata": {"HTTPStatusCode": 400},
                }
        return None

    def _after(self, http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        call: Call = context["latency_call"]
        if call.error is not None:
            return
        # An answer without it is of an emulator that broke down.
        call.effect = int(http_response.headers.get(EFFECT_HEADER) or next(EFFECTS))
        if http_response.status_code >= 300:
            call.error = parsed.get("Error", {}).get("Code", "?")
        else:
            self.world.after(call, parsed)
            call.answer = {k: v for k, v in parsed.items() if k not in ("ResponseMetadata", "Body")}
        with self._lock:
            if self.dead:
                raise ProcessDeathError
            if call.error is None:
                for fault in self.after:
                    if outcome := fault(call):
                        self.dead = isinstance(outcome, ProcessDeathError)
                        raise outcome

    def _after_error(self, exception: Exception, context: dict[str, Any], **_: Any) -> None:
        context["latency_call"].error = type(exception).__name__
        context["latency_call"].effect = next(EFFECTS)

    def changing(self) -> list[Call]:
        return [call for call in self.calls if call.changes]


def lost() -> ConnectionClosedError:
    return ConnectionClosedError(endpoint_url="http://aws.test")


class Once:
    """A fault that strikes the n-th matching call only."""

    def __init__(self, match: Callable[[Call], bool], outcome: Callable[[], Any], nth: int = 1) -> None:
        self.match, self.outcome, self.left, self.struck = match, outcome, nth, False

    def __call__(self, call: Call) -> Any:
        if self.struck or not self.match(call):
            return None
        self.left -= 1
        if self.left:
            return None
        self.struck = True
        return self.outcome()


def operation(name: str, region: str | None = None) -> Callable[[Call], bool]:
    return lambda call: call.operation == name and region in (None, call.region)


@dataclass
class Operator:
    """One person running `provision` once: a fresh session, view and engine each time."""

    endpoint: str
    topology: Topology
    name: str = "test"
    aws: Aws = field(init=False)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aws = Aws(self.endpoint)

    def engine(self, *, nodes: bool = True) -> Engine:
        cloud = Cloud(self.aws.session, self.aws.world.clock)
        deployment = Deployment(self.name, self.topology.owner, self.topology.expires, further=self.topology.tags)
        home = self.topology.regions[0] if nodes else cloud.home
        account = cloud.account(home)
        graph = desired(self.topology, deployment, account, lambda: b"a bundle") if nodes else {}
        return Engine(View(cloud, deployment, home, account, graph), self.events.append)

    def up(self) -> "Operator":
        self.engine().apply()
        return self

    def down(self) -> "Operator":
        self.engine(nodes=False).remove()
        return self

    def left(self) -> list[Found]:
        return self.engine(nodes=False).standing()


def session() -> boto3.Session:
    """The account's session; the models of AWS's services, a quarter of a second for EC2's, are parsed once for all."""
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    core.get_component("event_emitter").register("before-send.*", deliver)
    return boto3.Session(
        aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1", botocore_session=core
    )


@functools.cache
def client(endpoint: str, service: str, region: str) -> Any:
    """A client beside the operators': what it does is not recorded."""
    with _MAKING:
        return cast("Any", _beside().client)(service, region_name=region, endpoint_url=endpoint)


_beside = functools.cache(session)


def census(endpoint: str, regions: tuple[str, ...]) -> Counter[tuple[str, str, str]]:
    """Everything in the account that is not AWS's own default, whatever its tags: (region, kind, key)."""
    found: Counter[tuple[str, str, str]] = Counter()

    def count(region: str, kind: str, items: Iterable[dict[str, Any]]) -> None:
        for item in items:
            tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
            found[region, kind, f"{tags.get('latency:deployment')}/{tags.get('latency:key')}"] += 1

    for region in regions:
        ec2 = client(endpoint, "ec2", region)
        default = {item["VpcId"] for item in ec2.describe_vpcs()["Vpcs"] if item["IsDefault"]}
        count(region, "vpc", (i for i in ec2.describe_vpcs()["Vpcs"] if not i["IsDefault"]))
        count(region, "subnet", (i for i in ec2.describe_subnets()["Subnets"] if i["VpcId"] not in default))
        count(
            region,
            "gateway",
            (
                i
                for i in ec2.describe_internet_gateways()["InternetGateways"]
                if not any(a["VpcId"] in default for a in i["Attachments"])
            ),
        )
        tables = ec2.describe_route_tables()["RouteTables"]
        count(region, "table", (i for i in tables if not any(a.get("Main") for a in i["Associations"])))
        groups = ec2.describe_security_groups()["SecurityGroups"]
        count(region, "group", (i for i in groups if i["GroupName"] != "default"))
        peerings = ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]
        count(region, "peering", (i for i in peerings if i["Status"]["Code"] not in ("deleted", "failed", "rejected")))
        for kind, listing, key in (
            ("transit-gateway", "describe_transit_gateways", "TransitGateways"),
            ("transit-attachment", "describe_transit_gateway_attachments", "TransitGatewayAttachments"),
            ("transit-table", "describe_transit_gateway_route_tables", "TransitGatewayRouteTables"),
        ):
            items = getattr(ec2, listing)()[key]
            # A default table goes with its gateway, without a call.
            count(
                region,
                kind,
                (i for i in items if i["State"] != "deleted" and not i.get("DefaultAssociationRouteTable")),
            )
        instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        count(region, "instance", (i for i in instances if i["State"]["Name"] not in ("terminated", "shutting-down")))
        count(region, "address", ec2.describe_addresses()["Addresses"])
        count(region, "volume", ec2.describe_volumes()["Volumes"])
        count(
            region,
            "interface",
            ({**i, "Tags": i.get("TagSet", [])} for i in ec2.describe_network_interfaces()["NetworkInterfaces"]),
        )
        count(region, "key", ec2.describe_key_pairs()["KeyPairs"])
    found += _accelerators(endpoint)
    s3, iam = client(endpoint, "s3", regions[0]), client(endpoint, "iam", regions[0])
    for bucket in s3.list_buckets()["Buckets"]:
        # Eight digits of a deployment's bucket are random.
        name = re.sub(r"-[0-9a-f]{8}(-\d{12}-)", r"-*\1", bucket["Name"])
        found["", "bucket", name] += 1
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            found["", "object", f"{name}/{item['Key']}"] += 1
    for role in iam.list_roles()["Roles"]:
        found["", "role", role["RoleName"]] += 1
    for profile in iam.list_instance_profiles()["InstanceProfiles"]:
        found["", "profile", profile["InstanceProfileName"]] += 1
    return found


def _accelerators(endpoint: str) -> Counter[tuple[str, str, str]]:
    """Accelerators, their listeners, and how many hosts those lead to."""
    found: Counter[tuple[str, str, str]] = Counter()
    service = client(endpoint, "globalaccelerator", "us-west-2")
    for item in service.list_accelerators()["Accelerators"]:
        found["", "accelerator", item["Name"]] += 1
        for listener in service.list_listeners(AcceleratorArn=item["AcceleratorArn"])["Listeners"]:
            groups = service.list_endpoint_groups(ListenerArn=listener["ListenerArn"])["EndpointGroups"]
            led = [len(group["EndpointDescriptions"]) for group in groups]
            found["", "listener", f"{listener['Protocol']} {listener['PortRanges'][0]['FromPort']} to {led}"] += 1
    return found
