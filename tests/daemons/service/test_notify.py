import os
import socket
from pathlib import Path

import pytest

from daemons.service.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_are_those_of_sd_notify(socket_folder: Path, abstract: bool) -> None:
    name = f"@backbone-latency-{os.getpid()}" if abstract else str(socket_folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(300)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready("serving")
        assert manager.recv(1000) == b"READY=1\nSTATUS=serving"
        notifier.status("100 events/s")
        assert manager.recv(1000) == b"STATUS=100 events/s"
        notifier.watchdog()
        assert manager.recv(1000) == b"WATCHDOG=1"
        notifier.reloading()
        head, _equals, number = manager.recv(1000).partition(b"MONOTONIC_USEC=")
        assert head == b"RELOADING=1\n"
        assert int(number) > 0
        notifier.stopping("bye")
        assert manager.recv(1000) == b"STOPPING=1\nSTATUS=bye"


def test_without_a_manager_or_with_one_that_has_gone_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        notifier = Notifier(environment)
        notifier.ready()
        notifier.watchdog()
        assert notifier.watchdog_seconds is None


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time_is_for_this_process(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environment).watchdog_seconds == seconds
