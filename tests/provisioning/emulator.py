"""A moto server with what the tests need of AWS and moto leaves out.

Debian's images; refusals that AWS makes and moto does not, without which whoever loses a race against another
operator would do what AWS never lets happen; and one order of effects, which answers tell.
"""

import functools
import itertools
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.provisioning import direct, emulator_accelerator, emulator_placement, emulator_transit

EFFECT_HEADER = "x-effect"
REGIONS = ("ap-northeast-1", "ap-southeast-1", "eu-central-1", "eu-west-1", "us-east-1")
"""The regions that the account has enabled."""
EFFECTS = itertools.count(1)
"""The place of a call in the order of effects: one counter for what the emulator does and for what tests fake."""

ACCELERATORS = emulator_accelerator.Accelerators()
"""Those of the account, as moto's backends are: one for the process."""

DEBIAN = "136693071363"


NEWEST_IMAGE = f"ami-0debaadcafe{10:05x}"
"""The image that a search finds; every region has it."""
ARM_IMAGE = f"ami-0debaadcafe{99:05x}"
IMAGE_GIB = 8


def _images() -> list[dict[str, Any]]:
    base = {
        "architecture": "x86_64",
        "description": "Debian",
        "hypervisor": "xen",
        "image_location": "amazon/debian",
        "image_type": "machine",
        "owner_id": DEBIAN,
        "public": True,
        "root_device_name": "/dev/xvda",
        "root_device_type": "ebs",
        "sriov": "simple",
        "state": "available",
        "virtualization_type": "hvm",
    }
    images = [
        {
            **base,
            "ami_id": f"ami-0debaadcafe{n:05x}",
            "name": f"debian-12-amd64-2026{n:02d}01-1",
            "creation_date": f"2026-{n:02d}-01T00:00:00.000Z",
        }
        for n in (9, 10)
    ]
    arm = {"ami_id": ARM_IMAGE, "architecture": "arm64", "name": "debian-12-arm64-20261001-1"}
    return [*images, {**images[-1], **arm}]


def load_images() -> None:
    """Have moto know Debian's images: it reads the list when it is first imported."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(_images(), file)
    os.environ["MOTO_AMIS_PATH"] = file.name
    from moto.ec2.models.amis import Ami  # noqa: PLC0415

    Path(file.name).unlink()
    told = Ami.block_device_mappings

    def mappings(image: Any) -> list[dict[str, Any]]:
        """What moto tells, with the size of Debian's own images instead of its 15 GiB for every one."""
        return [{**item, "Ebs": {**item["Ebs"], "VolumeSize": IMAGE_GIB}} for item in told.fget(image)]  # type: ignore[attr-defined]

    Ami.block_device_mappings = property(mappings)  # type: ignore[method-assign,assignment]


def _hosts(ec2: Any) -> Iterator[Any]:
    hosts = (host for reservation in ec2.reservations.values() for host in reservation.instances)
    return (host for host in hosts if host.state != "terminated")


def _vpc_has_a_gateway(ec2: Any, internet_gateway_id: str, vpc_id: str) -> bool:
    return any(gateway.vpc and gateway.vpc.id == vpc_id for gateway in ec2.internet_gateways.values())


def _vpc_has_public_addresses(ec2: Any, internet_gateway_id: str, vpc_id: str) -> bool:
    return any(host.vpc_id == vpc_id and host.public_ip for host in _hosts(ec2))


def _vpc_holds_something(ec2: Any, vpc_id: str) -> bool:
    groups = any(group.name != "default" for group in ec2.groups.get(vpc_id, {}).values())
    interfaces = any(interface.subnet.vpc_id == vpc_id for interface in ec2.enis.values())
    endpoints = any(item.vpc_id == vpc_id and item.state != "deleted" for item in ec2.vpc_end_points.values())
    return _vpc_has_a_gateway(ec2, "", vpc_id) or groups or interfaces or endpoints


def _address_is_associated(ec2: Any, address: str | None = None, allocation_id: str | None = None) -> bool:
    return any(item.association_id for item in ec2.addresses if item.allocation_id == allocation_id)


def _subnet_holds_something(ec2: Any, subnet_id: str) -> bool:
    interfaces = any(interface.subnet.id == subnet_id for interface in ec2.enis.values() if not interface.instance)
    return interfaces or any(host.subnet_id == subnet_id for host in _hosts(ec2))


def _group_is_used(ec2: Any, name: str | None = None, group_id: str | None = None) -> bool:
    of_hosts = (interface for host in _hosts(ec2) for interface in host.nics.values())
    others = (interface for interface in ec2.enis.values() if not interface.instance)
    worn = any(group.id == group_id for interface in (*of_hosts, *others) for group in interface.group_set)
    groups = (group for groups in ec2.groups.values() for group in groups.values() if group.id != group_id)
    rules = (rule for group in groups for rule in (*group.ingress_rules, *group.egress_rules))
    return worn or any(rule.source_group.get("GroupId") == group_id for rule in rules)


def _subnet_has_a_table(
    ec2: Any, route_table_id: str, gateway_id: str | None = None, subnet_id: str | None = None
) -> bool:
    others = (table for table in ec2.route_tables.values() if table.id != route_table_id)
    return subnet_id is not None and any(subnet_id in table._associations.values() for table in others)


def _role_is_not_in_profile(iam: Any, profile_name: str, role_name: str) -> bool:
    return iam.get_role(role_name) not in iam.get_instance_profile(profile_name).roles


_REFUSALS: tuple[tuple[str, str, Callable[..., bool], str], ...] = (
    ("ec2", "attach_internet_gateway", _vpc_has_a_gateway, "Resource.AlreadyAssociated"),
    ("ec2", "detach_internet_gateway", _vpc_has_public_addresses, "DependencyViolation"),
    ("ec2", "associate_route_table", _subnet_has_a_table, "Resource.AlreadyAssociated"),
    ("ec2", "release_address", _address_is_associated, "InvalidIPAddress.InUse"),
    ("ec2", "delete_subnet", _subnet_holds_something, "DependencyViolation"),
    ("ec2", "delete_security_group", _group_is_used, "DependencyViolation"),
    ("ec2", "delete_vpc", _vpc_holds_something, "DependencyViolation"),
    ("iam", "remove_role_from_instance_profile", _role_is_not_in_profile, "NoSuchEntity"),
)
"""Service, method, when AWS refuses it, and the code of AWS's answer."""


def _guarded(do: Any, refused: Callable[..., bool], error: Callable[[str, str], Exception], code: str) -> Any:
    def do_or_refuse(*args: Any, **kwargs: Any) -> Any:
        if refused(*args, **kwargs):
            raise error(code, refused.__name__.replace("_", " ").strip())
        return do(*args, **kwargs)

    return do_or_refuse


@functools.cache
def _add_refusals() -> None:
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from moto.ec2.models import EC2Backend  # noqa: PLC0415
    from moto.iam.exceptions import IAMException  # noqa: PLC0415
    from moto.iam.models import IAMBackend  # noqa: PLC0415

    services: dict[str, Any] = {"ec2": (EC2Backend, EC2ClientError), "iam": (IAMBackend, IAMException)}
    refusals: tuple[tuple[str, str, Callable[..., bool], str], ...] = emulator_transit.REFUSALS
    for service, method, refused, code in (*_REFUSALS, *refusals):
        backend, error = services[service]
        setattr(backend, method, _guarded(getattr(backend, method), refused, error, code))


@functools.cache
def _end_peerings() -> None:
    """Have a VPC take its peering connections along (VPC peering guide, "Delete a VPC peering connection").

    The guide says so of the console and of active ones. That the API does the same, with those of one account in any
    state, is assumed.
    """
    from moto.ec2.models import EC2Backend  # noqa: PLC0415

    delete = EC2Backend.delete_vpc

    def delete_vpc(self: Any, vpc_id: str) -> Any:
        gone = delete(self, vpc_id)
        for peering in self.vpc_pcxs.values():
            if vpc_id in (peering.vpc.id, peering.peer_vpc.id):
                peering._status.deleted(deleter_id=self.account_id)
        return gone

    EC2Backend.delete_vpc = delete_vpc  # type: ignore[method-assign]


@functools.cache
def _enable_regions() -> None:
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend  # noqa: PLC0415

    RegionsAndZonesBackend.regions = [item for item in RegionsAndZonesBackend.regions if item.name in REGIONS]


@functools.cache
def _bind_profiles() -> None:
    """Have hosts tell the id of the profile that they were given, as EC2 does; moto tells the association's."""
    from moto.ec2.models.iam_instance_profile import (  # noqa: PLC0415
        IamInstanceProfileAssociation,
        IamInstanceProfileAssociationBackend,
    )

    make = IamInstanceProfileAssociation.__init__
    replace = IamInstanceProfileAssociationBackend.replace_iam_instance_profile_association

    def bind(ec2: Any, instance: str, profile: Any) -> None:
        ec2.modify_instance_attribute(instance, "iam_instance_profile", {"Arn": profile.arn, "Id": profile.id})

    def made(self: Any, ec2: Any, association: str, instance: Any, profile: Any) -> None:
        make(self, ec2, association, instance, profile)
        bind(ec2, instance.id, profile)

    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        association = replace(self, *args, **kwargs)
        bind(self, association.instance_id, association.iam_instance_profile)
        return association

    IamInstanceProfileAssociation.__init__ = made  # type: ignore[method-assign,assignment]
    IamInstanceProfileAssociationBackend.replace_iam_instance_profile_association = replaced  # type: ignore[method-assign]


@functools.cache
def _add_public_access() -> None:
    """VPC Block Public Access, which moto has not: off, as in an account that never heard of it."""
    from moto.core.responses import ActionResult  # noqa: PLC0415
    from moto.ec2.responses import EC2Response  # noqa: PLC0415

    def options(self: Any) -> Any:
        told = {"InternetGatewayBlockMode": "off", "State": "default-state", "ExclusionsAllowed": "allowed"}
        return ActionResult({"VpcBlockPublicAccessOptions": told})

    EC2Response.describe_vpc_block_public_access_options = options  # type: ignore[attr-defined]


class _OneByOne:
    """A WSGI application that does one request at a time and tells in each answer the place of its effect.

    moto's models bear no two threads at once, and the order in which clients see answers is not that of effects.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/moto-api/reset":
            ACCELERATORS.reset()
        with self._lock:
            place = (EFFECT_HEADER, str(next(EFFECTS)))

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                return start_response(status, [*headers, place], *more)

            target = environ.get("HTTP_X_AMZ_TARGET", "")
            if target.startswith(emulator_accelerator.TARGET):
                body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                # One endpoint stands for all: the region is that which the request was signed for.
                where = environ.get("HTTP_AUTHORIZATION", "")
                code, told = ACCELERATORS.answer(target.removeprefix(emulator_accelerator.TARGET), body, where)
                kind = ("Content-Type", "application/x-amz-json-1.1")
                start(f"{code} told", [kind, ("Content-Length", str(len(told)))])
                return [told]
            return self._application(environ, start)


def correct_moto() -> None:
    """Have moto, in this process, do what EC2 does where it differs from it."""
    load_images()
    emulator_transit.correct()
    emulator_placement.add()
    _end_peerings()
    _add_refusals()
    _enable_regions()
    _add_public_access()
    _bind_profiles()


def _remember(application: Any) -> None:
    """Have moto look only once for what it looks for with each call, and what does not change."""
    from moto.core import responses  # noqa: PLC0415

    application.get_backend_for_host = functools.cache(application.get_backend_for_host)
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)  # type: ignore[attr-defined]


def emulated_aws() -> Callable[..., Any]:
    """Make the emulator, a WSGI application; it is one for this whole process."""
    correct_moto()
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415

    application = DomainDispatcherApplication(create_backend_app)
    _remember(application)
    return _OneByOne(application)


def serve() -> tuple[Any, str]:
    """Start the emulator; returns the server, to be shut down, and its endpoint."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = emulated_aws()
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    endpoint = f"http://{host!s}:{port}"
    direct.APPLICATIONS[endpoint] = application
    return server, endpoint
