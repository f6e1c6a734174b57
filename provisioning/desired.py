"""From a topology to the graph of resources that shall exist."""

import functools
import secrets
from collections.abc import Callable
from typing import TypeVar

from provisioning.firewall import firewall
from provisioning.kinds.accelerator import AcceleratorSpec, ListenerSpec
from provisioning.kinds.compute import AddressSpec, KeyPairSpec, PlacementGroupSpec
from provisioning.kinds.identity import IdentitySpec
from provisioning.kinds.instance import InstanceSpec, Outside
from provisioning.kinds.network import GatewaySpec, RouteTableSpec, SubnetSpec, VpcSpec
from provisioning.kinds.peering import PeeringSpec
from provisioning.kinds.security import SecurityGroupSpec
from provisioning.kinds.storage import BucketSpec, ObjectSpec, bucket_name, bucket_region
from provisioning.model import Deployment, Node
from provisioning.topology import Host, Site, Subnet, Topology
from provisioning.transits import transit_nodes, transit_routes
from provisioning.userdata import digest, host_files, user_data

__all__ = ["BUCKET", "BUNDLE_OBJECT", "KEY_OBJECT", "desired"]

BUCKET = "bucket"
BUNDLE_OBJECT = "bundle.tar.gz"
KEY_OBJECT = "link.key"
_NAME_BYTES = 64
T = TypeVar("T")


def desired(topology: Topology, deployment: Deployment, account: str, bundle: Callable[[], bytes]) -> dict[str, Node]:
    """All nodes of a deployment by key.

    Args:
        topology: what shall stand.
        deployment: under which name.
        account: the AWS account's id, which is part of the bucket's name.
        bundle: makes the software bundle; called only when the bucket lacks it.

    Raises:
        ProvisionError: a host's user data is longer than EC2 takes.
    """
    home = topology.regions[0]
    nodes = [
        Node(BUCKET, "bucket", home, BucketSpec(_kept_days(topology))),
        Node(f"object/{BUNDLE_OBJECT}", "object", home, ObjectSpec(BUCKET, BUNDLE_OBJECT, bundle), (BUCKET,)),
    ]
    if topology.link:
        key = ObjectSpec(BUCKET, KEY_OBJECT, lambda: secrets.token_hex(32).encode())
        nodes.append(Node(f"object/{KEY_OBJECT}", "object", home, key, (BUCKET,)))
    for site in topology.site:
        nodes += _site(topology, site)
    for peering in topology.peering:
        requester, accepter = (topology.named_site(name) for name in (peering.requester, peering.accepter))
        ends = (f"vpc/{requester.name}", f"vpc/{accepter.name}")
        spec = PeeringSpec(*ends, accepter.region, peering.multipath_resilience)
        nodes.append(Node(f"peering/{peering.name}", "peering", requester.region, spec, ends))
    nodes += transit_nodes(topology)
    nodes += _accelerators(topology)
    if topology.access.ssh_key:
        nodes += [
            Node(f"key/{region}", "key-pair", region, KeyPairSpec(topology.access.ssh_key))
            for region in topology.regions
        ]
    for host in topology.host:
        nodes += _host(topology, host, deployment, account)
    return {node.key: node for node in nodes}


def _kept_days(topology: Topology) -> int | None:
    """How long the deployment's bucket keeps archives; None where none go there."""
    archive = topology.archive
    return None if archive is None or archive.upload else archive.bucket_days


def objects_of(topology: Topology, host: Host) -> tuple[str, ...]:
    """The objects that a host may read."""
    linked = any(host.name in (link.forwarder, link.receiver) for link in topology.link)
    return (BUNDLE_OBJECT, KEY_OBJECT) if linked else (BUNDLE_OBJECT,)


def _placement(host: Host) -> str:
    """The key of the host's placement group; a cluster stands in one zone (EC2 guide, "Placement strategies")."""
    if host.placement:
        return f"group/{host.site}-{host.subnet}-{host.placement}"
    return f"group/{host.site}" if host.precision_time else ""


def _wireguard_peer(topology: Topology, host: Host) -> str:
    overlay = topology.overlay
    if overlay is None or overlay.kind != "wireguard" or host.name not in (overlay.client, overlay.gateway):
        return ""
    return f"host/{overlay.gateway if host.name == overlay.client else overlay.client}"


def _site(topology: Topology, site: Site) -> list[Node]:
    vpc = f"vpc/{site.name}"
    nodes = [Node(vpc, "vpc", site.region, VpcSpec(site.cidr))]
    gateway = f"gateway/{site.name}"
    if any(subnet.public for subnet in site.subnet):
        nodes.append(Node(gateway, "internet-gateway", site.region, GatewaySpec(vpc), (vpc,)))
    for subnet in site.subnet:
        nodes += _subnet(topology, site, subnet, vpc, gateway)
    return nodes


def _subnet(topology: Topology, site: Site, subnet: Subnet, vpc: str, gateway: str) -> list[Node]:
    key = f"subnet/{site.name}/{subnet.name}"
    types = [host.type for host in topology.host if (host.site, host.subnet) == (site.name, subnet.name)]
    # Only the peer's own block is routed to the peering: AWS accepts a default route to it and carries nothing.
    routes = [(peer.cidr, f"peering/{peering.name}") for peering, peer in topology.peers(site.name)]
    through, attached = transit_routes(topology, site, subnet)
    routes += through
    if subnet.public:
        routes.append(("0.0.0.0/0", gateway))
    needs = (key, vpc, *dict.fromkeys(target for _, target in routes), *attached)
    return [
        Node(
            key,
            "subnet",
            site.region,
            SubnetSpec(vpc, subnet.cidr, subnet.zone, tuple(types or ["t3.micro"]), subnet.zone_id),
            (vpc,),
        ),
        Node(
            f"routes/{site.name}/{subnet.name}",
            "route-table",
            site.region,
            RouteTableSpec(vpc, (key,), tuple(routes)),
            needs,
        ),
    ]


def _host(topology: Topology, host: Host, deployment: Deployment, account: str) -> list[Node]:
    site = topology.site_of(host)
    group, identity = f"firewall/{host.name}", f"identity/{host.name}"
    subnet = f"subnet/{site.name}/{host.subnet}"
    objects = objects_of(topology, host)
    ingress, egress = firewall(topology, host)
    home = topology.regions[0]
    key = f"key/{site.region}" if topology.access.ssh_key else ""
    placement = _placement(host)
    nodes = [
        Node(
            group,
            "security-group",
            site.region,
            SecurityGroupSpec(f"vpc/{site.name}", ingress, egress),
            (f"vpc/{site.name}", *topology.outside(host)),
        ),
        Node(
            identity,
            "identity",
            home,
            IdentitySpec(host.name, BUCKET, objects, topology.archive if host.role == "receiver" else None),
            (BUCKET,),
        ),
    ]
    if placement:
        strategy = "cluster" if host.placement else "precision-time"
        nodes.append(Node(placement, "placement-group", site.region, PlacementGroupSpec(strategy)))

    outside = topology.outside(host)

    def boot(what: Callable[..., T], bucket: str, known: Outside, **more: int) -> T:
        return what(
            topology, host, deployment.name, bucket, bucket_region(bucket, account), objects, dict(known), **more
        )

    # Told before the first call; the real name is as long as this one, and hardly better to compress, and so are the
    # addresses.
    long = tuple((key, "203.0.113.123") for key in outside)
    boot(user_data, bucket_name(deployment.name, account, home), long, spare_bytes=_NAME_BYTES)
    spec = InstanceSpec(
        name=host.name,
        subnet=subnet,
        addresses=(host.address, host.second_address) if host.second_address else (host.address,),
        firewall=group,
        identity=identity,
        type=host.type,
        credit_mode=host.credit_mode,
        image=host.image,
        volume_gib=host.volume_gib,
        public=host.public == "assigned",
        routes_for_others=host.role == "nat",
        bucket=BUCKET,
        user_data=functools.partial(boot, user_data),
        boot_files=functools.cache(lambda bucket, known: digest(boot(host_files, bucket, known))),
        outside=outside,
        elastic=f"address/{host.name}" if host.name in topology.fixed else "",
        key_pair=key,
        key_digest=topology.access.ssh_key.strip(),
        placement_group=placement,
        tunnel_peer=_wireguard_peer(topology, host),
    )
    # The objects come first so that a host never boots before there is something to fetch.
    needs = (
        subnet,
        f"routes/{site.name}/{host.subnet}",
        group,
        identity,
        *(f"object/{name}" for name in objects),
        *(name for name in (key, placement, spec.elastic) if name),
        *outside,
    )
    nodes.append(Node(f"host/{host.name}", "instance", site.region, spec, needs))
    if host.public == "elastic":
        its = "" if host.name in topology.fixed else f"host/{host.name}"
        nodes.append(Node(f"address/{host.name}", "elastic-ip", site.region, AddressSpec(its), (its,) if its else ()))
    return nodes


def _accelerators(topology: Topology) -> list[Node]:
    """An accelerator for every receiver that links reach by one; the control connection is TCP for both transports."""
    home = topology.regions[0]
    nodes: dict[str, Node] = {}
    for link in topology.link:
        if link.via != "accelerator":
            continue
        receiver, key = link.receiver, f"accelerator/{link.receiver}"
        nodes[key] = Node(key, "accelerator", home, AcceleratorSpec())
        region = topology.site_of(topology.named_host(receiver)).region
        for protocol in {"tcp", link.transport}:
            name = f"listener/{receiver}/{protocol}-{link.port}"
            spec = ListenerSpec(key, protocol.upper(), link.port, f"host/{receiver}", region)
            # It keeps its clients' addresses by interfaces in the host's VPC, which needs an internet gateway.
            needs = (key, f"host/{receiver}", f"gateway/{topology.named_host(receiver).site}")
            nodes[name] = Node(name, "listener", home, spec, needs)
    return list(nodes.values())
