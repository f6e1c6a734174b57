"""A probe's packets arrive in the class that its target was given, over either family."""

import asyncio
import socket

import pytest

from daemons.configuration.probe import load_config
from daemons.errors import ConfigError
from daemons.probe.http.channel import Channel
from daemons.stream.headers import of_handshake
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize(("dscp", "arrives"), [(None, 0), (0, 0), (46, 46), (63, 63)])
def test_a_request_leaves_in_its_class(family: int, host: str, dscp: int | None, arrives: int) -> None:
    async def connect(listening: socket.socket) -> None:
        stamper = Stamper(SystemClock())
        channel = Channel(socket.AddressFamily(family), stamper, host)
        channel.bind("", "", dscp)
        await channel.connect((host, listening.getsockname()[1]))
        accepted, _source = listening.accept()
        with accepted:
            header = of_handshake(accepted)
        channel.close()
        stamper.close()
        assert header is not None
        assert header.dscp == arrives

    with socket.create_server((host, 0), family=family) as listening:
        asyncio.run(connect(listening))


def test_a_class_has_six_bits() -> None:
    target = {"url": "https://example.com/", "dscp": 46}
    assert load_config(None, {"target": [target]}).target[0].dscp == 46
    for wrong in (-1, 64, "ef"):
        with pytest.raises(ConfigError, match="dscp"):
            load_config(None, {"target": [{**target, "dscp": wrong}]})
