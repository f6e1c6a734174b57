"""Which addresses connections can leave from, in every program that lets them be named; the kernel is asked too."""

import re
import socket

import pytest

from daemons.configuration.local_end import local_end
from daemons.configuration.probe import load_config
from daemons.errors import ConfigError
from daemons.stream.local_end import LocalEnd

NO_SOURCES = {
    "224.0.0.1": "224.0.0.1 is a group's address; write one of this host's own",
    "239.255.255.250": "is a group's address",
    "ff02::1%lo": "is a group's address",
    "255.255.255.255": "255.255.255.255 is everybody's address; write one of this host's own",
    "fe80::1": "fe80::1 is an address on every link; write fe80::1%INTERFACE, or add `interface`",
    "::ffff:127.0.0.1": "::ffff:127.0.0.1 is an IPv4 address in IPv6 form; write 127.0.0.1",
    "0.0.0.0": "0.0.0.0 is no address of a host; leave it out to let the routes choose",
    "::": ":: is no address of a host",
}


@pytest.mark.parametrize(("text", "message"), NO_SOURCES.items())
def test_an_address_that_nothing_can_leave_from_is_refused_in_every_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        local_end("feed", text, None)
    for section, more in (
        ("egress", {"url": "https://a.example/"}),
        ("overlay", {"peer": "10.0.0.1"}),
        ("route", {"target": "a.example"}),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_config(None, {section: {**more, "source_address": text}})


def test_the_kernel_lets_nothing_leave_from_them() -> None:
    """It takes a group's address, and then leaves from another one without a word (ip(7): only for receiving)."""

    def left_from(local: str) -> str:
        family = socket.AF_INET6 if ":" in local else socket.AF_INET
        far = "::1" if ":" in local else "127.0.0.1"
        with socket.create_server((far, 0), family=family) as server, socket.socket(family) as sock:
            try:
                LocalEnd(local).bind(sock)
                sock.connect(server.getsockname())
            except OSError:
                return ""
            return str(sock.getsockname()[0])

    assert [text for text in NO_SOURCES if left_from(text) == text] == []
    for text in ("127.0.0.1", "127.200.0.9", "::1"):
        assert local_end("feed", text, None).address == text
        assert left_from(text) == text
    # Of a later interface, of the block once kept for the future, and with its link: not for a configuration to say.
    for text in ("192.0.2.1", "240.0.0.1", "fe80::1%eth9"):
        assert local_end("feed", text, None).address == text
    assert local_end("feed", "fe80::1", "eth9").interface == "eth9"
