"""Sockets are handed over as systemd does: from descriptor 3 on, in a process of its own."""

import socket
import subprocess
import sys

import pytest

from daemons.service.activation import Activation

SCRIPT = """
import os, socket, sys
from daemons.service.activation import Activation

# What systemd does before it starts a program.
os.dup2(int(sys.argv[2]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
found = Activation.from_environment()
port = int(sys.argv[1])
assert found.take(("0.0.0.0", port), socket.SOCK_DGRAM) is None
sock = found.take(("127.0.0.1", port), socket.SOCK_STREAM)
assert found.take(("127.0.0.1", port), socket.SOCK_STREAM) is None
assert sock.getblocking() is False and not os.get_inheritable(sock.fileno())
sock.settimeout(300)
connection, _source = sock.accept()
connection.sendall(b"from the heir")
connection.close()
found.close_unused()
"""


def test_an_inherited_socket_is_found_by_port_and_kind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(port), str(server.fileno())],
                pass_fds=[server.fileno()],
                env={"LISTEN_FDS": "1", "LISTEN_PID": "to be set", "PYTHONPATH": ":".join(sys.path)},
            ) as heir,
            socket.create_connection(("127.0.0.1", port), timeout=300) as client,
        ):
            assert client.recv(100) == b"from the heir"
        assert heir.returncode == 0


@pytest.mark.parametrize("environment", [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x"}])
def test_what_is_meant_for_another_process_is_left_alone(environment: dict[str, str]) -> None:
    assert Activation.from_environment(environment).take(("", 80), socket.SOCK_STREAM) is None


def test_what_no_path_wanted_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Activation([server]).close_unused()
        assert server.fileno() == -1
