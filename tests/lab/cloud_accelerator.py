"""The accelerators of an account, made as the emulator lists them: an edge on the internet with the static addresses.

At an edge TCP ends and goes on in a connection of the edge's own, UDP passes; both reach the endpoint with the client's
address, and what the endpoint answers goes back by the edge (Global Accelerator guide, "Preserve client IP addresses").
"""

import json
import sys
from collections.abc import Mapping
from typing import Protocol

from tests.lab.cloud_emulator import Emulator
from tests.lab.lab import Lab, Site
from tests.lab.namespace import Namespace
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink

__all__ = ["ACCELERATED", "DEVICE", "MARK", "Accelerators", "Endpoint"]

ACCELERATED = Shape(delay_ms=15.0)
"""From the edge to the endpoint."""
DEVICE = "accelerator"
"""The name of a VPC's interface to the edges, and of an edge's to the VPC."""
MARK = 7
"""What a VPC's router remembers of connections that came by the edge."""


class Endpoint(Protocol):
    """An instance in its VPC, as far as an edge needs it."""

    @property
    def address(self) -> str:
        """Its private address."""

    @property
    def site(self) -> Site:
        """Its VPC's router's site."""


class Accelerators:
    """All that are deployed.

    Args:
        lab: where they are made.
        emulator: what to make.
        internet: where the edges stand.
        endpoints: the instances, by id.
    """

    def __init__(self, lab: Lab, emulator: Emulator, internet: Site, endpoints: Mapping[str, Endpoint]) -> None:
        self._lab, self._internet = lab, internet
        self._client = emulator.client("globalaccelerator", "us-west-2")
        self.ways: list[WideAreaLink] = []
        self.edges: list[Namespace] = []
        for facts in self._client.list_accelerators()["Accelerators"]:
            if facts["Enabled"] and facts["Status"] == "DEPLOYED":
                led = list(self._led(facts["AcceleratorArn"], endpoints))
                if led:
                    self._edge(facts["IpSets"][0]["IpAddresses"], led)

    def _led(self, accelerator: str, endpoints: Mapping[str, Endpoint]) -> list[tuple[str, int, Endpoint]]:
        """The protocol, the port and the endpoint of each listener."""
        led = []
        for listener in self._client.list_listeners(AcceleratorArn=accelerator)["Listeners"]:
            for group in self._client.list_endpoint_groups(ListenerArn=listener["ListenerArn"])["EndpointGroups"]:
                for item in group["EndpointDescriptions"]:
                    assert item["ClientIPPreservationEnabled"]
                    for ports in listener["PortRanges"]:
                        numbers = range(ports["FromPort"], ports["ToPort"] + 1)
                        endpoint = endpoints[item["EndpointId"]]
                        led += [(listener["Protocol"].lower(), port, endpoint) for port in numbers]
        return led

    def _edge(self, addresses: list[str], led: list[tuple[str, int, Endpoint]]) -> None:
        (site,) = {endpoint.site.name: endpoint.site for _, _, endpoint in led}.values()
        number = len(self.edges)
        edge = self._lab.router(f"edge-{number}")
        self.edges.append(edge)
        away, near = self._lab.wire((self._internet.router, edge), (f"edge{number}", "internet"))
        edge.ip("route", "add", "default", "via", away)
        for address in addresses:
            edge.ip("addr", "add", f"{address}/32", "dev", "lo")
            self._internet.router.ip("route", "add", f"{address}/32", "via", near)
        self.ways.append(self._lab.join((edge, site.router), (DEVICE, DEVICE), ACCELERATED))
        edge.ip("route", "add", str(site.network), "dev", DEVICE)
        # What the endpoint answers to a client's address over TCP is for the edge's own connection.
        edge.ip("route", "add", "local", "default", "dev", "lo", "table", "100")
        edge.ip("rule", "add", "iif", DEVICE, "ipproto", "tcp", "lookup", "100")
        site.router.ip("route", "add", "default", "dev", DEVICE, "table", str(MARK))
        site.router.ip("rule", "add", "iif", "lan", "fwmark", str(MARK), "lookup", str(MARK), "pref", "100")
        self._listen(edge, addresses, led)

    def _listen(self, edge: Namespace, addresses: list[str], led: list[tuple[str, int, Endpoint]]) -> None:
        pairs = [(at, *each) for each in led for at in addresses]
        to = {
            protocol: [(at, port, endpoint.address) for at, its, port, endpoint in pairs if its == protocol]
            for protocol in ("tcp", "udp")
        }
        rules = [f"ip daddr {at} udp dport {port} dnat to {address}" for at, port, address in to["udp"]]
        chain = "type nat hook prerouting priority dstnat;"
        edge.run("nft", "-f", "-", stdin="\n".join(["table ip edge {", "chain in {", chain, *rules, "}", "}", ""]))
        process = [sys.executable, "-m", "tests.lab.edge_process", json.dumps(to["tcp"])]
        self._lab.serve(["ip", "netns", "exec", edge.name, *process])
