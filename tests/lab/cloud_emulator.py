"""AWS as the hosts and the operator see it: moto's API, with the consoles and the metadata service of real hosts.

moto runs in this process and answers on loopback, for the operator, and on sockets made in the lab's networks, for
hosts that fetch their objects. What the emulator cannot know, because it runs no instances, is filled in: what a host
wrote on its console, and who a host is when it asks 169.254.169.254.
"""

import base64
import functools
import io
import itertools
import json
import logging
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.lab.namespace import enter
from tests.provisioning.aws import client
from tests.provisioning.emulator import emulated_aws

__all__ = ["Emulator", "listen_in", "metadata_tree", "serve_in", "serve_metadata"]

CONSOLE = """<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>lab</requestId>
<instanceId>{instance}</instanceId><timestamp>2026-01-01T00:00:00.000Z</timestamp><output>{output}</output>
</GetConsoleOutputResponse>"""
LONGEST_QUERY_BYTES = 65536
TOKEN = "a token of the lab's metadata service"


def listen_in(namespace: str, address: str, port: int) -> socket.socket:
    """Return a listening TCP socket that belongs to a network namespace."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            enter(namespace)
            made.append(socket.create_server((address, port), backlog=64))
        except OSError as error:
            made.append(error)

    # A thread of its own: entering a namespace cannot be undone.
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def serve_in(namespace: str, server: ThreadingHTTPServer) -> None:
    """Have a server that is not bound yet answer at its address in a network namespace."""
    server.socket.close()
    server.socket = listen_in(namespace, *cast("tuple[str, int]", server.server_address))
    threading.Thread(target=server.serve_forever, daemon=True).start()


class Emulator:
    """moto in this process.

    Args:
        console: what the host of an instance id has written on its console.
    """

    def __init__(self, console: Callable[[str], bytes]) -> None:
        self._app = emulated_aws()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        from moto.ec2.models import elastic_ip_addresses  # noqa: PLC0415

        # moto's own are from 127.0.0.0/8, which no machine takes from outside.
        vars(elastic_ip_addresses)["random_ip"] = _public_address
        _keep_second_addresses()
        self._console = console
        self._servers: list[Any] = []
        self.endpoint = f"http://127.0.0.1:{self.serve(socket.create_server(('127.0.0.1', 0)))}"

    def serve(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> int:
        """Answer on a listening socket too; returns its port."""
        from werkzeug.serving import make_server  # noqa: PLC0415

        address, port = listener.getsockname()
        server = make_server(
            address, port, self._answer, threaded=True, fd=listener.detach(), ssl_context=cast("Any", tls)
        )
        vars(server)["daemon_threads"] = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers.append(server)
        return int(port)

    def close(self) -> None:
        """End every server."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def client(self, service: str, region: str) -> Any:
        """A boto3 client of the account, made once for all who ask: every request for metadata does."""
        return client(self.endpoint, service, region)

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environment.get("CONTENT_LENGTH") or 0)
        if environment["REQUEST_METHOD"] == "POST" and length < LONGEST_QUERY_BYTES:
            body = environment["wsgi.input"].read(length)
            query = urllib.parse.parse_qs(body.decode(errors="replace"))
            if query.get("Action") == ["GetConsoleOutput"]:
                instance = query["InstanceId"][0]
                output = base64.b64encode(self._console(instance)).decode()
                start("200 OK", [("Content-Type", "text/xml")])
                return [CONSOLE.format(instance=instance, output=output).encode()]
            environment["wsgi.input"] = io.BytesIO(body)
        return cast("Iterable[bytes]", self._app(environment, start))


@functools.cache
def _keep_second_addresses() -> None:
    """Have moto give an interface all the private addresses that a launch asks for: it keeps the first alone."""
    from moto.ec2.responses import EC2Response  # noqa: PLC0415

    response: Any = EC2Response
    run = response.run_instances

    def run_instances(self: Any) -> Any:
        before = set(self.ec2_backend.reservations)
        answer = run(self)
        for identity in set(self.ec2_backend.reservations) - before:
            for host in self.ec2_backend.reservations[identity].instances:
                for asked, interface in zip(self._get_param("NetworkInterfaces", []), host.nics.values(), strict=False):
                    if addresses := asked.get("PrivateIpAddresses"):
                        interface.private_ip_addresses = [dict(item) for item in addresses]
        return answer

    response.run_instances = run_instances


_numbers = itertools.count(1)


def _public_address() -> str:
    """Return one that no other instance has."""
    high, low = divmod(next(_numbers), 254)
    return f"203.0.{high}.{low + 1}"


def metadata_tree(instance: dict[str, Any], user_data: bytes, public_key: str = "") -> dict[str, bytes]:
    """Everything that the metadata service tells an instance, by path below the version (EC2 guide, "Instance metadata
    categories")."""
    interface = instance["NetworkInterfaces"][0]
    mac = interface["MacAddress"]
    meta: dict[str, str] = {
        "instance-id": instance["InstanceId"],
        "instance-type": instance["InstanceType"],
        "ami-id": instance["ImageId"],
        "local-ipv4": instance["PrivateIpAddress"],
        "local-hostname": f"ip-{instance['PrivateIpAddress'].replace('.', '-')}.lab.internal",
        "hostname": f"ip-{instance['PrivateIpAddress'].replace('.', '-')}.lab.internal",
        "mac": mac,
        "placement/availability-zone": instance["Placement"]["AvailabilityZone"],
        "placement/region": instance["Placement"]["AvailabilityZone"][:-1],
        f"network/interfaces/macs/{mac}/device-number": "0",
        f"network/interfaces/macs/{mac}/mac": mac,
        f"network/interfaces/macs/{mac}/local-ipv4s": instance["PrivateIpAddress"],
    }
    for tag in instance.get("Tags", []):
        meta[f"tags/instance/{tag['Key']}"] = tag["Value"]
    if profile := instance.get("IamInstanceProfile"):
        name = profile["Arn"].rsplit("/", 1)[1]
        keys = {"Code": "Success", "AccessKeyId": "testing", "SecretAccessKey": "testing", "Token": name}
        meta[f"iam/security-credentials/{name}"] = json.dumps(keys)
    if public_key and "KeyName" in instance:
        meta["public-keys/0/openssh-key"] = public_key
    document = {"region": meta["placement/region"], "instanceId": meta["instance-id"], "architecture": "x86_64"}
    files = {f"meta-data/{name}": text.encode() for name, text in meta.items()}
    return {**files, "user-data": user_data, "dynamic/instance-identity/document": json.dumps(document).encode()}


def serve_metadata(namespace: str, tree_of: Callable[[str], dict[str, bytes] | None]) -> ThreadingHTTPServer:
    """Serve version 2 of the metadata service in a VPC; a host is known by its address.

    Args:
        namespace: of the VPC's router, which has 169.254.169.254.
        tree_of: :func:`metadata_tree` of the instance that has an address, or None.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_PUT(self) -> None:
            known = self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
            self.reply(200 if known else 404, TOKEN.encode() if known else b"")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                self.reply(401, b"")
                return
            _, _version, path = self.path.split("/", 2) if self.path.count("/") > 1 else ("", "", "")
            tree = tree_of(str(self.client_address[0])) or {}
            path = urllib.parse.unquote(path)
            if path in tree:
                self.reply(200, tree[path])
                return
            prefix = path.rstrip("/") + "/"
            below = {name.removeprefix(prefix) for name in tree if name.startswith(prefix)}
            if prefix == "meta-data/public-keys/":
                self.reply(200 if below else 404, b"0=lab" if below else b"")
                return
            names = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in below})
            self.reply(200 if names else 404, "\n".join(names).encode())

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("169.254.169.254", 80), Handler, bind_and_activate=False)
    server.daemon_threads = True
    serve_in(namespace, server)
    return server
