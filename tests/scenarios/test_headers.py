"""A link's class is on its packets, as nftables counts them, and a change of route shows in their hops."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.namespaces import alone
from tests.processes import until
from tests.programs import forwarder, port_of, receiver, scrape, simulator

pytestmark = pytest.mark.process

CLASS = 46
FARTHER = 50
COUNTING = f"""
table ip way {{{{
    chain arriving {{{{
        type filter hook input priority 0;
        {{transport}} dport {{port}} ip dscp {CLASS} counter
        {{transport}} dport {{port}} ip dscp != {CLASS} counter
    }}}}
}}}}
"""
ANOTHER_ROUTE = f"""
table ip far {{
    chain arriving {{
        type filter hook prerouting priority -300;
        ip ttl set {FARTHER}
    }}
}}
"""
TTL = "latency_receiver_link_ttl_hops"


def nft(*arguments: str, rules: str = "") -> str:
    return subprocess.run(["nft", *arguments], input=rules, text=True, check=True, capture_output=True).stdout


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_links_class_arrives_and_another_route_shows(tmp_path: Path, transport: str) -> None:
    config = tmp_path / "forwarder.toml"
    with (
        alone(f"head{os.getpid()}"),
        simulator("--rate", "200") as exchange,
        receiver("--mode", "aws-backbone", "--transport", transport) as program,
    ):
        port = port_of(program)
        config.write_text(
            f'[[destination]]\naddress = "127.0.0.1:{port}"\ntransport = "{transport}"\ndscp = {CLASS}\n'
            "reconnect_max_seconds = 0.1\n"
        )
        nft("-f", "-", rules=COUNTING.format(transport=transport, port=port))
        with forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(config)) as sender:
            until(lambda: scrape(program).matching(TTL) == [64.0], "hops are known")
            assert scrape(program).sum("latency_receiver_link_dscp") == CLASS
            counted = [int(packets) for packets in re.findall(r"counter packets (\d+)", nft("list", "ruleset"))]
            assert counted[0] > 0
            assert counted[1] == 0
            nft("-f", "-", rules=ANOTHER_ROUTE)
            if transport == "tcp":
                # Of a connection that stands nobody tells it: the next one shows.
                sender.terminate()
            else:
                until(lambda: scrape(program).matching(TTL) == [FARTHER], "the change shows")
                assert scrape(program).sum("latency_receiver_link_ttl_changes_total") == 1
        if transport == "tcp":
            with forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(config)):
                until(lambda: scrape(program).matching(TTL) == [FARTHER], "the change shows")
                assert scrape(program).sum("latency_receiver_link_ttl_changes_total") == 1
